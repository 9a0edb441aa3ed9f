//! Rests, which leave clients their share of the server.

use std::time::Duration;

use tokio::sync::watch;

/// Work of minutes, such as an index on a large partition, does not call for hours of rest.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What the server has to carry besides the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// More sessions of others are active than the run has workers.
    pub is_busy: bool,
    /// The stream's lag does not shrink.
    pub is_losing: bool,
    /// A limit of the plan asks for a wait, and the slot does not hold back too much WAL for one.
    pub must_wait: bool,
    /// `rest_percent` of the settings; 0 never rests.
    pub rest_percent: u32,
    /// `workers` of the settings.
    pub workers: usize,
}

/// How long to rest after work, so that clients get their share of the server.
#[derive(Clone)]
pub struct Rest {
    load: watch::Receiver<Load>,
    /// Whether it is of a task that works alone, and not of one of the workers.
    is_alone: bool,
}

impl Rest {
    /// The rests of a task that works alone, or of one of the workers.
    #[must_use]
    pub fn of_one(load: watch::Receiver<Load>, is_alone: bool) -> Self {
        Self { load, is_alone }
    }

    /// Never rests.
    #[must_use]
    pub fn never() -> Self {
        Self::of_one(watch::channel(Load::default()).1, true)
    }

    /// The rest on a busy server, as a multiple of the time worked: all workers together use the share of one worker that
    /// rests `rest_percent`.
    #[expect(clippy::cast_precision_loss, reason = "a handful of workers")]
    fn share(&self) -> f64 {
        let Load { rest_percent, workers, .. } = *self.load.borrow();
        let workers = if self.is_alone { 1 } else { workers };
        match rest_percent {
            0 => 0.0,
            percent => workers as f64 * (1.0 + f64::from(percent) / 100.0) - 1.0,
        }
    }

    /// The rest after work that took this long: zero unless the server is busy, 10 s at most.
    #[must_use]
    pub fn after(&self, took: Duration) -> Duration {
        let is_busy = self.load.borrow().is_busy;
        if is_busy { took.mul_f64(self.share()).min(LONGEST_REST) } else { Duration::ZERO }
    }

    /// The rest after a part of a backlog: none while the lag does not shrink, which has to be worked off.
    fn in_a_backlog(&self, took: Duration) -> Duration {
        if self.load.borrow().is_losing { Duration::ZERO } else { self.after(took) }
    }

    /// Waits until no limit of the plan asks for a wait, then rests after a part of a backlog that took this long.
    pub async fn rest_in_a_backlog(&self, took: Duration) {
        let mut load = self.load.clone();
        // An error means that nobody watches the server any more; then nothing throttles the run.
        let _ = load.wait_for(|load| !load.must_wait).await;
        tokio::time::sleep(self.in_a_backlog(took)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(rest_percent: u32, workers: usize) -> f64 {
        let load = Load { rest_percent, workers, ..Load::default() };
        Rest::of_one(watch::channel(load).1, false).share()
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
            let load = Load { is_busy, is_losing, rest_percent: 200, ..Load::default() };
            let rest = Rest::of_one(watch::channel(load).1, true);
            (rest.after(second), rest.in_a_backlog(second))
        };
        assert_eq!(rests(true, false), (2 * second, 2 * second));
        assert_eq!(rests(true, true), (2 * second, Duration::ZERO));
        assert_eq!(rests(false, false), (Duration::ZERO, Duration::ZERO));
        let load = Load { is_busy: true, rest_percent: 200, ..Load::default() };
        let rest = Rest::of_one(watch::channel(load).1, true);
        assert_eq!(rest.after(Duration::from_secs(3_600)), LONGEST_REST);
        assert_eq!(Rest::never().after(second), Duration::ZERO);
    }
}
