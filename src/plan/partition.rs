//! From a plan's `partition_by` to the partitions themselves: names and bounds. Pure.

use serde::{Deserialize, Serialize};

use crate::pg::Ident;

/// One partition of green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// Its name, at most 63 bytes.
    pub name: Ident,
    /// `FOR VALUES FROM (...) TO (...)`, `FOR VALUES IN (...)`, `FOR VALUES WITH (...)` or `DEFAULT`.
    pub bound: String,
}
