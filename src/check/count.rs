//! A question about the rows themselves: a condition on one row, over blue's columns or over those that green will have,
//! and the finding that its count makes.

use super::{CheckId, Finding};
use crate::hangs_on::{BlindIndex, Encrypted, Green, GreenColumn, Source, without_length};

/// Which columns a condition names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// Blue's, by blue's names.
    Blue,
    /// Those that green will have, by green's names, without the added ones.
    Green,
}

/// Makes the finding for a number of rows (first argument), out of all rows (second).
pub(super) type ToFinding = Box<dyn Fn(i64, i64) -> Finding + Send + Sync>;

/// A question about the rows of one table.
pub(super) struct Count {
    /// What is counted, for people: `rows that break CHECK positive`.
    pub(super) of: String,
    /// Whose columns the condition names.
    pub(super) row: Row,
    /// SQL that is true for the rows to count.
    pub(super) condition: String,
    /// Called if the count is not 0.
    pub(super) found: ToFinding,
    /// The check and the hint, if the condition raises an error for some row.
    pub(super) raises: (CheckId, String),
}

/// Select list that computes green's columns from blue's, without the added ones.
pub(super) fn columns(green: &Green) -> Vec<String> {
    let value = |column: &GreenColumn| {
        let sql = match &column.source {
            Source::Same(blue) | Source::Generated(blue) => blue.to_string(),
            // The assignment enforces the length; a cast to it would truncate.
            Source::Expression { sql, .. } => {
                format!("CAST(({sql}) AS {})", without_length(&column.data_type))
            }
            Source::Encrypted(Encrypted { blue, .. }) | Source::BlindIndex(BlindIndex { of: blue, .. }) => {
                format!("CASE WHEN {blue} IS NOT NULL THEN ''::bytea END")
            }
            Source::Added => return None,
        };
        Some(format!("{sql} AS {}", column.name))
    };
    green.columns.iter().filter_map(value).collect()
}
