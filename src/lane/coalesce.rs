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

use bytes::{BufMut, Bytes, BytesMut};

use crate::replication::pgoutput::Value;

/// A key's values in PostgreSQL's binary form, each with its length in front.
///
/// Two keys that the server calls equal but prints differently (numeric 1.0 and 1.00) are two keys
/// here, and that is right: the stream names the key that the row really had.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Bytes);

impl Key {
    /// From the values of the key's columns; `None` if one of them is NULL or was not sent.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a Value>) -> Option<Self> {
        let mut bytes = BytesMut::with_capacity(24);
        for value in values {
            let Value::Binary(value) = value else { return None };
            bytes.put_u32(u32::try_from(value.len()).ok()?);
            bytes.put_slice(value);
        }
        Some(Self(bytes.freeze()))
    }

    /// The same, but those after the first `columns` may be NULL.
    pub fn of_row<'a>(values: impl IntoIterator<Item = &'a Value>, columns: usize) -> Option<Self> {
        let of = |(at, value): (usize, &Value)| match value {
            Value::Null if at >= columns => Some(Self(Bytes::from_static(&[u8::MAX; 4]))),
            value => Self::new([value]),
        };
        let parts: Option<Vec<Self>> = values.into_iter().enumerate().map(of).collect();
        Some(Self(parts?.into_iter().flat_map(|part| part.0).collect()))
    }

    /// The values of the key's columns, in order.
    pub fn values(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut rest = self.0.clone();
        std::iter::from_fn(move || {
            let length = rest.get(..4)?;
            let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
            let value = rest.slice(4..4 + length);
            rest = rest.slice(4 + length..);
            Some(value)
        })
    }

    /// The first `count` of its values.
    fn first(&self, count: usize) -> Self {
        let length: usize = self.values().take(count).map(|value| 4 + value.len()).sum();
        Self(self.0.slice(..length))
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
    /// The key under which the target has the values that are [`Value::Unchanged`] here.
    pub base: Option<Key>,
}

impl Row {
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

/// The changes of one table, coalesced.
#[derive(Debug, Default)]
pub struct Coalesced {
    keys: HashMap<Key, Net>,
    changes: u64,
    size: usize,
}

impl Coalesced {
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

    /// Takes in the insertion of a row.
    ///
    /// # Errors
    /// If its key exists already.
    pub fn insert(&mut self, key: Key, values: Vec<Value>) -> Result<(), Impossible> {
        let row = Row { values, base: None };
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
        let earlier = self.remove(old)?;
        let incomplete = values.iter().any(|value| matches!(value, Value::Unchanged));
        let mut base = None;
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
            base = known_base;
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
        self.remove(key).map(drop)
    }

    /// Returns the net change of each key, and starts over.
    pub fn take(&mut self) -> HashMap<Key, Net> {
        self.changes = 0;
        self.size = 0;
        std::mem::take(&mut self.keys)
    }

    fn count(&mut self, row: &Row) {
        self.changes += 1;
        self.size += row.size();
    }

    fn put(&mut self, key: Key, row: Row) -> Result<(), Impossible> {
        match self.keys.entry(key) {
            Entry::Occupied(mut there) if there.get().now.is_none() => there.get_mut().now = Some(row),
            Entry::Occupied(_) => return Err(Impossible::Taken),
            Entry::Vacant(free) => {
                free.insert(Net { was: false, now: Some(row) });
            }
        }
        Ok(())
    }

    /// Removes the row of `key`; returns it if an earlier change of this batch wrote it.
    fn remove(&mut self, key: &Key) -> Result<Option<Row>, Impossible> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        match text {
            "~" => Value::Unchanged,
            "-" => Value::Null,
            text => Value::Binary(Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    fn key(text: &str) -> Key {
        Key::new([&value(text)]).unwrap()
    }

    fn row(id: &str, note: &str) -> Vec<Value> {
        vec![value(id), value(note)]
    }

    /// `key[!][=values][@base]`: `!` a row was there before, `=` what is there now.
    fn show(coalesced: &mut Coalesced) -> Vec<String> {
        shown(coalesced.take())
    }

    fn shown(keys: HashMap<Key, Net>) -> Vec<String> {
        let text = |value: &Value| match value {
            Value::Binary(bytes) | Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Null => "-".to_owned(),
            Value::Unchanged => "~".to_owned(),
        };
        let name = |key: &Key| String::from_utf8_lossy(&key.values().next().unwrap()).into_owned();
        let mut lines = Vec::new();
        for (key, net) in keys {
            let mut line = name(&key);
            line += if net.was { "!" } else { "" };
            if let Some(row) = net.now {
                line += &format!("={}", row.values.iter().map(text).collect::<Vec<_>>().join(","));
                line += &row.base.map_or_else(String::new, |base| format!("@{}", name(&base)));
            }
            lines.push(line);
        }
        lines.sort();
        lines
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        let mut c = Coalesced::default();
        c.update(&key("1"), key("1"), row("1", "a"), None).unwrap();
        c.update(&key("1"), key("1"), row("1", "b"), None).unwrap();
        c.insert(key("2"), row("2", "x")).unwrap();
        c.delete(&key("3")).unwrap();
        assert_eq!(c.changes(), 4);
        assert_eq!(show(&mut c), ["1!=1,b", "2=2,x", "3!"]);
        assert_eq!(c.changes(), 0);
    }

    #[test]
    fn what_came_and_went_leaves_nothing() {
        let mut c = Coalesced::default();
        c.insert(key("1"), row("1", "a")).unwrap();
        c.update(&key("1"), key("2"), row("2", "~"), None).unwrap();
        c.delete(&key("2")).unwrap();
        assert!(show(&mut c).is_empty());
    }

    #[test]
    fn a_key_that_is_used_again_was_there_and_is_there() {
        let mut c = Coalesced::default();
        c.delete(&key("1")).unwrap();
        c.insert(key("1"), row("1", "new")).unwrap();
        assert_eq!(show(&mut c), ["1!=1,new"]);
    }

    #[test]
    fn an_unchanged_value_comes_from_the_batch_or_names_the_key_it_had() {
        let mut c = Coalesced::default();
        c.insert(key("1"), row("1", "long")).unwrap();
        c.update(&key("1"), key("1"), row("1", "~"), None).unwrap();
        c.update(&key("5"), key("6"), row("6", "~"), None).unwrap();
        c.update(&key("6"), key("7"), row("7", "~"), None).unwrap();
        assert_eq!(show(&mut c), ["1=1,long", "5!", "7=7,~@5"]);
    }

    #[test]
    fn a_full_old_row_completes_the_new_one() {
        let mut c = Coalesced::default();
        c.update(&key("1"), key("1"), row("1", "~"), Some(row("1", "old"))).unwrap();
        assert_eq!(show(&mut c), ["1!=1,old"]);
    }

    #[test]
    fn two_rows_can_exchange_their_keys() {
        let mut c = Coalesced::default();
        c.update(&key("1"), key("t"), row("t", "~"), None).unwrap();
        c.update(&key("2"), key("1"), row("1", "~"), None).unwrap();
        c.update(&key("t"), key("2"), row("2", "~"), None).unwrap();
        assert_eq!(show(&mut c), ["1!=1,~@2", "2!=2,~@1"]);
    }

    fn wide(id: &str, at: &str) -> Key {
        Key::new([&value(id), &value(at)]).unwrap()
    }

    #[test]
    fn what_moves_under_its_key_is_one_change_of_it() {
        let mut c = Coalesced::default();
        // Moved, by one statement and by two, in either order; changed in place, without its large value.
        c.delete(&wide("1", "jan")).unwrap();
        c.insert(wide("1", "feb"), row("1", "feb")).unwrap();
        c.insert(wide("2", "feb"), row("2", "feb")).unwrap();
        c.delete(&wide("2", "jan")).unwrap();
        c.update(&wide("3", "jan"), wide("3", "may"), row("3", "~"), None).unwrap();
        c.delete(&wide("4", "jan")).unwrap();
        c.update(&wide("5", "jan"), wide("6", "jan"), row("6", "~"), None).unwrap();
        let keys = by_key(c.take(), 1).unwrap();
        assert_eq!(shown(keys), ["1!=1,feb", "2!=2,feb", "3!=3,~@3", "4!", "5!", "6=6,~@5"]);
    }

    #[test]
    fn two_rows_of_one_key_are_not_one_change() {
        let mut c = Coalesced::default();
        c.insert(wide("1", "jan"), row("1", "jan")).unwrap();
        c.insert(wide("1", "feb"), row("1", "feb")).unwrap();
        assert_eq!(by_key(c.take(), 1).unwrap_err(), [key("1")]);
        c.delete(&wide("1", "jan")).unwrap();
        c.delete(&wide("1", "feb")).unwrap();
        assert_eq!(by_key(c.take(), 1).unwrap_err(), [key("1")]);
    }

    #[test]
    fn null_is_a_value_and_no_key() {
        let mut c = Coalesced::default();
        c.update(&key("1"), key("1"), row("1", "-"), Some(row("1", "old"))).unwrap();
        assert_eq!(show(&mut c), ["1!=1,-"]);
        assert!(Key::new([&Value::Null]).is_none());
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        let mut c = Coalesced::default();
        c.insert(key("1"), row("1", "a")).unwrap();
        assert_eq!(c.insert(key("1"), row("1", "b")), Err(Impossible::Taken));
        c.delete(&key("2")).unwrap();
        assert_eq!(c.delete(&key("2")), Err(Impossible::Gone));
    }
}
