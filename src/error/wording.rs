//! Lists in messages, cut where they get long.

use std::fmt::Write as _;

use crate::lane::compare::Differences;
use crate::pg;

/// The most that are told of a list.
const MOST: usize = 5;

/// How many rows differ, and in which columns those that are shown differ.
pub(super) fn differing(differences: &Differences) -> String {
    let (count, shown) = (differences.count, differences.shown.len());
    let mut text = format!("{count} difference{}", if count == 1 { "" } else { "s" });
    let columns: Vec<String> =
        differences.columns().into_iter().map(|(name, rows)| format!("{name} ({rows})")).collect();
    if !columns.is_empty() {
        let _ = write!(text, " in the columns {}", pg::some(&columns, MOST, ", "));
    }
    if (shown as u64) < count {
        let _ = write!(text, "; {shown} of them are shown");
    }
    if !differences.refused.is_empty() {
        let _ = write!(text, "; {}", some(&differences.refused));
    }
    text
}

/// The first few sentences of many.
pub(super) fn some(sentences: &[String]) -> String {
    pg::some(sentences, MOST, "; ")
}
