//! That a table of keys is not what it stands for.

/// A registry does not have the keys of the live table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "verification found that {registry} does not hold the keys of {table}: {missing} are missing, and {stale} are of no row; \
     nothing was swapped"
)]
pub struct KeysDiffer {
    /// The table's name, as a plan writes it.
    pub table: String,
    /// The name of the registry.
    pub registry: String,
    /// How many keys are missing.
    pub missing: i64,
    /// How many are there without a row.
    pub stale: i64,
}
