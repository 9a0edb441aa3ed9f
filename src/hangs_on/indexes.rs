//! Indexes, and the primary key and unique constraints that stand on them.

use serde::{Deserialize, Serialize};

use super::Question;
use crate::pg::Ident;

pub(super) const INDEXES: Question =
    Question { what: "its indexes", sql: include_str!("../../sql/catalog/indexes.sql") };

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name.
    pub name: Ident,
    /// UNIQUE, also by way of a constraint.
    pub unique: bool,
    /// The primary key's.
    pub primary: bool,
    /// Checked at once (not deferrable).
    pub immediate: bool,
    /// An exclusion constraint's, or a key's WITHOUT OVERLAPS.
    pub exclusion: bool,
    /// Valid, ready and live.
    pub valid: bool,
    /// The one CLUSTER would use.
    pub clustered: bool,
    /// Some of its keys are expressions.
    pub has_expressions: bool,
    /// Its key columns in order; `None` is an expression.
    pub keys: Vec<Option<Ident>>,
    /// INCLUDE.
    pub included: Vec<Ident>,
    /// Every column it reads, in keys, expressions and predicate.
    pub columns: Vec<Ident>,
    /// `USING btree (...) ...`: the definition after the table's name, up to WHERE; `None` where
    /// the text was not understood.
    pub body: Option<String>,
    /// WHERE.
    pub predicate: Option<String>,
    /// Storage parameters, as `name=value` (they are in `body` too).
    pub options: Vec<String>,
    /// Where it is not the database's own.
    pub tablespace: Option<Ident>,
    /// COMMENT ON INDEX.
    pub comment: Option<String>,
    /// SET STATISTICS on its expressions.
    pub statistics_targets: Vec<StatisticsTarget>,
    /// The constraint that stands on it.
    pub constraint: Option<IndexConstraint>,
}

/// SET STATISTICS on one column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsTarget {
    /// Its number, from 1.
    pub column: i16,
    /// The target.
    pub target: i32,
}

/// A primary key or unique constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexConstraint {
    /// Its name, which is the index's.
    pub name: Ident,
    /// As `pg_get_constraintdef` prints it.
    pub definition: String,
    /// DEFERRABLE.
    pub deferrable: bool,
    /// COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

impl Index {
    /// The names of its key columns; `None` where one is an expression.
    #[must_use]
    pub fn plain_keys(&self) -> Option<Vec<Ident>> {
        self.keys.iter().cloned().collect()
    }

    /// Can tell every row from every other: unique, valid, over all rows, plain columns, at once.
    #[must_use]
    pub fn identifies_rows(&self) -> bool {
        self.unique
            && self.valid
            && self.immediate
            && !self.exclusion
            && self.predicate.is_none()
            && !self.has_expressions
    }

    /// NULLS NOT DISTINCT (15 and later).
    pub(super) fn nulls_not_distinct(&self) -> bool {
        self.body.iter().any(|body| body.contains(" NULLS NOT DISTINCT"))
    }
}
