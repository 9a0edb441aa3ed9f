//! What `partitions` reports of each partition.

use schemars::JsonSchema;
use serde::Serialize;

/// What is done about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionChange {
    /// It is created, with the rows of the default partition that belong to it.
    Created,
    /// It is detached, and moved to another schema.
    Archived,
    /// It is detached and dropped.
    Dropped,
}

/// A partition that is changed, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PartitionChanged {
    /// The partitioned table, `schema.name`.
    pub table: String,
    /// The partition, `schema.name`.
    pub partition: String,
    /// What is done about it.
    pub what: PartitionChange,
    /// Rows that are moved into it from the default partition.
    pub rows: u64,
    /// With --dry-run the statements; what follows from one transaction for several partitions is with the first of them.
    pub sql: Vec<String>,
    /// False with --dry-run.
    pub done: bool,
}

impl std::fmt::Display for PartitionChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = match (self.what, self.done) {
            (PartitionChange::Created, true) => "created",
            (PartitionChange::Archived, true) => "archived",
            (PartitionChange::Dropped, true) => "dropped",
            (PartitionChange::Created, false) => "would create",
            (PartitionChange::Archived, false) => "would archive",
            (PartitionChange::Dropped, false) => "would drop",
        };
        write!(f, "{verb} partition {} of {}", self.partition, self.table)?;
        match self.rows {
            0 => Ok(()),
            rows => write!(f, ", with {rows} rows of the default partition"),
        }
    }
}
