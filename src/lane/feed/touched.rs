//! Which keys have changed, in bounded memory.
//!
//! Between two source transactions the feed waits for a comparison once too much is remembered. A single transaction cannot be
//! waited in: if it changes more than is remembered at all, its keys are forgotten, and all rows have to be compared.

use std::collections::HashSet;

use crate::lane::coalesce::Key;

/// What a remembered key takes besides its values, in bytes: its place in a table that is two thirds full, and the allocation.
const PER_KEY: usize = 48;
/// With so many bytes of keys the feed waits for a comparison: some 400,000 keys of type `bigint`.
const FULL: usize = 24 << 20;
/// The most that is remembered.
const MOST: usize = 2 * FULL;

/// The keys that have changed, by lane.
#[derive(Debug)]
pub(super) struct Touched {
    lanes: Vec<HashSet<Key>>,
    bytes: usize,
    /// Whether some of them were forgotten.
    has_forgotten: bool,
}

impl Touched {
    pub(super) fn of(lanes: usize) -> Self {
        Self { lanes: vec![HashSet::new(); lanes], bytes: 0, has_forgotten: false }
    }

    /// Remembers keys of a lane; or forgets all, if they are too many.
    pub(super) fn add(&mut self, lane: usize, keys: impl IntoIterator<Item = Key>) {
        let Some(lane) = self.lanes.get_mut(lane).filter(|_| !self.has_forgotten) else { return };
        for key in keys {
            let bytes = key.size() + PER_KEY;
            if lane.insert(key) {
                self.bytes += bytes;
            }
        }
        if self.bytes > MOST {
            *self = Self { has_forgotten: true, ..Self::of(self.lanes.len()) };
        }
    }

    /// Remembers those of another one, which has none any more.
    pub(super) fn take_in(&mut self, other: &mut Self) {
        let Self { lanes, has_forgotten, .. } = std::mem::replace(other, Self::of(other.lanes.len()));
        self.has_forgotten |= has_forgotten;
        for (lane, keys) in lanes.into_iter().enumerate() {
            self.add(lane, keys);
        }
    }

    /// The keys, which are not remembered any more.
    pub(super) fn take(&mut self) -> Vec<HashSet<Key>> {
        self.bytes = 0;
        let lanes = self.lanes.len();
        std::mem::replace(&mut self.lanes, vec![HashSet::new(); lanes])
    }

    pub(super) fn lanes(&self) -> &[HashSet<Key>] {
        &self.lanes
    }

    pub(super) fn count(&self) -> usize {
        self.lanes.iter().map(HashSet::len).sum()
    }

    pub(super) fn has_forgotten(&self) -> bool {
        self.has_forgotten
    }

    /// Whether they have to be compared before others change.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// Whether half of that is reached.
    pub(super) fn is_filling(&self) -> bool {
        self.bytes >= FULL / 2
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::replication::pgoutput::Value;

    /// Keys of 1 KiB.
    fn keys(range: std::ops::Range<u32>) -> impl Iterator<Item = Key> {
        range.map(|n| Key::new([&Value::Binary(Bytes::from(n.to_be_bytes().repeat(256)))]).unwrap())
    }

    #[test]
    fn keys_are_remembered_once_each() {
        let mut touched = Touched::of(2);
        touched.add(0, keys(0..100));
        let bytes = touched.bytes;
        assert!(bytes > 100 * 1_024 && !touched.is_filling());
        touched.add(0, keys(0..100));
        touched.add(1, keys(0..0));
        assert_eq!((touched.count(), touched.bytes), (100, bytes));
        touched.add(1, keys(0..10));
        assert_eq!((touched.take().iter().map(HashSet::len).collect::<Vec<_>>()), [100, 10]);
        assert_eq!((touched.count(), touched.bytes), (0, 0));
    }

    #[test]
    fn memory_for_them_is_bounded() {
        let mut touched = Touched::of(1);
        touched.add(0, keys(0..12_000));
        assert!(touched.is_filling() && !touched.is_full());
        touched.add(0, keys(12_000..24_000));
        assert!(touched.is_full() && !touched.has_forgotten());
        let mut pending = Touched::of(1);
        for n in 0..40 {
            pending.add(0, keys(40_000 + n * 1_000..41_000 + n * 1_000));
            assert!(pending.bytes <= MOST);
        }
        assert!(!pending.has_forgotten());
        touched.take_in(&mut pending);
        assert_eq!(pending.count(), 0);
        assert!(touched.has_forgotten() && touched.count() == 0 && touched.bytes == 0);
        touched.add(0, keys(0..10));
        touched.take_in(&mut Touched::of(1));
        assert!(touched.has_forgotten() && touched.count() == 0, "what is known now would pass for all");
        touched.take();
        assert!(touched.has_forgotten());
    }
}
