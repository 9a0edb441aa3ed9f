//! One attempt to swap, from BEGIN to COMMIT or ROLLBACK.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::lane::coalesce::Key;
use crate::lane::compare::{ByKey, Differences};
use crate::lane::feed::FeedError;
use crate::lifecycle::{Arrived, Fact, SwapTimes};
use crate::pg::activity::{self, Holder};
use crate::pg::connect::Session;
use crate::pg::rolled_back;
use crate::pg::sql::joined;
use crate::pg::{Colour, LOOK_UP_BY_KEY, Lsn};
use crate::phase::locks::{self, Limits};
use crate::phase::{check_fingerprints, is_lock_wait, prepared, row_types, verify, way_back};
use crate::plan::{SwapSettings, TerminateBlockers};
use crate::run::Run;

use super::around;
use super::fill::{self, Filled};
use super::gate::{self, OldSnapshots};
use super::outcome::{Blocked, Outcome, Stop, Swapped};
use super::statements::{Order, Statements};
use super::take;

/// Everything an attempt needs, prepared before it takes a lock.
struct Ready<'a> {
    session: &'a Session,
    /// The process ID of that session's backend.
    pid: i32,
    /// Looks up who blocks the locks.
    observer: Session,
    statements: Statements,
    comparisons: Vec<ByKey<'a>>,
    budget: Duration,
    /// How long all locks that clients queue behind may take together.
    lock_timeout: Duration,
    terminate: TerminateBlockers,
}

pub(super) async fn attempt(
    run: &Run<'_>,
    settings: &SwapSettings,
    number: u32,
    filled: &mut Filled,
) -> Result<Outcome, Error> {
    let session = run.connect("swap").await?;
    let doing = "beginning the swap";
    let prepared = prepared(run)?;
    let comparisons = verify::comparisons(run).await?;
    let mut by_key = Vec::new();
    for comparison in &comparisons {
        by_key.push(comparison.by_key(&session, &session).await?);
    }
    let limits = Limits::of(&session).await.doing(doing)?;
    let ready = Ready {
        session: &session,
        pid: locks::pid(&session).await.doing(doing)?,
        observer: run.cx.target.connect(run.role("blockers"), &[("statement_timeout", "2s")]).await?,
        statements: Statements::of(
            &prepared,
            run.journal.run(),
            (arriving(run), &around::locked(&run.journal, arriving(run))),
            settings,
            &limits,
        ),
        comparisons: by_key,
        budget: settings.max_write_stall,
        lock_timeout: limits.brief(settings.lock_timeout),
        terminate: settings.terminate_blockers,
    };
    rehearse(run, &ready).await?;
    let functions = row_types::of_swap(&session, &prepared).await.doing(doing)?;
    if let Err(stop) = displace(&ready).await {
        return stop.end(&session).await;
    }
    let left = row_types::compile_anew(&session, &functions).await.doing(doing)?;
    if let Some(what) = fill::outdated(&session, &prepared, filled).await.doing(doing)? {
        if filled.disturbed < fill::INSISTS {
            filled.disturbed += 1;
            let stop = Stop::Postpone(format!("{what} was refreshed by a client"));
            return Blocked { stop, blockers: Vec::new(), must_end: false }.end(&session).await;
        }
        let text = format!(
            "{what} is refreshed all the time: until the next REFRESH it is as of just before the swap"
        );
        run.cx.tell(&Event::Notice { text });
    }
    let order =
        Order { sequences_first: sequences_first(&ready, number).await?, dependents_first: number % 2 == 1 };
    let asked = Instant::now();
    if let Err(stop) = lock(run, &ready, &order).await {
        return stop.end(&session).await;
    }
    let lock_wait = asked.elapsed();
    match locked(run, &ready, asked, lock_wait).await {
        Ok(swapped) => {
            for function in left {
                let text = format!(
                    "a session that has called this function may fail in it until it reconnects, because it could not be altered: {function}"
                );
                run.cx.tell(&Event::Notice { text });
            }
            Ok(Outcome::Swapped(swapped))
        }
        Err(stop) => Blocked { stop, blockers: Vec::new(), must_end: false }.end(&session).await,
    }
}

/// The table that will be live.
fn arriving(run: &Run<'_>) -> Colour {
    run.journal.progress().live().other()
}

/// Does without a lock what will be done under it, so that the session has plans and catalog entries
/// cached by then. What it finds does not count: the feed is still running.
async fn rehearse(run: &Run<'_>, ready: &Ready<'_>) -> Result<(), Error> {
    ready.session.batch_execute(LOOK_UP_BY_KEY).await.doing("preparing the swap")?;
    let has_block = ready.statements.exchange.iter().any(|(_, of)| of.sql.starts_with("DO "));
    if ready.statements.lock_dependents.is_some() || has_block {
        // Their language is loaded.
        ready.session.batch_execute("DO 'BEGIN END'").await.doing("preparing the swap")?;
    }
    check_fingerprints(run, ready.session).await?;
    verify::void(run, ready.session).await?;
    gate::old_snapshots(run, ready.session).await?;
    if run.journal.progress().is_reversible() {
        way_back::fingerprints(run, ready.session, arriving(run)).await?;
    }
    let touched = run.feed()?.touched()?;
    let compare = async {
        for (comparison, keys) in ready.comparisons.iter().zip(&touched) {
            let keys: Vec<&Key> = keys.iter().collect();
            comparison.compare(&keys).await?;
        }
        Ok(())
    };
    rolled_back(ready.session, "BEGIN", compare).await.doing("preparing the swap")?
}

/// Begins the transaction, with the locks that no client queues behind.
async fn displace(ready: &Ready<'_>) -> Result<(), Blocked> {
    let Statements { begin, displace, .. } = &ready.statements;
    let sql = joined([begin, displace]);
    let (outcome, wait) =
        locks::observed(&ready.observer, ready.pid, ready.session.batch_execute(&sql)).await;
    let why = "the lock that keeps autovacuum away was not granted in time";
    outcome.map_err(|error| Blocked::of(error, "beginning the swap", why, wait.as_ref()))
}

/// Whether to lock sequences before tables. Clients that call `nextval` before they touch the table hold the sequence
/// and wait for the table, others the reverse: odd attempts follow the order seen now, even ones the opposite.
async fn sequences_first(ready: &Ready<'_>, number: u32) -> Result<bool, Error> {
    let Statements { sequences, locked, .. } = &ready.statements;
    if sequences.is_empty() {
        return Ok(false);
    }
    let seen = activity::use_sequences_before_tables(&ready.observer, sequences, locked).await?;
    Ok(seen == (number % 2 == 1))
}

/// Takes all locks that clients queue behind, within one deadline, which is over before a client that queues behind the
/// first of them checks for a deadlock. After the last of them, the time-outs are those of the work.
async fn lock(run: &Run<'_>, ready: &Ready<'_>, order: &Order) -> Result<(), Blocked> {
    let work = take::all(ready.session, &ready.statements, order, ready.lock_timeout);
    let is_over = AtomicBool::new(false);
    let mut observed = pin!(async {
        let observed = locks::observed(&ready.observer, ready.pid, work).await;
        is_over.store(true, Ordering::Release);
        observed
    });
    let (outcome, wait) = match tokio::time::timeout(ready.lock_timeout / 2, &mut observed).await {
        Ok(granted) => granted,
        // Not cancelled if the locks are granted meanwhile: every backend that was terminated is reported.
        Err(_) => tokio::join!(observed, end_blockers(run, ready, &is_over)).0,
    };
    let why = format!("the locks were not granted within {} ms", ready.lock_timeout.as_millis());
    outcome.map_err(|error| Blocked::of(error, "locking the live tables", &why, wait.as_ref()))
}

/// Terminates the blockers that the plan allows to terminate, until the wait for the locks is over.
async fn end_blockers(run: &Run<'_>, ready: &Ready<'_>, is_over: &AtomicBool) {
    if ready.terminate != TerminateBlockers::Never
        && let Ok(Some(wait)) = activity::wait_of(&ready.observer, ready.pid).await
    {
        let backends = wait.holders.iter().filter_map(|holder| match holder {
            Holder::Backend(backend) => Some(backend),
            _ => None,
        });
        locks::end_backends(run.cx, &ready.observer, backends, ready.terminate, is_over).await;
    }
}

/// Waits until the synchronous standbys have the swap: its own commit did not wait for them, because it held the locks.
pub(super) async fn wait_for_standbys(run: &Run<'_>) -> Result<(), Error> {
    let sql = "SELECT pg_logical_emit_message(true, 'projh_bluegreen_swapped', '')";
    let flushed = run.journal.session().query_one(sql, &[]).await;
    flushed.map(drop).doing("waiting for the standbys")
}

/// With the locks granted: from here on clients wait. All but the commit has to fit into the budget; a
/// statement that still runs then is cancelled, so that the locks are released at once.
async fn locked(
    run: &Run<'_>,
    ready: &Ready<'_>,
    asked: Instant,
    lock_wait: Duration,
) -> Result<Swapped, Stop> {
    let work = work(run, ready, lock_wait);
    let Ok(done) = tokio::time::timeout(ready.budget, work).await else {
        // If it cannot be cancelled, its own time-outs end it.
        let _ = ready.session.canceller().cancel().await;
        return Err(Stop::Postpone(format!("the budget of {} ms was used up", ready.budget.as_millis())));
    };
    let Exchanged { lsn, compared, times, arrived, steps } = done?;
    let committing = Instant::now();
    let fact = Fact::Swapped { live: arriving(run), lsn, compared, times, arrived };
    run.journal.commit(ready.session, fact).await.map_err(Error::from)?;
    for step in &steps {
        run.journal.take_in(step).map_err(Error::from)?;
    }
    Ok(Swapped { compared, times, commit_ms: ms(committing.elapsed()), stall_ms: ms(asked.elapsed()) })
}

/// An exchange that is yet to be committed.
struct Exchanged {
    lsn: Lsn,
    compared: u64,
    times: SwapTimes,
    arrived: Option<Arrived>,
    /// That the plan's steps were executed.
    steps: Vec<Fact>,
}

/// Everything under the lock but the commit.
async fn work(run: &Run<'_>, ready: &Ready<'_>, lock_wait: Duration) -> Result<Exchanged, Stop> {
    let granted = Instant::now();
    let left = ready.budget.saturating_sub(granted.elapsed());
    let client = ready.session;
    tokio::try_join!(still_fits(run, client), drain(run, left))?;
    let drained = Instant::now();
    let compared = compare(run, ready).await?;
    let compared_at = Instant::now();
    let steps = exchange(run, ready).await?;
    let row = client.query_one(&ready.statements.boundary.sql, &[]).await;
    let lsn: Lsn = row.doing("marking the swap")?.get(0);
    let arrived = way_back::arrived(run, client, arriving(run), lsn).await.map_err(unless_locked)?;
    let times = SwapTimes {
        lock_wait_ms: ms(lock_wait),
        drain_ms: ms(drained - granted),
        compare_ms: ms(compared_at - drained),
        exchange_ms: ms(compared_at.elapsed()),
    };
    Ok(Exchanged { lsn, compared, times, arrived, steps })
}

/// Checks that what the gate found still holds; under the locks it cannot change any more.
async fn still_fits(run: &Run<'_>, client: &Client) -> Result<(), Stop> {
    let ((), void, old) =
        tokio::try_join!(check_fingerprints(run, client), verify::void(run, client), async {
            Ok(gate::old_snapshots(run, client).await?)
        })
        .map_err(unless_locked)?;
    if let Some(why) = void {
        return Err(Stop::Postpone(why.to_owned()));
    }
    match old {
        Some(OldSnapshots { holders, .. }) => {
            Err(Stop::Postpone(format!("transactions with a snapshot older than green's rows: {holders}")))
        }
        None => Ok(()),
    }
}

/// To print what depends on a table, the server locks what that reads: somebody else may have locked it.
fn unless_locked(error: Error) -> Stop {
    if error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return Stop::Postpone("a lock on what depends on the tables was not granted in time".to_owned());
    }
    error.into()
}

async fn drain(run: &Run<'_>, within: Duration) -> Result<(), Stop> {
    let feed = run.feed()?;
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

/// Compares the keys that changed since the last comparison, and returns how many; nothing changes any more.
async fn compare(run: &Run<'_>, ready: &Ready<'_>) -> Result<u64, Stop> {
    let touched = run.feed()?.touched()?;
    let mut differences = Differences::default();
    let mut compared = 0;
    for (comparison, keys) in ready.comparisons.iter().zip(&touched) {
        let keys: Vec<&Key> = keys.iter().collect();
        compared += keys.len() as u64;
        differences.add(comparison.compare(&keys).await.map_err(Error::from)?);
    }
    verify::refuse(differences)?;
    Ok(compared)
}

/// The exchange itself, in one round trip for all statements, with the plan's steps: after it, or undone before it.
async fn exchange(run: &Run<'_>, ready: &Ready<'_>) -> Result<Vec<Fact>, Stop> {
    let exchange = joined(ready.statements.exchange.iter().map(|(_, statement)| statement));
    let who = arriving(run);
    let restored = &ready.statements.time_outs.sql;
    let steps = || async {
        around::execute(&run.journal, ready.session, who, restored).await?.map_err(Stop::Postpone)
    };
    let undone = if who == Colour::Blue { steps().await? } else { Vec::new() };
    match ready.session.batch_execute(&exchange).await {
        Ok(()) => {}
        Err(error) if is_lock_wait(&error) => {
            return Err(Stop::Postpone("a lock for the exchange was not granted in time".to_owned()));
        }
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            return Err(Stop::Postpone("the exchange took too long".to_owned()));
        }
        Err(error) => return Ok(Err(error).doing("exchanging the tables")?),
    }
    if who == Colour::Green { steps().await } else { Ok(undone) }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
