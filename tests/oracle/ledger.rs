//! What one client knows: the rows that must be there, and those that must not. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use fastrand::Rng;

use super::table::{Key, Table, Value};

/// A row as the ledger keeps it (large values as digests).
pub type Row = Vec<Value>;

/// The effect of one statement on one row.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which table, by its place among the load's tables.
    pub table: usize,
    /// The row that was there under this key is there no more.
    pub before: Option<Key>,
    /// This row is there now.
    pub after: Option<Row>,
}

/// What is expected of a table.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// By key; with the multi-table transaction that wrote the row last.
    pub rows: BTreeMap<Key, (Row, Option<u64>)>,
    /// Keys that were there once; with the multi-table transaction that removed them.
    pub gone: HashMap<Key, Option<u64>>,
    /// The key that went last, to be used again.
    last_gone: Option<Key>,
}

impl Expected {
    /// A random key that is there, and none of `taken`.
    pub fn pick(&self, rng: &mut Rng, taken: &[Key]) -> Option<&Row> {
        let (key, (row, _)) = self.rows.iter().nth(rng.usize(..self.rows.len().max(1)))?;
        (!taken.contains(key)).then_some(row)
    }

    /// A key that was deleted and can come again.
    pub fn reusable_key(&self) -> Option<&Key> {
        self.last_gone.as_ref().filter(|key| !self.rows.contains_key(*key))
    }
}

/// One client's whole knowledge.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By the table's place.
    pub tables: Vec<Expected>,
    /// Transactions without an answer that nobody could look up yet: wholly there, or not at all.
    pub unknown: Vec<Vec<Change>>,
    transactions: u64,
}

/// What was found out about a transaction without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Committed,
    RolledBack,
    Torn,
}

impl Ledger {
    pub fn new(tables: usize) -> Self {
        Self { tables: vec![Expected::default(); tables], ..Self::default() }
    }

    /// The transaction was acknowledged.
    pub fn acknowledge(&mut self, tables: &[Table], changes: Vec<Change>) {
        let written: HashSet<_> = changes.iter().map(|change| change.table).collect();
        self.transactions += 1;
        let transaction = (written.len() > 1).then_some(self.transactions);
        for Change { table, before, after } in changes {
            let expected = &mut self.tables[table];
            if let Some(key) = before {
                expected.rows.remove(&key);
                expected.last_gone = Some(key.clone());
                expected.gone.insert(key, transaction);
            }
            if let Some(row) = after {
                let key = tables[table].key_of(&row);
                expected.gone.remove(&key);
                expected.rows.insert(key, (row, transaction));
            }
        }
    }

    /// Compares a transaction without an answer with what is there (each table's rows of this owner).
    /// An identity that was never told is looked up by the row's other values, and filled in.
    pub fn fate(&self, tables: &[Table], changes: &mut [Change], found: &[Vec<Row>]) -> Fate {
        let (mut done, mut undone) = (true, true);
        for change in changes {
            let table = &tables[change.table];
            let (expected, rows) = (&self.tables[change.table], &found[change.table]);
            if let Some(row) = &mut change.after {
                fill_in_identity(table, row, expected, rows);
            }
            let here = |key: &Key| rows.iter().find(|row| table.key_of(row) == *key);
            let after_key = change.after.as_ref().map(|row| table.key_of(row));
            let old_is_gone = change
                .before
                .as_ref()
                .is_none_or(|key| after_key.as_ref() == Some(key) || here(key).is_none());
            let new_is_here = change.after.as_ref().is_none_or(|row| rows.contains(row));
            done &= old_is_gone && new_is_here;
            let old = change.before.as_ref().and_then(|key| expected.rows.get(key));
            let old_is_here = old.is_none_or(|(row, _)| rows.contains(row));
            let new_is_gone = after_key
                .as_ref()
                .is_none_or(|key| change.before.as_ref() == Some(key) || here(key).is_none());
            undone &= old_is_here && new_is_gone;
        }
        match (done, undone) {
            (true, _) => Fate::Committed,
            (false, true) => Fate::RolledBack,
            (false, false) => Fate::Torn,
        }
    }
}

fn fill_in_identity(table: &Table, row: &mut Row, expected: &Expected, found: &[Row]) {
    let Some(&i) = table.key().first().filter(|&&i| row[i].is_none()) else { return };
    let mut unknown = found.iter().filter(|row| !expected.rows.contains_key(&table.key_of(row)));
    let same = unknown.find(|other| (0..row.len()).all(|n| n == i || other[n] == row[n]));
    row[i] = same.and_then(|other| other[i].clone());
}
