//! The table by itself: owner, storage parameters, flags, comment, and how its leaves look.

use serde::{Deserialize, Serialize};

use super::Question;
use super::part::{Compared, Part};
use super::shape::Green;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Acting, Ident, Literal, QName};

pub(super) const TABLE: Question =
    Question { what: "the table", sql: include_str!("../../sql/catalog/table.sql") };
pub(super) const LEAVES: Question =
    Question { what: "its partitions", sql: include_str!("../../sql/catalog/leaves.sql") };

/// What a table is by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Schema and name.
    pub name: QName,
    /// `relkind`: `r` plain, `p` partitioned.
    pub kind: String,
    /// `relpersistence`: `p` permanent, `u` unlogged, `t` temporary.
    pub persistence: String,
    /// The owner.
    pub owner: Ident,
    /// It may read every row of the table, and the operator can act as it. Not so in runs of a version that did not ask.
    #[serde(default)]
    pub owner_acts: bool,
    /// Where it is not the database's own.
    pub tablespace: Option<Ident>,
    /// Where it is not `heap`.
    pub access_method: Option<Ident>,
    /// Storage parameters, as `name=value`.
    pub options: Vec<String>,
    /// The TOAST table's storage parameters, as `name=value`.
    pub toast_options: Vec<String>,
    /// COMMENT ON TABLE.
    pub comment: Option<String>,
    /// ENABLE ROW LEVEL SECURITY.
    pub row_security: bool,
    /// FORCE ROW LEVEL SECURITY.
    pub force_row_security: bool,
    /// What the stream holds of old rows.
    pub replica_identity: ReplicaIdentity,
    /// `pg_relation_filenode`: another number after a rewrite.
    pub file: u32,
    /// Of the last ANALYZE or VACUUM; 0 where there was none.
    pub estimated_rows: u64,
    /// The heap alone.
    pub heap_bytes: u64,
    /// Heap, TOAST, maps.
    pub table_bytes: u64,
    /// All indexes.
    pub index_bytes: u64,
    /// The name of the type of arrays of its rows.
    pub array_type: Option<Ident>,
}

/// REPLICA IDENTITY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaIdentity {
    /// Which of the four.
    pub kind: ReplicaIdentityKind,
    /// The index, where `kind` says so.
    pub index: Option<Ident>,
}

/// Which of the four replica identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentityKind {
    /// The primary key.
    Default,
    /// The whole old row.
    Full,
    /// Nothing: UPDATE and DELETE fail once published.
    Nothing,
    /// A unique index.
    Index,
}

/// A leaf of a partitioned table, as far as clients could tell it from a plain table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafState {
    /// Schema and name.
    pub name: QName,
    /// The owner.
    pub owner: Ident,
    /// Where it is not the database's own.
    pub tablespace: Option<Ident>,
    /// Storage parameters, as `name=value`.
    pub options: Vec<String>,
    /// The TOAST table's storage parameters, as `name=value`.
    pub toast_options: Vec<String>,
    /// ENABLE ROW LEVEL SECURITY.
    pub row_security: bool,
    /// What the stream holds of old rows.
    pub replica_identity: ReplicaIdentityKind,
    /// Every role but the owner that may do anything with it.
    pub grantees: Vec<Ident>,
    /// Foreign keys that are the leaf's alone, not the parent's.
    pub own_foreign_keys: Vec<LeafForeignKey>,
}

/// A foreign key of one leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafForeignKey {
    /// Its name.
    pub name: Ident,
    /// Every row was checked.
    pub validated: bool,
}

impl Table {
    /// With whose rights its rows are touched: its owner's, where those are enough.
    #[must_use]
    pub fn acting(&self) -> Acting {
        Acting::role(self.owner_acts.then(|| self.owner.clone()))
    }

    /// Whether it has partitions.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }

    /// `USING .. WITH (...) TABLESPACE ...`, with a leading space; empty where all is default.
    pub(crate) fn storage_clause(&self) -> String {
        let own = self.options.iter().map(|option| option_sql("", option));
        let toast = self.toast_options.iter().map(|option| option_sql("toast.", option));
        let options: Vec<String> = own.chain(toast).collect();
        let method = self.access_method.as_ref().map(|method| format!(" USING {method}")).unwrap_or_default();
        let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
        format!("{method}{with}{}", tablespace_clause(self.tablespace.as_ref()))
    }
}

/// ` TABLESPACE name`, or nothing.
pub(crate) fn tablespace_clause(tablespace: Option<&Ident>) -> String {
    tablespace.map(|name| format!(" TABLESPACE {name}")).unwrap_or_default()
}

/// `fillfactor=70` as it is stored, to `"fillfactor"='70'` as it is written.
pub(super) fn option_sql(prefix: &str, stored: &str) -> String {
    let (name, value) = stored.split_once('=').unwrap_or((stored, "true"));
    format!("{prefix}{}={}", Ident::from(name), Literal(value))
}

/// `COMMENT ON TABLE`, where there is one.
pub(super) fn comment_on_table(table: &QName, comment: Option<&String>) -> Option<Statement> {
    let sql = format!("COMMENT ON TABLE {table} IS {}", Literal(comment?));
    Some(Statement::on(table, LockMode::ShareUpdateExclusive, "comment on", sql))
}

/// `COMMENT ON CONSTRAINT`, where there is one.
pub(super) fn comment_on_constraint(
    name: &Ident,
    table: &QName,
    comment: Option<&String>,
) -> Option<Statement> {
    let sql = format!("COMMENT ON CONSTRAINT {name} ON {table} IS {}", Literal(comment?));
    Some(Statement::on(table, LockMode::AccessShare, "comment on a constraint of", sql))
}

/// `COMMENT ON <what> IS ...` for what nobody can wait for, where there is one.
pub(super) fn comment_on(what: &str, comment: Option<&String>) -> Option<Statement> {
    comment.map(|text| Statement::new("comment", format!("COMMENT ON {what} IS {}", Literal(text))))
}

/// The kind: the table's own flags, its owner and its comment.
pub(super) struct TableItself;

impl Part for TableItself {
    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let owner = &green.blue.table.owner;
        let relations = green.row_holders_at_home().into_iter().chain(green.parent_at_home());
        let owners = relations.map(|relation| {
            let sql = format!("ALTER TABLE {relation} OWNER TO {owner}");
            Statement::on(&relation, LockMode::AccessExclusive, "give its owner to", sql)
        });
        owners.chain(comment_on_table(&green.at_home(), green.blue.table.comment.as_ref())).collect()
    }

    /// The replica identity, where it is no index: such a one comes with its index.
    fn complete(&self, green: &Green) -> Vec<Statement> {
        let identity = match green.blue.table.replica_identity.kind {
            ReplicaIdentityKind::Full => "FULL",
            ReplicaIdentityKind::Nothing => "NOTHING",
            ReplicaIdentityKind::Default | ReplicaIdentityKind::Index => return Vec::new(),
        };
        let relations = green.row_holders().into_iter().chain(green.parent_at_home());
        let set = relations.map(|relation| {
            let sql = format!("ALTER TABLE ONLY {relation} REPLICA IDENTITY {identity}");
            Statement::on(&relation, LockMode::AccessExclusive, "replica identity of", sql)
        });
        set.collect()
    }

    /// The parent's flags as blue's were.
    fn arrive(&self, green: &Green) -> Vec<Statement> {
        let (live, table) = (green.live(), &green.blue.table);
        let set = |flag: &str| {
            let sql = format!("ALTER TABLE {live} {flag} ROW LEVEL SECURITY");
            Statement::on(live, LockMode::AccessExclusive, "row security as before:", sql)
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
