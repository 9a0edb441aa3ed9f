//! What becomes of old partitions, and of the old tables.

use serde::{Deserialize, Serialize};

use super::Unit;
use crate::pg::{Ident, QName};

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

/// Where the run's end moves the old tables: a schema, or one for each of their own schemas, which `{schema}` stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Archive(pub(super) Ident);

impl Archive {
    /// The name of a table there.
    #[must_use]
    pub fn place(&self, table: &QName) -> QName {
        let schema = self.0.as_str().replace("{schema}", table.schema.as_str());
        table.in_schema(&Ident(schema))
    }

    /// As the plan has it.
    #[must_use]
    pub fn plain(&self) -> String {
        self.0.plain()
    }
}

impl Retention {
    /// The schema to which partitions of this schema are moved.
    #[must_use]
    pub fn archive(&self, partitions: &Ident) -> Ident {
        let own = || Ident(format!("{}_archive", partitions.as_str()));
        self.schema.clone().unwrap_or_else(own)
    }
}
