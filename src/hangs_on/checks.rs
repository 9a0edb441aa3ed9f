//! CHECK constraints.

use serde::{Deserialize, Serialize};

use super::Question;
use crate::pg::{Ident, QName};

pub(super) const CHECKS: Question =
    Question { what: "its CHECK constraints", sql: include_str!("../../sql/catalog/checks.sql") };

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: Ident,
    /// `CHECK (...)`, as `pg_get_constraintdef` prints it.
    pub definition: String,
    /// Every row was checked.
    pub validated: bool,
    /// NO INHERIT.
    pub no_inherit: bool,
    /// The columns it reads.
    pub columns: Vec<Ident>,
    /// COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

impl Check {
    /// `CONSTRAINT name CHECK (...)` for CREATE TABLE, where it holds for every row already.
    /// A partitioned table cannot have NO INHERIT, and means the same without: it has no rows itself.
    pub(super) fn clause(&self, partitioned: bool) -> Option<String> {
        self.validated.then(|| format!("CONSTRAINT {} {}", self.name, self.text(partitioned)))
    }

    /// Adds a constraint that blue's old rows may break: only after they were copied.
    pub(super) fn add_unvalidated(&self, table: &QName, partitioned: bool) -> Option<String> {
        (!self.validated).then(|| {
            format!("ALTER TABLE {table} ADD CONSTRAINT {} {} NOT VALID", self.name, self.text(partitioned))
        })
    }

    fn text(&self, partitioned: bool) -> &str {
        let text = self.definition.strip_suffix(" NOT VALID").unwrap_or(&self.definition);
        if partitioned { text.strip_suffix(" NO INHERIT").unwrap_or(text) } else { text }
    }
}
