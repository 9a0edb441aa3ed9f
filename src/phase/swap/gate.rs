//! The gate before an attempt to swap: everything that can be known without a lock.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::civil::Time;
use tokio_postgres::Client;

use crate::error::Error;
use crate::event::{Event, WaitCause};
use crate::lane::feed::{Feed, FeedError};
use crate::pg::Colour;
use crate::pg::activity::{self, ActivityError, Backend};
use crate::phase::{check_fingerprints, locks, verify};
use crate::plan::Window;
use crate::run::Run;

/// A marker's round trip has to be shorter than this, [`IN_A_ROW`] times in a row.
const QUICK: Duration = Duration::from_millis(20);
const IN_A_ROW: u32 = 3;
/// Round trips after which the gate allows twice the lag, so that a busy server cannot hold up the swap
/// forever; but at most one [`PART_OF_BUDGET`]th of the stall that the plan allows.
const PATIENCE: u32 = 50;
const PART_OF_BUDGET: u32 = 8;
/// The most keys that are compared under the lock; if there are more, they are compared before it.
const KEYS_MAX: usize = 4_000;

/// Waits until an attempt has a good chance.
pub(super) async fn pass(run: &Run<'_>) -> Result<(), Error> {
    let feed = run.feed()?;
    let waited = async {
        // Who wants to go back does not want to wait.
        if run.journal.progress().live() == Colour::Blue {
            wait_for_window(run).await?;
            run.pace.go().await;
        }
        check_fingerprints(run, run.journal.session()).await?;
        if let Some(others) = &run.others {
            others.look().await?;
        }
        wait_for_old_snapshots(run).await
    };
    verify::comparing_meanwhile(run, waited).await?;
    let mut bar = Bar { lag: QUICK, keys: verify::KEYS_UNDER_LOCK };
    loop {
        verify::comparing_meanwhile(run, wait_for_lag(run, feed, &mut bar)).await?;
        if feed.touched_count() <= bar.keys {
            return Ok(());
        }
        verify::delta(run).await?;
        bar.keys = (bar.keys * 2).min(KEYS_MAX);
    }
}

/// The most that the gate allows; it allows more the longer it has waited.
struct Bar {
    lag: Duration,
    keys: usize,
}

async fn wait_for_lag(run: &Run<'_>, feed: &Feed, bar: &mut Bar) -> Result<(), Error> {
    let most = run.settings().swap.max_write_stall / PART_OF_BUDGET;
    let mut quick = 0;
    let mut tried = 0;
    while quick < IN_A_ROW {
        tried += 1;
        quick = match feed.round_trip(Duration::from_secs(30)).await {
            Ok(took) if took < bar.lag => quick + 1,
            Ok(_) | Err(FeedError::Late(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        if tried % PATIENCE == 0 {
            bar.lag = (bar.lag * 2).min(most.max(QUICK));
            let text =
                format!("the swap waits for the stream's lag to fall below {} ms", bar.lag.as_millis());
            run.cx.tell(&Event::Waiting { cause: WaitCause::Lag, text });
        }
    }
    Ok(())
}

/// A transaction whose snapshot is older than green's rows would find green empty after the swap.
async fn wait_for_old_snapshots(run: &Run<'_>) -> Result<(), Error> {
    let begun = Instant::now();
    let (mut reported, mut ended) = (String::new(), String::new());
    while let Some(OldSnapshots { pids, holders, backends }) =
        old_snapshots(run, run.journal.session()).await?
    {
        if reported != pids {
            let text = format!("the swap waits for snapshots that are older than green's rows: {holders}");
            run.cx.tell(&Event::Waiting { cause: WaitCause::Snapshot, text });
            reported.clone_from(&pids);
        }
        // As long as all attempts would wait for a lock together.
        let swap = run.settings().swap;
        if ended != pids && begun.elapsed() >= swap.lock_timeout * swap.attempts {
            let is_over = AtomicBool::new(false);
            let client = run.journal.session();
            locks::end_backends(run.cx, client, backends.iter(), swap.terminate_blockers, &is_over).await;
            ended = pids;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The sessions that have a snapshot older than green's rows.
pub(super) struct OldSnapshots {
    /// Their process IDs, separated by commas.
    pids: String,
    /// Their descriptions, for people.
    pub(super) holders: String,
    backends: Vec<Backend>,
}

/// `None` if nobody has one.
pub(super) async fn old_snapshots(
    run: &Run<'_>,
    client: &Client,
) -> Result<Option<OldSnapshots>, ActivityError> {
    let Some(xid) = run.journal.progress().caught_up else { return Ok(None) };
    let old = activity::snapshots_older_than(client, xid, false).await?;
    let listed = |text: fn(&Backend) -> String, by: &str| old.iter().map(text).collect::<Vec<_>>().join(by);
    let pids = listed(|backend| backend.pid.to_string(), ", ");
    let holders = listed(ToString::to_string, "; ");
    Ok((!old.is_empty()).then_some(OldSnapshots { pids, holders, backends: old }))
}

async fn wait_for_window(run: &Run<'_>) -> Result<(), Error> {
    let mut reported = None;
    // It can be changed meanwhile.
    while let Some(window) = run.settings().swap.window {
        let zone = jiff::tz::TimeZone::get(&window.time_zone)
            .map_err(|_| Error::Usage(format!("time zone `{}` is not known here", window.time_zone)))?;
        if is_inside(&window, jiff::Timestamp::now().to_zoned(zone).time()) {
            return Ok(());
        }
        if reported.as_ref() != Some(&window) {
            let text = format!(
                "the swap waits for its window, {} to {} {}",
                window.from, window.to, window.time_zone
            );
            run.cx.tell(&Event::Waiting { cause: WaitCause::Window, text });
            reported = Some(window);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A window may span midnight.
fn is_inside(window: &Window, now: Time) -> bool {
    if window.from <= window.to {
        window.from <= now && now < window.to
    } else {
        window.from <= now || now < window.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::time;

    fn window(from: i8, to: i8) -> Window {
        Window { from: time(from, 0, 0, 0), to: time(to, 0, 0, 0), time_zone: "UTC".to_owned() }
    }

    #[test]
    fn a_window_of_the_night_is_open_from_its_first_minute_to_before_its_last() {
        let night = window(2, 5);
        assert!(is_inside(&night, time(2, 0, 0, 0)));
        assert!(!is_inside(&night, time(5, 0, 0, 0)));
        assert!(!is_inside(&night, time(1, 59, 59, 0)));
    }

    #[test]
    fn a_window_may_span_midnight() {
        let night = window(22, 4);
        assert!(is_inside(&night, time(23, 0, 0, 0)));
        assert!(is_inside(&night, time(3, 0, 0, 0)));
        assert!(!is_inside(&night, time(12, 0, 0, 0)));
    }
}
