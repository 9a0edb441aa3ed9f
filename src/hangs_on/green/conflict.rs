//! One thing in a plan that does not go together with blue.

use serde::{Deserialize, Serialize};

/// One contradiction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conflict {
    /// What is wrong.
    pub what: String,
    /// What to type, in the plan or in SQL.
    pub mend: String,
}

impl Conflict {
    pub(super) fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}
