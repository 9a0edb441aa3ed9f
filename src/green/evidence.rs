//! What a swap keeps, and what it would have lost: blue's definition held against that of the table that took its place.

use crate::hangs_on::{Compared, Definition, Green, PARTS};

impl Green {
    /// What stays as it is, in a few words each.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        PARTS.iter().flat_map(|part| part.kept(self)).collect()
    }
}

impl Definition {
    /// What `other`, the definition of the table that is live in place of this one, lacks or has
    /// too much, apart from what the plan asked for. Empty when nothing was lost. Foreign keys of
    /// a partitioned table count once they are on the parent, which is after [`Green::settle`];
    /// before that, those of the leaves count.
    #[must_use]
    pub fn differences(&self, other: &Definition, green: &Green) -> Vec<String> {
        let mut compared = Compared { green, was: self, is: other, found: Vec::new() };
        for part in PARTS {
            part.compare(&mut compared);
        }
        compared.found
    }
}
