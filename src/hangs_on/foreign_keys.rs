//! Foreign keys that the table has.
//!
//! None is on green before the swap: while green lags, it would make the clients' own DELETE of a
//! referenced row fail. In the swap blue's are dropped and green's added NOT VALID, per leaf,
//! because a partitioned parent cannot have that before PostgreSQL 18. After the swap the leaves
//! are validated one by one without holding up anybody, and then merged into the parent.

use serde::{Deserialize, Serialize};

use super::Question;
use crate::pg::{Ident, QName, list};

pub(super) const FOREIGN_KEYS: Question =
    Question { what: "its foreign keys", sql: include_str!("../../sql/catalog/foreign_keys.sql") };

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: Ident,
    /// The referencing columns, in order.
    pub columns: Vec<Ident>,
    /// The table it points at.
    pub references: QName,
    /// It points at its own table.
    pub to_itself: bool,
    /// The definition from REFERENCES on, without NOT VALID; `None` where it was not understood.
    pub tail: Option<String>,
    /// Every row was checked.
    pub validated: bool,
    /// COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

impl ForeignKey {
    /// `ALTER TABLE ... ADD CONSTRAINT ...`; `columns` are green's names.
    pub(super) fn add(&self, relation: &QName, columns: &[Ident], validate: bool) -> String {
        let tail = self.tail.as_deref().unwrap_or_default();
        let not_valid = if validate { "" } else { " NOT VALID" };
        format!(
            "ALTER TABLE {relation} ADD CONSTRAINT {} FOREIGN KEY ({}) {tail}{not_valid}",
            self.name,
            list(columns)
        )
    }

    /// `ALTER TABLE ... DROP CONSTRAINT ...`.
    pub(super) fn drop(&self, table: &QName) -> String {
        format!("ALTER TABLE {table} DROP CONSTRAINT {}", self.name)
    }

    /// `ALTER TABLE ... VALIDATE CONSTRAINT ...`: reads and writes go on meanwhile.
    pub(super) fn validate(&self, relation: &QName) -> String {
        format!("ALTER TABLE {relation} VALIDATE CONSTRAINT {}", self.name)
    }

    /// The text names referencing columns a second time (`ON DELETE SET NULL (a)`, 15 and later).
    pub(super) fn names_columns_in_action(&self) -> bool {
        self.tail.iter().any(|tail| tail.contains(" SET NULL (") || tail.contains(" SET DEFAULT ("))
    }
}
