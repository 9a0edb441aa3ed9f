//! Reduces many changes of one table to at most one deletion and one row per key. Pure code, without a server.
//!
//! The key is what identifies a row in the stream; if that is more than what pairs the rows of both tables,
//! [`by_key`] turns its changes into changes of the latter.
//!
//! Invariant: applying "delete every key that existed, then insert every row that exists now"
//! to a table in the state before the first change gives its state after the last one. A row may
//! lack values that the stream did not repeat (unchanged TOAST); it then holds the key under which
//! the table had them before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::BufMut;

use crate::replication::pgoutput::Value;

/// A key's values in PostgreSQL's binary form, each with its length in front.
///
/// Two keys that the server calls equal but prints differently (numeric 1.0 and 1.00) are two keys
/// here, and that is right: the stream names the key that the row really had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    /// From the values of the key's columns; `None` if one of them is NULL or was not sent.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(24);
        for value in values {
            let Value::Binary(value) = value else { return None };
            bytes.put_u32(u32::try_from(value.len()).ok()?);
            bytes.put_slice(value);
        }
        Some(Self(bytes.into()))
    }

    /// The same, but those after the first `columns` may be NULL.
    pub fn of_row<'a>(values: impl IntoIterator<Item = &'a Value>, columns: usize) -> Option<Self> {
        let of = |(at, value): (usize, &Value)| match value {
            Value::Null if at >= columns => Some(Self([u8::MAX; 4].into())),
            value => Self::new([value]),
        };
        let parts: Option<Vec<Self>> = values.into_iter().enumerate().map(of).collect();
        Some(Self(parts?.iter().flat_map(|part| part.0.iter().copied()).collect()))
    }

    /// The values of the key's columns, in order.
    pub fn values(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (length, values) = rest.split_first_chunk()?;
            let (value, others) = values.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = others;
            Some(value)
        })
    }

    /// The first `count` of its values.
    pub(crate) fn first(&self, count: usize) -> Self {
        let length: usize = self.values().take(count).map(|value| 4 + value.len()).sum();
        Self(self.0.iter().copied().take(length).collect())
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A row of the source as it is after the changes.
#[derive(Clone, Debug)]
pub struct Row {
    /// One value per column that the stream carries.
    pub values: Vec<Value>,
    /// The key under which the target has the values that are [`Value::Unchanged`] here, and those that the source does not
    /// have, if rows keep some.
    pub base: Option<Key>,
}

impl Row {
    /// Whether the stream did not repeat some of its values.
    pub(crate) fn lacks_values(&self) -> bool {
        self.values.iter().any(|value| matches!(value, Value::Unchanged))
    }

    fn size(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Binary(bytes) | Value::Text(bytes) => bytes.len() + 40,
            Value::Null | Value::Unchanged => 40,
        };
        self.values.iter().map(value).sum()
    }
}

/// What became of one key.
#[derive(Clone, Debug)]
pub struct Net {
    /// Whether a row existed before the first change.
    pub was: bool,
    /// The row that exists after the last one.
    pub now: Option<Row>,
}

/// Changes of the stream contradict each other: it, or our reading of it, is wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// A row is inserted under a key that exists.
    #[error("a row is inserted under a key that an earlier change left in place")]
    Taken,
    /// A row is changed or deleted that an earlier change deleted.
    #[error("a row is changed or deleted that an earlier change had removed")]
    Gone,
    /// Two rows have one key, so that the target could not tell them apart.
    #[error("two rows have one key")]
    Twice,
}

/// The changes of rows that are identified by more than the key, as changes of keys: of the first `columns` of the
/// values that identify a row. A row that is deleted under one identity and inserted under another one of its key, as
/// by a move between partitions, is one that changes.
///
/// # Errors
/// The keys that have two rows, before the changes or after them.
pub fn by_key(identities: HashMap<Key, Net>, columns: usize) -> Result<HashMap<Key, Net>, Vec<Key>> {
    let mut keys: HashMap<Key, Net> = HashMap::with_capacity(identities.len());
    let mut twice = Vec::new();
    for (identity, net) in identities {
        let based = |row: Row| Row { base: row.base.map(|base| base.first(columns)), ..row };
        let net = Net { now: net.now.map(based), ..net };
        match keys.entry(identity.first(columns)) {
            Entry::Vacant(free) => {
                free.insert(net);
            }
            Entry::Occupied(mut there) => {
                if there.get().was && net.was || there.get().now.is_some() && net.now.is_some() {
                    twice.push(there.key().clone());
                }
                let there = there.get_mut();
                there.was |= net.was;
                there.now = there.now.take().or(net.now);
            }
        }
    }
    if twice.is_empty() { Ok(keys) } else { Err(twice) }
}

/// Which rows keep values that their target has and the source does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keeps {
    /// The source has all values.
    #[default]
    Nothing,
    /// A row keeps them until it is deleted.
    Rows,
    /// Also one that moves to another partition, which the stream shows as a deletion and an insertion, one after the other in
    /// a transaction, that have these first columns of what identifies a row in common.
    Moves(usize),
}

/// The changes of one table, coalesced.
#[derive(Debug, Default)]
pub struct Coalesced {
    keys: HashMap<Key, Net>,
    /// Whether whole rows are the keys: in the middle of a transaction, equal rows may exist several times.
    by_whole_rows: bool,
    keeps: Keeps,
    /// The row that the last change deleted, if it may be one that moves: what identified it, and the key under which the target
    /// has what it keeps.
    moving: Option<(Key, Option<Key>)>,
    /// How many more of them there are.
    more: HashMap<Key, u32>,
    changes: u64,
    size: usize,
}

impl Coalesced {
    /// Without changes; `by_whole_rows`, and what rows of the target keep, as of the lane.
    #[must_use]
    pub fn of(by_whole_rows: bool, keeps: Keeps) -> Self {
        Self { by_whole_rows, keeps, ..Self::default() }
    }

    /// The rows that exist several times.
    #[must_use]
    pub fn doubled(&self) -> Vec<Key> {
        self.more.keys().cloned().collect()
    }

    /// Number of changes since the last [`Coalesced::take`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Approximate size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the next change, if it is an insertion, may be the second half of a move.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    /// Takes in that a transaction begins.
    pub fn begin(&mut self) {
        self.moving = None;
    }

    /// Takes in the insertion of a row.
    ///
    /// # Errors
    /// If its key exists already.
    pub fn insert(&mut self, key: Key, values: Vec<Value>) -> Result<(), Impossible> {
        let base = match (self.moving.take(), self.keeps) {
            // Another partition has another identity.
            (Some((was, base)), Keeps::Moves(columns))
                if was != key && was.first(columns) == key.first(columns) =>
            {
                base
            }
            _ => None,
        };
        let row = Row { values, base };
        self.count(&row);
        self.put(key, row)
    }

    /// Takes in the update of the row of `old`; `before` are the old row's values if the stream sent them all.
    ///
    /// # Errors
    /// If the row was deleted before, or its new key exists already.
    pub fn update(
        &mut self,
        old: &Key,
        new: Key,
        mut values: Vec<Value>,
        before: Option<Vec<Value>>,
    ) -> Result<(), Impossible> {
        self.moving = None;
        let earlier = self.remove(old)?;
        let incomplete = values.iter().any(|value| matches!(value, Value::Unchanged));
        let mut base = if self.keeps == Keeps::Nothing { None } else { kept_under(old, earlier.as_ref()) };
        if incomplete {
            let (known, known_base) = match (before, earlier) {
                (Some(before), _) => (before, None),
                (None, Some(row)) => (row.values, row.base),
                (None, None) => (Vec::new(), Some(old.clone())),
            };
            for (at, value) in values.iter_mut().enumerate() {
                if let (Value::Unchanged, Some(known)) = (&*value, known.get(at)) {
                    *value = known.clone();
                }
            }
            base = base.or(known_base);
        }
        let row = Row { values, base };
        self.count(&row);
        self.put(new, row)
    }

    /// Takes in the deletion of the row of `key`.
    ///
    /// # Errors
    /// If it was deleted before.
    pub fn delete(&mut self, key: &Key) -> Result<(), Impossible> {
        self.changes += 1;
        self.size += key.size();
        let earlier = self.remove(key)?;
        if let Keeps::Moves(_) = self.keeps {
            self.moving = Some((key.clone(), kept_under(key, earlier.as_ref())));
        }
        Ok(())
    }

    /// Returns the net change of each key, and starts over.
    pub fn take(&mut self) -> HashMap<Key, Net> {
        self.changes = 0;
        self.size = 0;
        self.moving = None;
        std::mem::take(&mut self.keys)
    }

    fn count(&mut self, row: &Row) {
        self.changes += 1;
        self.size += row.size();
    }

    fn put(&mut self, key: Key, row: Row) -> Result<(), Impossible> {
        match self.keys.entry(key) {
            Entry::Occupied(mut there) if there.get().now.is_none() => there.get_mut().now = Some(row),
            Entry::Occupied(there) if self.by_whole_rows => {
                *self.more.entry(there.key().clone()).or_default() += 1;
            }
            Entry::Occupied(_) => return Err(Impossible::Taken),
            Entry::Vacant(free) => {
                free.insert(Net { was: false, now: Some(row) });
            }
        }
        Ok(())
    }

    /// Removes the row of `key`; returns it if an earlier change of this batch wrote it.
    fn remove(&mut self, key: &Key) -> Result<Option<Row>, Impossible> {
        if let Some(more) = self.more.get_mut(key) {
            *more -= 1;
            if *more == 0 {
                self.more.remove(key);
            }
            return Ok(None);
        }
        let Some(net) = self.keys.get_mut(key) else {
            self.keys.insert(key.clone(), Net { was: true, now: None });
            return Ok(None);
        };
        let row = net.now.take().ok_or(Impossible::Gone)?;
        if !net.was {
            self.keys.remove(key);
        }
        Ok(Some(row))
    }
}

/// The key under which the target has what the row of `key` keeps, if it has it: `earlier` is that row, if this batch wrote it.
fn kept_under(key: &Key, earlier: Option<&Row>) -> Option<Key> {
    earlier.map_or_else(|| Some(key.clone()), |row| row.base.clone())
}

#[cfg(test)]
mod tests;
