//! The feed's lag, and whether it shrinks.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::Followed;
use crate::event::Event;
use crate::meter::Meter;
use crate::pg::slot::Slot;

/// A smaller lag, in bytes of WAL, counts as none.
const NO_LAG: u64 = 1 << 20;
/// A lag that has not shrunk for this long counts as one that does not shrink. The server reports its position at least
/// twice in `wal_sender_timeout` (1 min), even while it decodes nothing of ours.
const PATIENCE: Duration = Duration::from_secs(60);

/// The lag of the feed that [`super::Pace::follow`] was given.
pub(super) struct Lag {
    followed: Followed,
    /// Counts this feed's changes.
    meter: Option<Meter>,
    /// The smallest lag since there was last none, and when it was measured.
    least: Option<(u64, Instant)>,
    /// The bursts of the stream that were over by then.
    bursts: u64,
}

impl Lag {
    pub(super) fn of(followed: Followed) -> Self {
        Self { followed, meter: None, least: None, bursts: 0 }
    }

    /// Whether the lag does not shrink.
    pub(super) fn is_losing(&self) -> bool {
        self.least.is_some_and(|(_, since)| since.elapsed() >= PATIENCE)
    }

    /// `bursts` of the stream are over: at the end of each there was no lag, however large it is between them.
    fn see(&mut self, now: Instant, bytes: u64, bursts: u64) {
        if std::mem::replace(&mut self.bursts, bursts) != bursts {
            self.least = None;
        }
        match self.least {
            _ if bytes < NO_LAG => self.least = None,
            Some((least, since)) if bytes >= least || now.duration_since(since) >= PATIENCE => {}
            _ => self.least = Some((bytes, now)),
        }
    }

    /// `None` while there is no feed.
    pub(super) fn event(&mut self, slots: Vec<Slot>) -> Option<Event> {
        let state = {
            let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            // The sender is dropped with the feed.
            let feed = followed.as_ref().filter(|(feed, _)| feed.has_changed().is_ok());
            feed.map(|(feed, source)| (*feed.borrow(), *source))
        };
        let Some((state, source)) = state else {
            (self.meter, self.least) = (None, None);
            return None;
        };
        let slot = slots.into_iter().find(|slot| slot.source == source)?;
        let now = Instant::now();
        let meter = self.meter.get_or_insert_with(|| Meter::new(now, state.changes));
        meter.see(now, state.changes);
        let applied_per_s = meter.per_s();
        let lag_bytes = slot.end.bytes_since(state.applied).min(slot.lag_bytes);
        self.see(now, lag_bytes, state.bursts);
        Some(Event::Lag {
            lag_bytes,
            applied: state.changes,
            applied_per_s,
            retained_bytes: slot.retained_bytes,
            wal_status: slot.wal_status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_stays_is_lost_until_it_is_none() {
        let mut lag = Lag::of(Followed::default());
        let long_ago = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        lag.see(long_ago, 9 * NO_LAG, 0);
        assert!(lag.is_losing());
        lag.see(Instant::now(), 8 * NO_LAG, 0);
        assert!(lag.is_losing(), "one that shrinks a little would grow again");
        lag.see(Instant::now(), NO_LAG - 1, 0);
        assert!(!lag.is_losing());
        lag.see(Instant::now(), 9 * NO_LAG, 0);
        lag.see(Instant::now(), 8 * NO_LAG, 0);
        assert_eq!(lag.least.map(|(least, _)| least), Some(8 * NO_LAG));
        assert!(!lag.is_losing());
    }

    #[test]
    fn a_lag_between_two_bursts_is_none() {
        let mut lag = Lag::of(Followed::default());
        let long_ago = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        lag.see(long_ago, 9 * NO_LAG, 3);
        lag.see(Instant::now(), 9 * NO_LAG, 3);
        assert!(lag.is_losing());
        lag.see(Instant::now(), 9 * NO_LAG, 4);
        assert!(!lag.is_losing());
    }
}
