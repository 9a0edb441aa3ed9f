//! What is told of a table whose values are encrypted again.

use schemars::JsonSchema;
use serde::Serialize;

/// How much there is to do on a table, and how long it will take.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RekeyEstimate {
    /// The table, as `schema.table`.
    pub table: String,
    /// Rows with a value that is not under its column's key.
    pub rows: u64,
    /// These values.
    pub values: u64,
    /// Values of the sample, which were read, opened, encrypted, written and rolled back.
    pub sampled: u64,
    /// Values of the sample per second; 0 without a sample.
    pub values_per_s: f64,
    /// Seconds at this rate, without rests; `null` without a sample.
    pub seconds: Option<f64>,
}

/// What has been done on a table.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Rekeyed {
    /// The table, as `schema.table`.
    pub table: String,
    /// Values that are under their column's key now, and were not.
    pub values: u64,
    /// Values that are left; at the end those that cannot be opened, and those that others kept writing under another key.
    pub left: u64,
    /// Recent rate, in values per second.
    pub values_per_s: f64,
    /// Why values were left as they are, each with their number.
    pub refused: std::collections::BTreeMap<String, u64>,
    /// Whether the table is done.
    pub done: bool,
}

impl Rekeyed {
    /// Values that cannot be opened, and those that others kept writing.
    pub(crate) fn left_as_they_are(&self) -> (u64, u64) {
        let refused = self.refused.values().sum();
        (refused, self.left.saturating_sub(refused))
    }
}
