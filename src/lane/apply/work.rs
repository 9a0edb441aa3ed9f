//! A batch's keys, sorted by what has to be done with each. Pure code, without a server.

use std::collections::{HashMap, HashSet};

use crate::lane::coalesce::{Key, Net, Row};

/// The keys of a batch, by what has to be done.
pub(super) struct Work<'a> {
    /// Keys whose row has new values.
    pub(super) replaced: Vec<(&'a Key, &'a Row)>,
    /// Keys whose row is deleted.
    pub(super) gone: Vec<&'a Key>,
    /// Complete rows to insert, with their keys.
    pub(super) rows: Vec<(&'a Key, &'a Row)>,
    /// Rows that lack values: their key, the row, and the key under which the target has those values.
    pub(super) rewritten: Vec<(&'a Key, &'a Row, &'a Key)>,
    /// Whether rows keep values of the target.
    keeps: bool,
}

impl<'a> Work<'a> {
    /// `keeps`: rows keep values of the target, which the source does not have.
    pub(super) fn sort(keys: &'a HashMap<Key, Net>, keeps: bool) -> Self {
        let (replaced, gone, rows, rewritten) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut work = Self { replaced, gone, rows, rewritten, keeps };
        let base = |row: &'a Row| row.base.as_ref().filter(|_| keeps || row.lacks_values());
        // A row whose values another row takes over must not be deleted before that.
        let moved = |(key, net): (&'a Key, &'a Net)| base(net.now.as_ref()?).filter(|base| *base != key);
        let bases: HashSet<&Key> = keys.iter().filter_map(moved).collect();
        // In the keys' order, the server reads the same pages of the index one after the other.
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        for (key, net) in keys {
            let goes = net.was && !bases.contains(key);
            // A row that is deleted and comes again keeps nothing.
            let is_same = |row: &'a Row| base(row).map_or(!keeps, |base| base == key);
            match &net.now {
                Some(row) if goes && is_same(row) => {
                    work.replaced.push((key, row));
                    continue;
                }
                Some(row) => match base(row) {
                    Some(base) => work.rewritten.push((key, row, base)),
                    None => work.rows.push((key, row)),
                },
                None => {}
            }
            if goes {
                work.gone.push(key);
            }
        }
        work
    }

    /// Has rows that cannot be replaced in place deleted and inserted.
    pub(super) fn replace_otherwise(&mut self, replaced: impl IntoIterator<Item = (&'a Key, &'a Row)>) {
        for (key, row) in replaced {
            match &row.base {
                _ if self.keeps => self.rewritten.push((key, row, key)),
                Some(base) if row.lacks_values() => self.rewritten.push((key, row, base)),
                _ => {
                    self.gone.push(key);
                    self.rows.push((key, row));
                }
            }
        }
    }

    /// The keys whose rows must exist before the batch.
    pub(super) fn were_there(&self) -> impl Iterator<Item = &'a Key> {
        let replaced = self.replaced.iter().map(|(key, _)| *key);
        replaced.chain(self.gone.iter().copied()).chain(self.rewritten.iter().map(|(_, _, base)| *base))
    }

    pub(super) fn were(&self) -> u64 {
        (self.replaced.len() + self.gone.len() + self.rewritten.len()) as u64
    }
}
