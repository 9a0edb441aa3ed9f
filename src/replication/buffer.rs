//! State shared by the consumer and the receiver: how full the buffer is, the positions.
//!
//! Invariant: the receiver stops reading when the buffer is full, so memory is bounded by `buffer_bytes` and one read; and
//! it never waits for the consumer while it owes the server a status update.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::pg::Lsn;

/// The shared state of one stream.
pub(super) struct Shared {
    buffer_bytes: usize,
    waiting_bytes: AtomicUsize,
    acknowledged: AtomicU64,
    /// Notified when the buffer has room again.
    pub(super) room: Notify,
    /// Notified when there is a new position to report.
    pub(super) news: Notify,
}

impl Shared {
    pub(super) fn new(from: Lsn, buffer_bytes: usize) -> Self {
        Self {
            buffer_bytes: buffer_bytes.max(1),
            waiting_bytes: AtomicUsize::new(0),
            acknowledged: AtomicU64::new(from.0),
            room: Notify::new(),
            news: Notify::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) >= self.buffer_bytes
    }

    pub(super) fn put(&self, bytes: usize) {
        self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Wakes the receiver when the buffer has become half empty; waking it for each message would make it read a few
    /// bytes at a time.
    pub(super) fn take(&self, bytes: usize) {
        let before = self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        let half = self.buffer_bytes.div_ceil(2);
        if before >= half && before - bytes < half {
            self.room.notify_one();
        }
    }

    /// Positions never go back.
    pub(super) fn acknowledge(&self, lsn: Lsn) {
        if self.acknowledged.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.news.notify_one();
        }
    }

    pub(super) fn acknowledged(&self) -> Lsn {
        Lsn(self.acknowledged.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_of_any_size_passes_and_fills_the_buffer() {
        let shared = Shared::new(Lsn(0), 100);
        assert!(!shared.is_full());
        shared.put(1_000);
        assert!(shared.is_full());
        shared.take(1_000);
        assert!(!shared.is_full());
    }

    #[tokio::test]
    async fn room_is_told_once_when_half_is_free() {
        let shared = Shared::new(Lsn(0), 100);
        (0..10).for_each(|_| shared.put(10));
        (0..5).for_each(|_| shared.take(10));
        let told = async |wait| tokio::time::timeout(wait, shared.room.notified()).await.is_ok();
        assert!(!told(std::time::Duration::ZERO).await, "half is still waiting");
        shared.take(10);
        assert!(told(std::time::Duration::from_secs(5)).await);
    }

    #[test]
    fn positions_never_go_back() {
        let shared = Shared::new(Lsn(5), 100);
        shared.acknowledge(Lsn(4));
        assert_eq!(shared.acknowledged(), Lsn(5));
        shared.acknowledge(Lsn(9));
        assert_eq!(shared.acknowledged(), Lsn(9));
    }
}
