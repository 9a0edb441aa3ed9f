//! Rates and the time left. A rate is taken over the last seconds, not since the beginning, so that it follows a
//! throttle or a busy server.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

/// Progress of a long piece of work on one table, in bytes of heap read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Reached {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes to read in all.
    pub bytes_total: u64,
    /// Bytes per second, over the last 15 seconds.
    pub bytes_per_s: f64,
    /// Seconds left at this rate; null while nothing moves.
    pub eta_s: Option<f64>,
}

/// The window that a rate is taken over.
const WINDOW: Duration = Duration::from_secs(15);

/// A count that grows, and its recent readings.
#[derive(Clone, Debug)]
pub struct Meter {
    seen: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Starts at a count that is not 0 when work is resumed.
    #[must_use]
    pub fn new(now: Instant, count: u64) -> Self {
        Self { seen: VecDeque::from([(now, count)]) }
    }

    /// Adds a reading. Readings older than the window are dropped, except the one that bounds it.
    pub fn see(&mut self, now: Instant, count: u64) {
        self.seen.push_back((now, count));
        while self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.seen.pop_front();
        }
    }

    /// The rate per second within the window; 0 if the count has not grown.
    #[must_use]
    pub fn per_s(&self) -> f64 {
        let (Some((from, before)), Some((to, after))) = (self.seen.front(), self.seen.back()) else {
            return 0.0;
        };
        per_s(after.saturating_sub(*before), to.duration_since(*from))
    }
}

/// The rates of reading one table.
#[derive(Clone, Debug)]
pub struct TableMeter {
    rows: Meter,
    bytes: Meter,
}

impl TableMeter {
    /// Starts at counts that are not 0 when work is resumed.
    #[must_use]
    pub fn new(now: Instant, rows: u64, bytes: u64) -> Self {
        Self { rows: Meter::new(now, rows), bytes: Meter::new(now, bytes) }
    }

    /// Adds a reading. Returns the rate of rows per second, and how far the table has been read.
    pub fn see(&mut self, now: Instant, rows: u64, bytes: u64, bytes_total: u64) -> (f64, Reached) {
        self.rows.see(now, rows);
        self.bytes.see(now, bytes);
        let bytes_per_s = self.bytes.per_s();
        let eta_s = eta_s(bytes_total.saturating_sub(bytes), bytes_per_s);
        (self.rows.per_s(), Reached { bytes, bytes_total, bytes_per_s, eta_s })
    }
}

/// `count` per second of `took`, rounded for display.
#[must_use]
pub fn per_s(count: u64, took: Duration) -> f64 {
    if took.is_zero() {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / took.as_secs_f64();
    (rate * 10.0).round() / 10.0
}

/// Seconds until `left` is done at `per_s`; `None` if it never is.
#[must_use]
pub fn eta_s(left: u64, per_s: f64) -> Option<f64> {
    if left == 0 {
        return Some(0.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    let eta = left as f64 / per_s;
    (per_s > 0.0).then(|| (eta * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(begun: Instant, seconds: u64) -> Instant {
        begun + Duration::from_secs(seconds)
    }

    #[test]
    fn a_rate_follows_what_happened_lately() {
        let begun = Instant::now();
        let mut meter = Meter::new(begun, 1_000);
        meter.see(after(begun, 10), 11_000);
        assert!((meter.per_s() - 1_000.0).abs() < 0.1);
        for second in 11..=60 {
            meter.see(after(begun, second), 11_000);
        }
        assert!(meter.per_s() < 0.1, "it stands still, and says {}", meter.per_s());
    }

    #[test]
    fn a_count_that_begins_again_is_no_rate() {
        let begun = Instant::now();
        let mut meter = Meter::new(begun, 1_000);
        meter.see(after(begun, 1), 0);
        assert!(meter.per_s().abs() < f64::EPSILON);
    }

    #[test]
    fn what_does_not_move_has_no_end_and_what_is_done_has_one() {
        assert_eq!(eta_s(5, 0.0), None);
        assert_eq!(eta_s(0, 0.0), Some(0.0));
        assert_eq!(eta_s(100, 8.0), Some(12.5));
    }
}
