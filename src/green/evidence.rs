//! What a swap keeps and what it has lost: blue's definition compared with that of the table that replaced it.

use crate::hangs_on::{Compared, Definition, Green, PARTS};

impl Green {
    /// What stays as it is, a few words for each thing.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        PARTS.iter().flat_map(|part| part.kept(self)).collect()
    }
}

impl Definition {
    /// What `other`, the definition of the live table that replaced this one, lacks or has in addition, apart from what
    /// the plan asked for. Empty if nothing was lost. Foreign keys of a partitioned table are compared on the parent
    /// once they are there, which is after [`Green::settle`]; before that, on the leaves.
    #[must_use]
    pub fn differences(&self, other: &Definition, green: &Green) -> Vec<String> {
        let mut compared = Compared { green, was: self, is: other, found: Vec::new() };
        for part in PARTS {
            part.compare(&mut compared);
        }
        compared.found
    }
}
