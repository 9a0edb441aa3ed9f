//! The phases of a run, one file each. A phase skips what the journal already holds: running it twice
//! equals running it once.
//!
//! Invariant: the statements of a phase come from one pure function of the run's design; the phase executes them
//! and `execute --dry-run` shows them.

pub(crate) mod analyze;
pub(crate) mod catch_up;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod finish;
pub(crate) mod gates;
mod guard;
pub(crate) mod in_place;
pub(crate) mod index;
pub(crate) mod keyring;
pub(crate) mod keys;
pub(crate) mod last_copy;
pub mod locks;
mod one_way;
pub(crate) mod prepare;
pub(crate) mod rollback;
pub(crate) mod row_types;
pub(crate) mod settle;
mod soak;
pub(crate) mod steps;
pub(crate) mod stream;
pub(crate) mod swap;
pub(crate) mod tidy;
pub(crate) mod verify;
pub(crate) mod way_back;

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error, ExitCode};
use crate::journal::requests::{self, Answer, Request};
use crate::lane::{Ends, Lane, Mapped};
use crate::lifecycle::{Fact, Phase, Prepared};
use crate::pg::{Colour, RunObjects};
use crate::run::Run;

use guard::check_fingerprints;

/// Does what is left of a phase that leads forward.
///
/// # Errors
/// The error that stopped it; [`Error::Bug`] for a phase that is a command of its own.
pub async fn run(phase: Phase, run: &mut Run<'_>) -> Result<(), Error> {
    let stopped = run.stopped();
    let is_reversible = run.journal.progress().is_reversible();
    match phase {
        Phase::Prepare => unless(stopped, Box::pin(prepare::run(run))).await,
        // Checks for a stop itself, so that the chunk in progress is finished.
        Phase::Copy => Box::pin(copy::run(run)).await,
        Phase::CatchUp => unless(stopped, Box::pin(catch_up::run(run))).await,
        Phase::Index => unless(stopped, Box::pin(index::run(run))).await,
        Phase::Verify => unless(stopped, Box::pin(verify::run(run))).await,
        Phase::Soak => Box::pin(soak::run(run)).await,
        // Checks for a stop itself, so that an attempt ends with a known outcome.
        Phase::Swap => Box::pin(swap::run(run)).await,
        // Without a way back nothing is streamed any more: the loss of the slot is no reason to stop.
        Phase::Settle if !is_reversible => unless(run.cx.interrupted(), Box::pin(settle::run(run))).await,
        Phase::Settle => unless(stopped, Box::pin(settle::run(run))).await,
        Phase::Check | Phase::Rollback | Phase::Finish => Err(Error::Bug("a phase that no run leads to")),
    }
}

/// Does work that may be dropped at any point: the journal holds what it has committed.
///
/// # Errors
/// The work's own, or what stopped it.
pub(crate) async fn unless<T>(
    stopped: impl Future<Output = Error>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        error = stopped => Err(error),
    }
}

/// What an outcome means to whoever asked for it.
#[must_use]
pub fn answer_of<E: std::borrow::Borrow<Error>>(outcome: &Result<ExitCode, E>) -> Answer {
    match outcome {
        Ok(code) => Answer::done(*code),
        Err(error) => {
            let error = error.borrow();
            Answer::failed(error.exit_code(), error.to_string())
        }
    }
}

/// Answers a request that was carried out in this session, and all others for the same.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn answer<T>(run: &Run<'_>, request: &Request, outcome: &Result<T, Error>) -> Result<(), Error> {
    let answer = answer_of(&outcome.as_ref().map(|_| ExitCode::Done));
    let answered = requests::answer_all(run.journal.session(), request, &answer).await;
    answered.doing("answering a request")?;
    run.pace.forget(request.n);
    Ok(())
}

/// Gives the run up because its slot can no longer be kept: drops it at once, so that the server can reuse its WAL.
/// The run can then only be rolled back.
///
/// # Errors
/// If that cannot be recorded in the journal.
pub async fn give_up(run: &mut Run<'_>, why: String) -> Result<Error, Error> {
    // First of all: whoever resumes must not wait for a slot that may have been dropped by then.
    run.journal.record(Fact::GivenUp { why: why.clone() }).await?;
    let kept = drop_slots(run).await;
    Ok(Error::GivenUp { why, kept })
}

/// Closes the way back because a slot can no longer be kept: drops both at once. Green stays live, and blue is no longer
/// written.
///
/// # Errors
/// If that cannot be recorded in the journal.
pub async fn lose_way_back(run: &mut Run<'_>, why: String) -> Result<Error, Error> {
    run.journal.record(Fact::WayBackLost { why: why.clone() }).await?;
    let kept = drop_slots(run).await;
    Ok(Error::WayBackLost { why, kept })
}

/// Drops the run's slots; why one is still there, if it is.
async fn drop_slots(run: &mut Run<'_>) -> Option<String> {
    (run.feed, run.others) = (None, None);
    let mut kept = None;
    for source in [Colour::Blue, Colour::Green] {
        let slot = RunObjects::of(run.journal.run()).slot(source);
        if let Err(error) = stream::drop_slot(run.journal.session(), &slot).await {
            kept = Some(format!("slot {slot} could not be dropped: {error}"));
        }
    }
    kept
}

/// Loads the lanes of a run that has been prepared, from the live tables to the others.
///
/// # Errors
/// If the catalog cannot be read, or a live table is not what the run left or found.
pub async fn load_lanes(run: &mut Run<'_>, prepared: &Prepared) -> Result<(), Error> {
    run.lanes.clear();
    run.published.clear();
    check_fingerprints(run, run.journal.session()).await?;
    run.published = guard::published(run, prepared).await?;
    if run.keyring.is_none() {
        run.keyring = keyring::of_run(run, prepared).await?;
    }
    let live = run.journal.progress().live();
    for (number, design) in prepared.lanes.iter().enumerate() {
        let ends = match live {
            Colour::Blue => Ends::of(design),
            Colour::Green => Ends::of(design).reversed().map_err(|no| way_back::none(&no))?,
        };
        let lane = Lane::load(run.journal.session(), number, &ends).await;
        let mut lane = lane.doing("reading the tables' columns")?;
        lane.keyring = run.keyring.clone();
        if live == Colour::Blue && !run.settings().soak.is_zero() {
            lane.given_back = lane.verified.iter().filter_map(Mapped::given_back).collect();
        }
        // Renamed since the fingerprint was read.
        if !lane.is_whole(&ends) {
            let what = vec!["columns of its key were dropped or renamed".to_owned()];
            return Err(Error::SourceChanged { table: design.table.plain(), what });
        }
        run.lanes.push(lane);
    }
    Ok(())
}

/// What prepare made: every later phase may rely on it.
fn prepared(run: &Run<'_>) -> Result<Prepared, Error> {
    let prepared = run.journal.progress().prepared.clone();
    prepared.ok_or_else(|| Error::Bug("the run has not been prepared"))
}

/// SQL that begins a transaction with [`locks::LOCK_WAIT`] as its `lock_timeout`. If the server no longer hears of us, it
/// ends the transaction after [`locks::FROZEN_AFTER`]: clients may wait for its locks.
pub(crate) fn begin() -> String {
    format!(
        "BEGIN; SET LOCAL lock_timeout = '{}ms'; SET LOCAL idle_in_transaction_session_timeout = '{}s'",
        locks::LOCK_WAIT.as_millis(),
        locks::FROZEN_AFTER.as_secs()
    )
}

/// Pauses for 0.5 to 2 s between two tries to get a lock, so that clients queued behind us can continue.
async fn step_back() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(500..2_000))).await;
}

/// Whether a lock was not granted in time, or a deadlock was resolved at our expense.
pub(crate) fn is_lock_wait(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}
