//! Rests, so that clients get their part of the server.

use std::time::Duration;

use tokio::sync::watch;

/// What takes minutes, as an index of a large partition does, is not made up for by hours.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What the server has to carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// More sessions of others are at work than we have workers.
    pub is_busy: bool,
    /// The stream's lag does not shrink.
    pub is_losing: bool,
    /// The plan asks to wait, and the slot does not hold back too much WAL for that.
    pub must_wait: bool,
}

/// How long to rest after work, so that clients get their part of the server.
#[derive(Clone)]
pub struct Rest {
    load: watch::Receiver<Load>,
    /// As a multiple of the work, on a busy server.
    share: f64,
}

impl Rest {
    /// What one of so many rests on a busy server: all of them together take what one takes that rests
    /// as the plan has it.
    #[expect(clippy::cast_precision_loss, reason = "a handful of workers")]
    #[must_use]
    pub fn of_one(load: watch::Receiver<Load>, rest_percent: u32, workers: usize) -> Self {
        let share = match rest_percent {
            0 => 0.0,
            percent => workers as f64 * (1.0 + f64::from(percent) / 100.0) - 1.0,
        };
        Self { load, share }
    }

    /// Of a run that nobody is considerate in.
    #[must_use]
    pub fn never() -> Self {
        Self { load: watch::channel(Load::default()).1, share: 0.0 }
    }

    /// After work that took so long.
    #[must_use]
    pub fn after(&self, took: Duration) -> Duration {
        if self.load.borrow().is_busy { took.mul_f64(self.share).min(LONGEST_REST) } else { Duration::ZERO }
    }

    /// After a part of a backlog that took so long: a lag that does not shrink has to be worked off.
    fn in_a_backlog(&self, took: Duration) -> Duration {
        if self.load.borrow().is_losing { Duration::ZERO } else { self.after(took) }
    }

    /// Rests after a part of a backlog that took so long; first for as long as the plan asks to wait.
    pub async fn rest_in_a_backlog(&self, took: Duration) {
        let mut load = self.load.clone();
        // An error means that nobody watches the server any more; then nothing holds anybody up.
        let _ = load.wait_for(|load| !load.must_wait).await;
        tokio::time::sleep(self.in_a_backlog(took)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(rest_percent: u32, workers: usize) -> f64 {
        Rest::of_one(watch::channel(Load::default()).1, rest_percent, workers).share
    }

    #[test]
    fn workers_together_take_what_one_takes_that_rests() {
        for workers in [1, 4, 16] {
            let share = workers as f64 / (1.0 + rest(50, workers));
            assert!((share - 1.0 / 1.5).abs() < 1e-9, "{workers} workers take {share} of one");
        }
        assert!(rest(0, 4).abs() < 1e-9);
    }

    #[test]
    fn nobody_rests_on_a_quiet_server_or_in_a_backlog_that_grows() {
        let second = Duration::from_secs(1);
        let rests = |is_busy, is_losing| {
            let load = watch::channel(Load { is_busy, is_losing, ..Load::default() }).1;
            let rest = Rest { load, share: 2.0 };
            (rest.after(second), rest.in_a_backlog(second))
        };
        assert_eq!(rests(true, false), (2 * second, 2 * second));
        assert_eq!(rests(true, true), (2 * second, Duration::ZERO));
        assert_eq!(rests(false, false), (Duration::ZERO, Duration::ZERO));
        let load = watch::channel(Load { is_busy: true, ..Load::default() }).1;
        assert_eq!(Rest { load, share: 2.0 }.after(Duration::from_secs(3_600)), LONGEST_REST);
        assert_eq!(Rest::never().after(second), Duration::ZERO);
    }
}
