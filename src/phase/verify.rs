//! Verify: compares every row of blue and green at one exact point in time, while writes continue. Then
//! what changed since, in ever smaller steps, until the rest is small enough for the swap's lock.
//!
//! Changed keys are remembered in this process only: a resumed run verifies again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::journal::requests::{Ask, Request};
use crate::lane::coalesce::Key;
use crate::lane::compare::{Comparison, Differences, Read, Sides};
use crate::lane::feed::Feed;
use crate::lane::point::Point;
use crate::lifecycle::{Fact, Verification};
use crate::meter::TableMeter;
use crate::pg::connect::Session;
use crate::run::Run;

/// Keys that can be compared under the swap's lock without clients noticing.
pub(super) const KEYS_UNDER_LOCK: usize = 200;
/// Steps after which they cannot be expected to get smaller.
const STEPS_MAX: u32 = 12;

/// Changed keys that are compared once there are this many, while something else is waited for.
const KEYS_MEANWHILE: usize = 5_000;
/// Fewer are compared after this time.
const ANY_AFTER: Duration = Duration::from_secs(60);
/// How often they are counted meanwhile.
const COUNTED_EVERY: Duration = Duration::from_secs(1);
/// The time between two comparisons meanwhile, unless so many keys change that the feed would soon wait: each needs a
/// moment to which the stream is read at once.
const COMPARED_EVERY: Duration = Duration::from_secs(30);

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    // What changed since a verification that is void need not be compared, and the feed must not wait for it.
    if let Some(feed) = &run.feed {
        feed.forget_touched();
    }
    super::way_back::open(run).await?;
    compare(run).await
}

/// Compares because somebody asks for it, and answers.
pub(super) async fn asked(run: &mut Run<'_>, request: Request) -> Result<(), Error> {
    run.cx.tell(&Event::Asked { ask: request.ask.name().to_owned(), who: request.by.clone() });
    let outcome = super::unless(run.stopped(), self::run(run)).await;
    // The next session of this process finds the request, and does it.
    if !outcome.as_ref().is_err_and(Error::is_transient) {
        super::answer(run, &request, &outcome).await?;
    }
    outcome
}

/// Compares once more in a session of its own, which prepares nothing: no way back is opened. One that was broken is open
/// again if the rows are equal.
pub(crate) async fn again(run: &mut Run<'_>) -> Result<(), Error> {
    super::stream::ensure(run).await?;
    super::check_fingerprints(run, run.journal.session()).await?;
    let is_broken = run.journal.progress().broken.is_some();
    if is_broken { super::soak::mend(run).await } else { compare(run).await }
}

async fn compare(run: &mut Run<'_>) -> Result<(), Error> {
    super::stream::catch_up(run).await?;
    super::one_way::give_again(run).await?;
    run.verified_files = files(run, run.journal.session()).await?;
    let mut verification = full(run).await?;
    super::keys::verify(run).await?;
    let delta = delta(run).await?;
    verification.delta_steps = delta.steps;
    verification.delta_keys = delta.keys;
    if run.feed.as_ref().is_some_and(|feed| feed.state().truncated) {
        let other = run.journal.progress().live().other();
        let text = format!("a table was truncated; {other} was too, and is verified as it is now");
        run.cx.tell(&Event::Notice { text });
    }
    run.journal.record(Fact::Verified(verification.clone())).await?;
    run.cx.tell(&Event::Verified { verification });
    Ok(())
}

/// Both sides at one point: blue's snapshot is the slot's, green's is taken while the feed holds still
/// exactly there.
struct Moment<'a> {
    point: Point,
    green: Session,
    green_snapshot: String,
    touched: Taken<'a>,
}

/// Keys that changed before a moment, by lane. If they were not compared, for whatever reason, they are
/// remembered again on drop.
struct Taken<'a> {
    feed: &'a Feed,
    keys: Vec<Vec<Key>>,
}

impl Taken<'_> {
    fn count(&self) -> u64 {
        self.keys.iter().map(|keys| keys.len() as u64).sum()
    }

    fn were_compared(mut self) {
        self.keys.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.feed.give_back(&mut self.keys);
    }
}

/// A feed that holds still; on drop it runs again, whatever the outcome.
struct Held<'a>(&'a Feed);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.free();
    }
}

/// Does `work` while the feed holds still.
pub(super) async fn while_it_holds<T>(
    run: &Run<'_>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let feed = run.feed()?;
    let held = Held(feed);
    feed.hold_still().await?;
    let outcome = work.await;
    drop(held);
    outcome
}

async fn moment<'a>(run: &'a Run<'_>) -> Result<Moment<'a>, Error> {
    let feed = run.feed()?;
    let held = Held(feed);
    let point = super::stream::point(run, "the verification").await?;
    let green = run.connect("snapshot").await?;
    let doing = "holding a snapshot of green";
    green.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.doing(doing)?;
    let green_snapshot = green.query_one("SELECT pg_export_snapshot()", &[]).await.doing(doing)?.get(0);
    let keys = feed.take_touched(run.lanes.len()).into_iter().map(|keys| keys.into_iter().collect());
    let touched = Taken { feed, keys: keys.collect() };
    tracing::info!(lsn = %point.lsn, keys = touched.count(), "both sides held at one point");
    drop(held);
    super::check_fingerprints(run, run.journal.session()).await?;
    Ok(Moment { point, green, green_snapshot, touched })
}

/// Compares every row.
async fn full(run: &Run<'_>) -> Result<Verification, Error> {
    let Moment { point, green, green_snapshot, touched } = moment(run).await?;
    // Nothing was verified before, so none of them has to be compared.
    touched.were_compared();
    let sides = Sides { source: &point.snapshot, target: &green_snapshot, run: run.journal.run() };
    let mut verification = Verification {
        lsn: point.lsn,
        rows: Vec::new(),
        columns: Vec::new(),
        delta_steps: 0,
        delta_keys: 0,
        encrypted: Vec::new(),
    };
    comparing_meanwhile(run, rows(run, &sides, &mut verification)).await?;
    drop((point, green));
    Ok(verification)
}

/// Compares the rows of every lane.
async fn rows(run: &Run<'_>, sides: &Sides<'_>, verification: &mut Verification) -> Result<(), Error> {
    let workers = run.workers("verify").await?;
    let mut differences = Differences::default();
    for lane in &run.lanes {
        let comparison = Comparison::of(run.journal.session(), lane).await?;
        let report = ProgressReport::new(run, lane.table.plain());
        let found = comparison.full(&run.cx.target, sides, &workers, &|read| report.send(read)).await?;
        let differing = found.differences.count;
        tracing::info!(table = lane.table.plain(), rows = found.rows, differing, "table compared");
        verification.rows.push(found.rows);
        verification.columns.push(comparison.columns());
        verification.encrypted.extend(found.census);
        differences.add(found.differences);
    }
    refuse(differences)
}

/// How often progress is reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Reports the progress of comparing one table.
struct ProgressReport<'a> {
    run: &'a Run<'a>,
    table: String,
    counters: Mutex<Counters>,
}

struct Counters {
    rows: u64,
    bytes: u64,
    meter: TableMeter,
    last: Option<Instant>,
    /// Whether the end was reported: after it, only empty partitions are left to read.
    end_reported: bool,
}

impl<'a> ProgressReport<'a> {
    fn new(run: &'a Run<'a>, table: String) -> Self {
        let now = Instant::now();
        let counters = Counters {
            rows: 0,
            bytes: 0,
            meter: TableMeter::new(now, 0, 0),
            last: None,
            end_reported: false,
        };
        Self { run, table, counters: Mutex::new(counters) }
    }

    /// Reports about once a second, and at the end.
    fn send(&self, read: Read) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.rows += read.rows;
        counters.bytes += read.bytes;
        let is_over = counters.bytes >= read.bytes_total;
        if is_over && counters.end_reported && read.rows == 0 {
            return;
        }
        counters.end_reported |= is_over;
        if !is_over && counters.last.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        let now = Instant::now();
        let Counters { rows, bytes, .. } = *counters;
        counters.last = Some(now);
        let (rows_per_s, reached) = counters.meter.see(now, rows, bytes, read.bytes_total);
        let table = self.table.clone();
        self.run.cx.tell(&Event::VerifyProgress { table, rows, rows_per_s, reached });
    }
}

/// What was compared after the full verification.
#[derive(Default)]
pub(super) struct Delta {
    steps: u32,
    keys: u64,
}

/// Compares the keys that changed since the last moment, until only few change during one comparison.
pub(super) async fn delta(run: &Run<'_>) -> Result<Delta, Error> {
    let feed = run.feed()?;
    let comparisons = comparisons(run).await?;
    let mut delta = Delta::default();
    let mut before = usize::MAX;
    while delta.steps < STEPS_MAX {
        let count = feed.touched_count();
        // Few enough, or as few as there will be under this load.
        if count <= KEYS_UNDER_LOCK || count > before / 10 * 9 {
            break;
        }
        before = count;
        delta.steps += 1;
        delta.keys += step(run, &comparisons, delta.steps).await?;
    }
    Ok(delta)
}

/// Compares the keys that changed since the last moment, and returns how many.
async fn step(run: &Run<'_>, comparisons: &[Comparison], number: u32) -> Result<u64, Error> {
    let moment = moment(run).await?;
    let mut differences = Differences::default();
    for (comparison, keys) in comparisons.iter().zip(&moment.touched.keys) {
        let keys: Vec<&Key> = keys.iter().collect();
        let by_key = comparison.by_key(&moment.point.holder, &moment.green).await?;
        differences.add(by_key.compare(&keys).await?);
    }
    refuse(differences)?;
    let keys = moment.touched.count();
    moment.touched.were_compared();
    run.cx.tell(&Event::DeltaVerified { step: number, keys });
    Ok(keys)
}

/// Does `work`, which waits for something or takes long, after a verification's moment. Keys that change meanwhile are
/// compared whenever there are many: memory for them is bounded, and the feed would stop at that bound.
/// If `work` ends first, the keys of a comparison that is not over are remembered again.
pub(crate) async fn comparing_meanwhile<T>(
    run: &Run<'_>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        outcome = work => outcome,
        error = compare_what_changes(run) => Err(error),
    }
}

/// Waits for `answer`, while what changes is compared; all rows are, whenever somebody asks for that.
pub(crate) async fn until<T>(run: &mut Run<'_>, answer: impl Future<Output = T>) -> Result<T, Error> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let request = run.pace.asked(|ask| *ask == Ask::Verify);
        let either = async {
            tokio::select! {
                answer = &mut answer => Ok(Ok(answer)),
                request = request => Ok(Err(request)),
            }
        };
        match super::unless(run.stopped(), comparing_meanwhile(run, either)).await? {
            Ok(answer) => return Ok(answer),
            Err(request) => asked(run, request).await?,
        }
    }
}

/// Runs until an error, which it returns.
async fn compare_what_changes(run: &Run<'_>) -> Error {
    let mut steps = 0;
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(COUNTED_EVERY).await;
        if let Some(feed) = &run.feed
            && let Err(error) = feed.check()
        {
            return error.into();
        }
        let enough = if since.elapsed() < ANY_AFTER { KEYS_MEANWHILE } else { 1 };
        if run.feed.as_ref().map_or(0, Feed::touched_count) < enough {
            continue;
        }
        steps += 1;
        let compared = async { step(run, &comparisons(run).await?, steps).await };
        if let Err(error) = compared.await {
            return error;
        }
        since = Instant::now();
        pause_unless(COMPARED_EVERY, || run.feed.as_ref().is_some_and(Feed::is_filling)).await;
    }
}

/// Waits for so long, or until something is so, which is asked once in a while.
async fn pause_unless(pause: Duration, is_so: impl Fn() -> bool) {
    let until = Instant::now() + pause;
    while !is_so() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(COUNTED_EVERY)).await;
    }
}

/// Why the verification no longer counts, if so. A table was rewritten (VACUUM FULL, an ALTER TABLE with USING, a TRUNCATE of the
/// one that is not live): the stream does not show it. Or more has changed at once than is remembered.
pub(super) async fn void(run: &Run<'_>, client: &Client) -> Result<Option<&'static str>, Error> {
    if files(run, client).await? != run.verified_files {
        return Ok(Some("a table was rewritten since it was verified"));
    }
    let has_forgotten = run.feed.as_ref().is_some_and(Feed::has_forgotten);
    Ok(has_forgotten.then_some("a transaction changed more rows than are compared by their keys"))
}

/// The files of each lane's tables.
pub(super) async fn files(run: &Run<'_>, client: &Client) -> Result<Vec<u32>, Error> {
    let tables = run.lanes.iter().map(|lane| &lane.source).chain(run.lanes.iter().map(|lane| &lane.target));
    super::copy::filenodes(client, tables).await
}

/// One comparison per lane.
pub(super) async fn comparisons(run: &Run<'_>) -> Result<Vec<Comparison>, Error> {
    let mut comparisons = Vec::new();
    for lane in &run.lanes {
        comparisons.push(Comparison::of(run.journal.session(), lane).await?);
    }
    Ok(comparisons)
}

pub(super) fn refuse(differences: Differences) -> Result<(), Error> {
    if differences.count == 0 { Ok(()) } else { Err(Error::Differences(differences)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_ends_when_many_keys_have_changed() {
        let begun = Instant::now();
        pause_unless(Duration::from_secs(600), || begun.elapsed() > Duration::from_millis(200)).await;
        assert!(begun.elapsed() < Duration::from_secs(300));
        let begun = Instant::now();
        pause_unless(Duration::from_millis(100), || false).await;
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}
