//! What was not as it must be.

use std::collections::BTreeMap;
use std::fmt;

use super::table::{Key, digest};

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A statement or a connection failed.
    Failed,
    /// A write met another number of rows than one.
    Miscounted,
    /// A client did not read what it had written.
    Misread,
    /// An acknowledged row is not there.
    Lost,
    /// A row is there with other values than the last acknowledged.
    Changed,
    /// A deleted row (or the old key of a changed one) is there again.
    Returned,
    /// A key is there more than once.
    Doubled,
    /// A row is there that no client wrote.
    Unexpected,
    /// Of a transaction over several tables a part is there, and a part is not.
    Torn,
    /// Rows that no client touched are not as they were before.
    OthersChanged,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: Kind,
    pub table: String,
    /// Of the key: `key_digest`; empty where it is not about one row.
    pub key: String,
    /// An SQLSTATE, a verb, the names of columns: never a value.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {} {}", self.kind, self.table, self.key, self.detail)
    }
}

/// All of them, and how much was looked at.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Rows compared with a ledger.
    pub checked_rows: u64,
    /// Rows compared as a whole with before the load.
    pub other_rows: u64,
    /// In the order found.
    pub list: Vec<Finding>,
}

impl Findings {
    /// How many of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.list.iter().filter(|finding| finding.kind == kind).count()
    }

    /// How many of each kind that there is.
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.list {
            *counts.entry(format!("{:?}", finding.kind)).or_insert(0) += 1;
        }
        counts
    }

    /// Nothing was found, and something was looked at.
    pub fn is_clean(&self) -> bool {
        self.list.is_empty() && self.checked_rows > 0
    }

    /// For tests: panics with the findings.
    pub fn expect_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rows checked, {} findings", self.checked_rows, self.list.len())?;
        for finding in self.list.iter().take(40) {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}

/// Names a row without telling its key.
pub fn key_digest(key: &Key) -> String {
    let text: Vec<_> = key.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
    let mut digest = digest(&text.join("/"));
    digest.truncate(12);
    digest
}
