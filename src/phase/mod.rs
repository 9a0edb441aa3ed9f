//! The phases of a run, one file each. A phase skips what the journal already holds: run twice
//! equals run once.
//!
//! Invariant: the statements of a phase come from one pure function of the run's design, which the phase
//! carries out and `execute --dry-run` shows.

pub(crate) mod catch_up;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod finish;
mod guard;
pub(crate) mod index;
pub mod locks;
pub(crate) mod prepare;
pub(crate) mod rollback;
pub(crate) mod row_types;
pub(crate) mod settle;
pub(crate) mod statistics;
pub(crate) mod stream;
pub(crate) mod swap;
pub(crate) mod verify;

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::lane::{Ends, Lane};
use crate::lifecycle::{Fact, Phase, Prepared};
use crate::run::Run;

use guard::check_fingerprints;

/// Does what is left of a phase that leads forward.
///
/// # Errors
/// Whatever stopped it.
pub async fn run(phase: Phase, run: &mut Run<'_>) -> Result<(), Error> {
    let stopped = run.stopped();
    match phase {
        Phase::Prepare => unless(stopped, prepare::run(run)).await,
        // Looks for itself, so that the chunk in hand is finished.
        Phase::Copy => copy::run(run).await,
        Phase::CatchUp => unless(stopped, catch_up::run(run)).await,
        Phase::Index => unless(stopped, index::run(run)).await,
        Phase::Verify => unless(stopped, verify::run(run)).await,
        // Looks for itself, so that an attempt comes to its end, which is known then.
        Phase::Swap => swap::run(run).await,
        // Nothing is streamed any more: whatever becomes of the slot stops nobody.
        Phase::Settle => unless(run.cx.interrupted(), settle::run(run)).await,
        Phase::Check | Phase::Rollback | Phase::Finish => Err(Error::Bug("a phase that no run leads to")),
    }
}

/// Work that may be dropped wherever it is: what it has committed the journal knows.
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

/// The slot can no longer be kept: it goes at once, so that the server can reuse its WAL. The run can
/// only be rolled back then.
///
/// # Errors
/// If it cannot be written down.
pub async fn give_up(run: &mut Run<'_>, why: String) -> Result<Error, Error> {
    run.feed = None;
    let slot = prepared(run)?.slot;
    // First of all: whoever comes next must not wait for a slot that may be gone by then.
    run.journal.record(Fact::GivenUp { why: why.clone() }).await?;
    let dropped = stream::drop_slot(run.journal.session(), &slot).await;
    let kept = dropped.err().map(|error| format!("slot {slot} could not be dropped: {error}"));
    Ok(Error::GivenUp { why, kept })
}

/// Loads the lanes of a run that has been prepared and not been swapped.
///
/// # Errors
/// If the catalog cannot be read, or blue is not what green was designed for.
pub async fn load_lanes(run: &mut Run<'_>, prepared: &Prepared) -> Result<(), Error> {
    check_fingerprints(run, run.journal.session()).await?;
    run.published = guard::published(run.journal.session(), prepared).await?;
    for (number, design) in prepared.lanes.iter().enumerate() {
        let ends = Ends::of(design);
        let lane = Lane::load(run.journal.session(), number, &ends).await;
        let lane = lane.doing("reading the tables' columns")?;
        // Renamed since the fingerprint was asked.
        if !lane.is_whole(&ends) {
            let what = vec!["columns of its key are gone".to_owned()];
            return Err(Error::SourceChanged { table: design.table.plain(), what });
        }
        run.lanes.push(lane);
    }
    Ok(())
}

/// What prepare made. Every phase after it may rely on it.
fn prepared(run: &Run<'_>) -> Result<Prepared, Error> {
    let prepared = run.journal.progress().prepared.clone();
    prepared.ok_or_else(|| Error::Bug("the run has not been prepared"))
}

/// Begins a transaction whose locks are waited for no longer than that.
pub(crate) fn begin() -> String {
    format!("BEGIN; SET LOCAL lock_timeout = '{}ms'", locks::LOCK_WAIT.as_millis())
}

/// A pause between two tries of getting a lock: 0.5 to 2 s, so that clients that queued behind us go on.
async fn step_back() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(500..2_000))).await;
}

/// Whether a lock was not granted in time.
fn is_lock_wait(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(code) if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED)
}
