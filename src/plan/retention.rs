//! What becomes of old partitions.

use super::Unit;
use crate::pg::Ident;

/// How long the partitions of a table are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many of a unit of time a partition's upper bound may be past.
    pub keep: (u32, Unit),
    /// What becomes of it then.
    pub then: Then,
    /// The schema to which it is moved; `None` is that of the partitions with `_archive`.
    pub schema: Option<Ident>,
}

/// What becomes of an old partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is detached and moved to another schema.
    Archive,
    /// It is dropped.
    Drop,
}

impl Retention {
    /// The schema to which partitions of this schema are moved.
    #[must_use]
    pub fn archive(&self, partitions: &Ident) -> Ident {
        let own = || Ident(format!("{}_archive", partitions.as_str()));
        self.schema.clone().unwrap_or_else(own)
    }
}
