//! The table by itself: owner, storage parameters, flags, comment, and how its leaves look.

use serde::{Deserialize, Serialize};

use super::Question;
use crate::pg::{Ident, Literal, QName};

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
    /// Whether it has partitions.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.kind == "p"
    }

    /// `USING .. WITH (...) TABLESPACE ...`, with a leading space; empty where all is default.
    pub(super) fn storage_clause(&self) -> String {
        let own = self.options.iter().map(|option| option_sql("", option));
        let toast = self.toast_options.iter().map(|option| option_sql("toast.", option));
        let options: Vec<String> = own.chain(toast).collect();
        let method = self.access_method.as_ref().map(|method| format!(" USING {method}")).unwrap_or_default();
        let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
        format!("{method}{with}{}", tablespace_clause(self.tablespace.as_ref()))
    }
}

/// ` TABLESPACE name`, or nothing.
pub(super) fn tablespace_clause(tablespace: Option<&Ident>) -> String {
    tablespace.map(|name| format!(" TABLESPACE {name}")).unwrap_or_default()
}

/// `fillfactor=70` as it is stored, to `"fillfactor"='70'` as it is written.
pub(super) fn option_sql(prefix: &str, stored: &str) -> String {
    let (name, value) = stored.split_once('=').unwrap_or((stored, "true"));
    format!("{prefix}{}={}", Ident::from(name), Literal(value))
}

/// `COMMENT ON <what> IS ...`, where there is one.
pub(super) fn comment_on(what: &str, comment: Option<&String>) -> Option<String> {
    comment.map(|text| format!("COMMENT ON {what} IS {}", Literal(text)))
}
