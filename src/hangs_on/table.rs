//! The table's own properties: owner, storage parameters, flags, comment; and those of its leaves.

use serde::{Deserialize, Serialize};

use super::Question;
use super::grant::{Grant, sorted};
use super::part::{Compared, Part};
use super::shape::Green;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Acting, Colour, Ident, Literal, QName};

pub(super) const TABLE: Question =
    Question { what: "the table", sql: include_str!("../../sql/catalog/table.sql") };
pub(super) const LEAVES: Question =
    Question { what: "its partitions", sql: include_str!("../../sql/catalog/leaves.sql") };

/// A table's own properties, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The `oid` in `pg_class`.
    pub oid: u32,
    /// Its name, schema-qualified.
    pub name: QName,
    /// `relkind`: `r` for an ordinary table, `p` for a partitioned one.
    pub kind: String,
    /// `relpersistence`: `p` permanent, `u` unlogged, `t` temporary.
    pub persistence: String,
    /// The role that owns it.
    pub owner: Ident,
    /// Whether the owner may read and write every row, and the operator can act as it. False in runs of a version
    /// that did not ask.
    #[serde(default)]
    pub owner_acts: bool,
    /// The tablespace, if it is not the database's default.
    pub tablespace: Option<Ident>,
    /// The table access method, if it is not `heap`.
    pub access_method: Option<Ident>,
    /// Storage parameters, as `name=value`; of a partitioned table, those that all of its partitions agree on.
    pub options: Vec<String>,
    /// The TOAST table's storage parameters, as `name=value`; likewise.
    pub toast_options: Vec<String>,
    /// The text of COMMENT ON TABLE.
    pub comment: Option<String>,
    /// Whether ENABLE ROW LEVEL SECURITY is set.
    pub row_security: bool,
    /// Whether FORCE ROW LEVEL SECURITY is set.
    pub force_row_security: bool,
    /// What the stream carries of old rows.
    pub replica_identity: ReplicaIdentity,
    /// `pg_relation_filenode`: changes when the table is rewritten.
    pub file: u32,
    /// `reltuples` of the last ANALYZE or VACUUM; 0 if there was none.
    pub estimated_rows: u64,
    /// Bytes of the heap alone.
    pub heap_bytes: u64,
    /// Bytes of heap, TOAST, free space and visibility map.
    pub table_bytes: u64,
    /// Bytes of all indexes.
    pub index_bytes: u64,
    /// What follows PARTITION BY, if it is partitioned.
    #[serde(default)]
    pub partition_key: Option<String>,
    /// The name of the array type of its rows.
    pub array_type: Option<Ident>,
    /// The text of COMMENT ON TYPE of its row type.
    #[serde(default)]
    pub row_type_comment: Option<String>,
    /// All privileges on its row type, the owner's too; `None` if they are those that a new type has.
    #[serde(default)]
    pub row_type_grants: Option<Vec<Grant>>,
}

/// The REPLICA IDENTITY of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaIdentity {
    /// Which of the four it is.
    pub kind: ReplicaIdentityKind,
    /// The index of USING INDEX.
    pub index: Option<Ident>,
}

/// The four replica identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentityKind {
    /// The primary key.
    Default,
    /// All columns of the old row.
    Full,
    /// No columns: UPDATE and DELETE fail once the table is published.
    Nothing,
    /// The columns of a unique index.
    Index,
}

/// A leaf of a partitioned table, as far as clients could tell it from a plain table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafState {
    /// Its name, schema-qualified.
    pub name: QName,
    /// The role that owns it.
    pub owner: Ident,
    /// The tablespace, if it is not the database's default.
    pub tablespace: Option<Ident>,
    /// Storage parameters, as `name=value`.
    pub options: Vec<String>,
    /// The TOAST table's storage parameters, as `name=value`.
    pub toast_options: Vec<String>,
    /// Whether ENABLE ROW LEVEL SECURITY is set.
    pub row_security: bool,
    /// What the stream carries of old rows.
    pub replica_identity: ReplicaIdentityKind,
    /// All roles other than the owner that have a privilege on it.
    pub grantees: Vec<Ident>,
    /// Foreign keys of the leaf that are not the parent's.
    pub own_foreign_keys: Vec<LeafForeignKey>,
}

/// A foreign key of one leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafForeignKey {
    /// The constraint's name.
    pub name: Ident,
    /// Whether it is valid, not NOT VALID.
    pub validated: bool,
}

impl Table {
    /// The role that reads and writes its rows: its owner, if the owner's rights suffice.
    #[must_use]
    pub fn acting(&self) -> Acting {
        Acting::role(self.owner_acts.then(|| self.owner.clone()))
    }

    /// Whether it has partitions.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }

    /// Comment and privileges of a row type that is new, in a schema that prepare closes afterwards.
    fn adorn_row_type(&self, of: &QName) -> Vec<Statement> {
        let comment = comment_on(&format!("TYPE {of}"), self.row_type_comment.as_ref());
        let grants = self.row_type_grants.iter().flat_map(|grants| {
            let revoke = format!("REVOKE ALL ON TYPE {of} FROM PUBLIC, {}", self.owner);
            let admit = Grant::admit(grants, &of.schema);
            let grants = grants.iter().map(|grant| grant.statement(&format!("TYPE {of}")));
            std::iter::once(Statement::new("revoke", revoke)).chain(admit).chain(grants)
        });
        comment.into_iter().chain(grants).collect()
    }

    /// `USING ... WITH (...) TABLESPACE ...`, with a leading space; empty if all are defaults.
    pub(crate) fn storage_clause(&self) -> String {
        let (method, space) = (self.access_method.as_ref(), self.tablespace.as_ref());
        storage_clause(method, &self.options, &self.toast_options, space)
    }
}

/// The same for anything that holds rows; `options` and those of the TOAST table are `name=value`.
pub(super) fn storage_clause(
    method: Option<&Ident>,
    options: &[String],
    toast_options: &[String],
    tablespace: Option<&Ident>,
) -> String {
    let own = options.iter().map(|option| option_sql("", option));
    let toast = toast_options.iter().map(|option| option_sql("toast.", option));
    let options: Vec<String> = own.chain(toast).collect();
    let method = method.map(|method| format!(" USING {method}")).unwrap_or_default();
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    format!("{method}{with}{}", tablespace_clause(tablespace))
}

/// ` TABLESPACE name`, or the empty string.
pub(crate) fn tablespace_clause(tablespace: Option<&Ident>) -> String {
    tablespace.map(|name| format!(" TABLESPACE {name}")).unwrap_or_default()
}

/// Converts `fillfactor=70`, as it is stored, to `"fillfactor"='70'`, as it is written.
pub(super) fn option_sql(prefix: &str, stored: &str) -> String {
    let (name, value) = stored.split_once('=').unwrap_or((stored, "true"));
    format!("{prefix}{}={}", Ident::from(name), Literal(value))
}

/// `COMMENT ON TABLE`, if there is a comment.
pub(super) fn comment_on_table(table: &QName, comment: Option<&String>) -> Option<Statement> {
    let sql = format!("COMMENT ON TABLE {table} IS {}", Literal(comment?));
    Some(Statement::on(table, LockMode::ShareUpdateExclusive, "comment on", sql))
}

/// `COMMENT ON CONSTRAINT`, if there is a comment.
pub(super) fn comment_on_constraint(
    name: &Ident,
    table: &QName,
    comment: Option<&String>,
) -> Option<Statement> {
    let sql = format!("COMMENT ON CONSTRAINT {name} ON {table} IS {}", Literal(comment?));
    Some(Statement::on(table, LockMode::AccessShare, "comment on a constraint of", sql))
}

/// `COMMENT ON <what> IS ...`, if there is a comment, for objects that nobody can wait for.
pub(super) fn comment_on(what: &str, comment: Option<&String>) -> Option<Statement> {
    comment.map(|text| Statement::new("comment", format!("COMMENT ON {what} IS {}", Literal(text))))
}

/// `ALTER <what> DEPENDS ON EXTENSION ...`: it is dropped together with the extension.
pub(super) fn depends_on(what: &str, extensions: &[Ident]) -> Vec<Statement> {
    let statement = |extension: &Ident| {
        let sql = format!("ALTER {what} DEPENDS ON EXTENSION {extension}");
        Statement::new("let it depend on an extension", sql)
    };
    extensions.iter().map(statement).collect()
}

/// The [`Part`] of the table's own flags, owner and comment.
pub(super) struct TableItself;

impl Part for TableItself {
    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let owner = &green.blue.table.owner;
        let relations = green.row_holders_at_home().into_iter().chain(green.parent_at_home());
        let owners = relations.map(|relation| {
            let sql = format!("ALTER TABLE {relation} OWNER TO {owner}");
            Statement::on(&relation, LockMode::AccessExclusive, "set the owner of", sql)
        });
        let home = green.at_home();
        owners
            .chain(comment_on_table(&home, green.blue.table.comment.as_ref()))
            .chain(green.blue.table.adorn_row_type(&home))
            .collect()
    }

    /// The replica identity, unless it is an index: that one comes with its index.
    fn complete(&self, green: &Green) -> Vec<Statement> {
        let identity = match green.blue.table.replica_identity.kind {
            ReplicaIdentityKind::Full => "FULL",
            ReplicaIdentityKind::Nothing => "NOTHING",
            ReplicaIdentityKind::Default | ReplicaIdentityKind::Index => return Vec::new(),
        };
        let relations = green.row_holders().into_iter().chain(green.parent_at_home());
        let set = relations.map(|relation| {
            let sql = format!("ALTER TABLE ONLY {relation} REPLICA IDENTITY {identity}");
            Statement::on(&relation, LockMode::AccessExclusive, "set the replica identity of", sql)
        });
        set.collect()
    }

    /// Sets the parent's flags to blue's.
    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        if who == Colour::Blue {
            return Vec::new();
        }
        let (live, table) = (green.live(), &green.blue.table);
        let set = |flag: &str| {
            let sql = format!("ALTER TABLE {live} {flag} ROW LEVEL SECURITY");
            Statement::on(live, LockMode::AccessExclusive, "restore row security on", sql)
        };
        let off = (!table.row_security).then(|| set("DISABLE"));
        let force = table.force_row_security.then(|| set("FORCE"));
        off.into_iter().chain(force).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let table = &green.blue.table;
        let mut kept = vec![format!("owner {}", table.owner.plain())];
        kept.extend(table.comment.as_ref().map(|_| "its comment".to_owned()));
        kept.extend(table.row_security.then(|| "row security".to_owned()));
        kept
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        let (was, is) = (&compared.was.table, &compared.is.table);
        compared.check("owner", &was.owner, &is.owner);
        compared.check("comment", &was.comment, &is.comment);
        compared.check("comment on the row type", &was.row_type_comment, &is.row_type_comment);
        let grants = |of: &Table| of.row_type_grants.as_deref().map(sorted);
        compared.check("privileges on the row type", &grants(was), &grants(is));
        compared.check("row security", &was.row_security, &is.row_security);
        compared.check("forced row security", &was.force_row_security, &is.force_row_security);
        compared.check("tablespace", &was.tablespace, &is.tablespace);
        compared.check("name", &was.name, &is.name);
        if compared.is.leaves.is_empty() && !is.is_partitioned() {
            compared.check("storage parameters", &was.options, &is.options);
            compared.check("TOAST storage parameters", &was.toast_options, &is.toast_options);
            compared.check("access method", &was.access_method, &is.access_method);
        }
        compared.check("replica identity", &was.replica_identity, &is.replica_identity);
        for leaf in &compared.is.leaves {
            leaf.compare(was, compared);
        }
    }
}

impl LeafState {
    fn compare(&self, was: &Table, compared: &mut Compared<'_>) {
        let name = self.name.plain();
        let of = |what: &str| format!("{what} of {name}");
        compared.check(of("owner"), &was.owner, &self.owner);
        compared.check(of("tablespace"), &was.tablespace, &self.tablespace);
        compared.check(of("storage parameters"), &was.options, &self.options);
        compared.check(of("TOAST storage parameters"), &was.toast_options, &self.toast_options);
        compared.check(of("replica identity"), &was.replica_identity.kind, &self.replica_identity);
        if was.row_security {
            compared.check(of("row security"), &true, &self.row_security);
        }
        compared.check(format!("roles that reach {name} directly"), &Vec::new(), &self.grantees);
    }
}
