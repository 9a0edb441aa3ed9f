//! The encrypted values of one column, counted at one point by what they say themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The encrypted values of one column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Census {
    /// The table, as `schema.table`.
    pub table: String,
    /// The column.
    pub column: String,
    /// Rows without a value.
    pub nulls: u64,
    /// Values that were opened, by the id of the key in them.
    pub keys: BTreeMap<String, u64>,
    /// Values that are plaintext, were altered, are not encrypted with the column's key, or have another's blind index or tag, by
    /// what is wrong.
    pub refused: BTreeMap<String, u64>,
}

impl Census {
    /// Adds the counts of another part of the same columns.
    pub fn add(all: &mut Vec<Self>, part: Vec<Self>) {
        for one in part {
            match all.iter_mut().find(|known| known.table == one.table && known.column == one.column) {
                None => all.push(one),
                Some(known) => {
                    known.nulls += one.nulls;
                    for (into, from) in [(&mut known.keys, one.keys), (&mut known.refused, one.refused)] {
                        for (what, count) in from {
                            *into.entry(what).or_default() += count;
                        }
                    }
                }
            }
        }
    }

    /// What is wrong, a sentence for each column and reason.
    #[must_use]
    pub fn refused(all: &[Self]) -> Vec<String> {
        let of_column = |one: &Self| {
            let name = format!("{}, column {}", one.table, one.column);
            let each = one.refused.iter().map(move |(why, count)| {
                let values = if *count == 1 { "value" } else { "values" };
                format!("{name}: {count} {values}: {why}")
            });
            each.collect::<Vec<_>>()
        };
        all.iter().flat_map(of_column).collect()
    }
}
