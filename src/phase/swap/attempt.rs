//! One attempt to swap, from BEGIN to COMMIT or ROLLBACK.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::Error;
use crate::event::Event;
use crate::lane::coalesce::Key;
use crate::lane::compare::{ByKey, Differences};
use crate::lane::feed::{Feed, FeedError};
use crate::lifecycle::{Fact, SwapTimes};
use crate::pg::connect::Session;
use crate::pg::sql::joined;
use crate::pg::{Lsn, QName};
use crate::phase::{check_fingerprints, is_lock_wait, prepared, verify};
use crate::plan::{SwapSettings, TerminateBlockers};
use crate::run::Run;

use super::Statements;
use super::gate;

pub(super) enum Outcome {
    Swapped(Swapped),
    Postponed { why: String, blockers: Vec<String> },
}

pub(super) struct Swapped {
    pub(super) compared: u64,
    pub(super) times: SwapTimes,
    pub(super) commit_ms: f64,
    pub(super) stall_ms: f64,
}

/// Why an attempt is rolled back without anything being wrong.
enum Stop {
    /// Something took too long.
    Postpone(String),
    /// Something is wrong.
    Fail(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fail(error)
    }
}

impl From<FeedError> for Stop {
    fn from(error: FeedError) -> Self {
        Self::Fail(error.into())
    }
}

/// Everything an attempt needs, got ready before there is a lock.
struct Ready<'a> {
    session: &'a Session,
    statements: Statements,
    comparisons: Vec<ByKey<'a>>,
    budget: Duration,
}

pub(super) async fn attempt(run: &Run<'_>, settings: &SwapSettings) -> Result<Outcome, Error> {
    let session = run.connect("swap").await?;
    let prepared = prepared(run)?;
    let comparisons = verify::comparisons(run).await?;
    let mut by_key = Vec::new();
    for comparison in &comparisons {
        by_key.push(comparison.by_key(&session, &session).await?);
    }
    let statements = Statements::of(&prepared, run.journal.run(), settings);
    let ready =
        Ready { session: &session, statements, comparisons: by_key, budget: settings.max_write_stall };
    rehearse(run, &ready).await?;
    if let Err(error) = begin(&ready).await {
        if !is_lock_wait(&error) {
            return Err(Error::doing("beginning the swap")(error));
        }
        roll_back(ready.session).await?;
        let why = "green was locked by somebody else (a vacuum?)".to_owned();
        return Ok(Outcome::Postponed { why, blockers: Vec::new() });
    }
    let asked = Instant::now();
    let blockers = Blockers::watch(run, &ready, settings);
    if let Err(error) = ready.session.batch_execute(&ready.statements.lock_live.sql).await {
        if !is_lock_wait(&error) {
            return Err(Error::doing("locking the live tables")(error));
        }
        roll_back(ready.session).await?;
        let why = format!("the lock was not granted within {} ms", settings.lock_timeout.as_millis());
        return Ok(Outcome::Postponed { why, blockers: blockers.seen().await });
    }
    drop(blockers);
    let lock_wait = asked.elapsed();
    match locked(run, &ready, (asked, lock_wait)).await {
        Ok(swapped) => Ok(Outcome::Swapped(swapped)),
        Err(Stop::Postpone(why)) => {
            roll_back(ready.session).await?;
            Ok(Outcome::Postponed { why, blockers: Vec::new() })
        }
        Err(Stop::Fail(error)) => {
            // The connection may be gone; then the server has rolled back already.
            let _ = roll_back(ready.session).await;
            Err(error)
        }
    }
}

/// Does without a lock what will be done under it, so that the session has plans and the catalog's
/// entries at hand then. What it finds does not count: the feed goes on.
async fn rehearse(run: &Run<'_>, ready: &Ready<'_>) -> Result<(), Error> {
    let sql = "SET plan_cache_mode = force_generic_plan";
    ready.session.batch_execute(sql).await.map_err(Error::doing("preparing the swap"))?;
    check_fingerprints(run, ready.session).await?;
    verify::is_void(run, ready.session).await?;
    gate::old_snapshots(run, ready.session).await?;
    let touched = run.feed.as_ref().map(Feed::touched).unwrap_or_default();
    for (comparison, keys) in ready.comparisons.iter().zip(&touched) {
        let keys: Vec<&Key> = keys.iter().collect();
        comparison.compare(&keys).await?;
    }
    Ok(())
}

async fn begin(ready: &Ready<'_>) -> Result<(), tokio_postgres::Error> {
    let Statements { begin, lock_green, time_outs, .. } = &ready.statements;
    ready.session.batch_execute(&joined([begin, lock_green, time_outs])).await
}

async fn roll_back(client: &Client) -> Result<(), Error> {
    client.batch_execute("ROLLBACK").await.map_err(Error::doing("rolling an attempt to swap back"))
}

/// With the lock granted: from here on clients wait. All but the commit has to fit into the budget; what
/// the server is still busy with then is cancelled, so that the lock goes at once.
async fn locked(
    run: &Run<'_>,
    ready: &Ready<'_>,
    (asked, lock_wait): (Instant, Duration),
) -> Result<Swapped, Stop> {
    let work = work(run, ready, lock_wait);
    let Ok(done) = tokio::time::timeout(ready.budget, work).await else {
        // If it cannot be cancelled, its own time-outs end it.
        let _ = ready.session.canceller().cancel().await;
        return Err(Stop::Postpone(format!("the budget of {} ms was used up", ready.budget.as_millis())));
    };
    let (fact, compared, times) = done?;
    let committing = Instant::now();
    run.journal.commit(ready.session, fact).await.map_err(Error::from)?;
    Ok(Swapped { compared, times, commit_ms: ms(committing.elapsed()), stall_ms: ms(asked.elapsed()) })
}

/// Everything under the lock but the commit.
async fn work(run: &Run<'_>, ready: &Ready<'_>, lock_wait: Duration) -> Result<(Fact, u64, SwapTimes), Stop> {
    let granted = Instant::now();
    let left = ready.budget.saturating_sub(granted.elapsed());
    let client = ready.session;
    tokio::try_join!(still_fits(run, client), drain(run, left))?;
    let drained = Instant::now();
    let compared = compare(run, ready).await?;
    let compared_at = Instant::now();
    exchange(ready).await?;
    let row = client.query_one(&ready.statements.boundary.sql, &[]).await;
    let lsn: Lsn = row.map_err(Error::doing("marking the swap"))?.get(0);
    let times = SwapTimes {
        lock_wait_ms: ms(lock_wait),
        drain_ms: ms(drained - granted),
        compare_ms: ms(compared_at - drained),
        exchange_ms: ms(compared_at.elapsed()),
    };
    Ok((Fact::Swapped { lsn, compared, times }, compared, times))
}

/// What the gate has seen to be so, still is; from now on it stays so.
async fn still_fits(run: &Run<'_>, client: &Client) -> Result<(), Stop> {
    check_fingerprints(run, client).await?;
    if verify::is_void(run, client).await? {
        return Err(Stop::Postpone("a table was rewritten since it was verified".to_owned()));
    }
    match gate::old_snapshots(run, client).await? {
        Some(holders) => {
            Err(Stop::Postpone(format!("transactions with a snapshot older than green's rows: {holders}")))
        }
        None => Ok(()),
    }
}

async fn drain(run: &Run<'_>, within: Duration) -> Result<(), Stop> {
    let feed = run.feed.as_ref().ok_or_else(|| Error::Usage("the stream does not run".to_owned()))?;
    let drained = async {
        let marker = feed.mark().await?;
        feed.drain_through(marker, within).await
    };
    match drained.await {
        Err(FeedError::Late(within)) => {
            Err(Stop::Postpone(format!("the stream could not be drained within {} ms", within.as_millis())))
        }
        other => Ok(other?),
    }
}

/// What changed since the last comparison; nothing changes any more.
async fn compare(run: &Run<'_>, ready: &Ready<'_>) -> Result<u64, Stop> {
    let touched = run.feed.as_ref().map(Feed::touched).unwrap_or_default();
    let (mut differences, mut compared) = (Differences::default(), 0);
    for (comparison, keys) in ready.comparisons.iter().zip(&touched) {
        let keys: Vec<&Key> = keys.iter().collect();
        compared += keys.len() as u64;
        differences.add(comparison.compare(&keys).await.map_err(Error::from)?);
    }
    verify::refuse(differences)?;
    Ok(compared)
}

/// The exchange itself: one round trip for all statements.
async fn exchange(ready: &Ready<'_>) -> Result<(), Stop> {
    let exchange = joined(ready.statements.exchange.iter().map(|(_, statement)| statement));
    match ready.session.batch_execute(&exchange).await {
        Ok(()) => Ok(()),
        Err(error) if is_lock_wait(&error) => {
            Err(Stop::Postpone("a lock for the exchange was not granted in time".to_owned()))
        }
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED) => {
            Err(Stop::Postpone("the exchange took too long".to_owned()))
        }
        Err(error) => Err(Stop::Fail(Error::doing("exchanging the tables")(error))),
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Looks, while the lock is waited for, who is in the way; ends them where the plan says so.
struct Blockers(tokio::task::JoinHandle<Vec<String>>);

impl Drop for Blockers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Blockers {
    fn watch(run: &Run<'_>, ready: &Ready<'_>, settings: &SwapSettings) -> Self {
        let target = run.cx.target.clone();
        let reporter = std::sync::Arc::clone(&run.cx.reporter);
        let name = format!("projh-bluegreen {} blockers", run.journal.run());
        let (tables, wait, end) =
            (ready.statements.locked.clone(), settings.lock_timeout / 2, settings.terminate_blockers);
        Self(tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let Ok(session) = target.connect(&name, &[]).await else { return Vec::new() };
            let (seen, ended) = look(&session, &tables, end).await.unwrap_or_default();
            for who in ended {
                reporter.tell(&Event::Notice { text: format!("ended, as the plan allows: {who}") });
            }
            seen
        }))
    }

    async fn seen(mut self) -> Vec<String> {
        (&mut self.0).await.unwrap_or_default()
    }
}

/// Sessions of others that hold a lock on one of the tables. No query text: it may hold PHI.
async fn look(
    client: &Client,
    tables: &[QName],
    end: TerminateBlockers,
) -> Result<(Vec<String>, Vec<String>), tokio_postgres::Error> {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    let sql = "SELECT DISTINCT a.pid, format('process %s of %s (%s), in a transaction for %s s, state %s, %s', a.pid, \
               a.usename, a.application_name, round(extract(epoch FROM clock_timestamp() - a.xact_start)), a.state, \
               lower(replace(l.mode, 'Lock', ''))), a.state LIKE 'idle in transaction%' \
               FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
               WHERE l.granted AND l.relation IN (SELECT to_regclass(t)::oid FROM unnest($1::text[]) AS t) \
               AND a.application_name NOT LIKE 'projh-bluegreen %' AND a.backend_type = 'client backend'";
    let (mut seen, mut ended) = (Vec::new(), Vec::new());
    for row in client.query(sql, &[&names]).await? {
        let (pid, who, is_idle): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
        let ends = match end {
            TerminateBlockers::Never => false,
            TerminateBlockers::IdleInTransaction => is_idle,
            TerminateBlockers::All => true,
        };
        if ends && client.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await?.get(0) {
            ended.push(who.clone());
        }
        seen.push(who);
    }
    Ok((seen, ended))
}
