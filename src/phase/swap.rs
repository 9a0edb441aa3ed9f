//! Swap: one session, one transaction, one direct lock.
//!
//! ```text
//! gate (no lock): fingerprint, window, pace, few keys to compare, three quick marker round trips
//! materialized views over the tables that will be live are filled
//! BEGIN; SHARE UPDATE EXCLUSIVE on green and on all tables below: autovacuum steps aside
//!   ACCESS EXCLUSIVE on the live tables, what their foreign keys point at, their sequences, and what depends on them,
//!   within one deadline; from here on nothing waits for a lock
//!   fingerprint again; no snapshot older than green's rows
//!   marker, drained through: all that was committed before the lock is in green
//!   what changed since the last comparison is compared
//!   what hangs on the tables is moved, the schemas exchanged, the plan's steps executed (or undone), the facts written
//! COMMIT
//! ```
//!
//! It is the same in either direction: the lanes lead from the live tables to those that will be live.
//!
//! An attempt that does not fit into the budget is rolled back: blue stays live, clients continue, and the next
//! attempt comes later. A request to stop waits for the attempt in progress, which is short: a COMMIT that was sent
//! cannot be taken back, and its outcome has to be known. The session gives up before a client could become the victim
//! of a deadlock (all locks together are waited for less than `deadlock_timeout`), and the server ends it if we freeze.
//! The COMMIT does not wait for standbys, because clients would wait with it; the swap is reported once they have it.

mod around;
mod attempt;
mod fill;
mod gate;
mod old_shape;
mod outcome;
mod sequences;
mod statements;
mod take;

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::event::Event;
use crate::journal::requests::Ask;
use crate::lifecycle::{Fact, Phase, Way};
use crate::pg::Colour;
use crate::plan::StepTime;
use crate::run::Run;

use super::steps::Around;
use super::{gates, load_lanes, prepared, stream, unless, verify};

use fill::Filled;
use outcome::Outcome;

pub(crate) use fill::statements as fill;
pub(crate) use statements::Statements;

/// How long the answers of gates count.
const GATES_HOLD: Duration = Duration::from_secs(2);

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    let mut last = String::new();
    if run.journal.progress().live() == Colour::Blue {
        unless(run.stopped(), verify::comparing_meanwhile(run, gates::pass(run))).await?;
    }
    unless(run.stopped(), verify::comparing_meanwhile(run, before(run))).await?;
    let mut asked = Instant::now();
    let mut in_the_way = Vec::new();
    let mut filled = Filled::default();
    let mut number = 0;
    while number < run.settings().swap.attempts {
        number += 1;
        pass_gate(run).await?;
        if unless(run.stopped(), verify::comparing_meanwhile(run, fill::all(run, &mut filled))).await? {
            pass_gate(run).await?;
        }
        // What a gate has answered before a wait of hours, for a window say, is no answer now.
        if run.journal.progress().live() == Colour::Blue && asked.elapsed() > GATES_HOLD {
            unless(run.stopped(), verify::comparing_meanwhile(run, gates::pass(run))).await?;
            asked = Instant::now();
            pass_gate(run).await?;
        }
        let settings = run.settings().swap;
        if let Some(why) = verify::void(run, run.journal.session()).await? {
            run.cx.tell(&Event::BegunAgain { phase: Phase::Verify, why: why.to_owned() });
            run.journal.record(Fact::VerificationVoided).await?;
            unless(run.stopped(), verify::run(run)).await?;
            continue;
        }
        match attempt::attempt(run, &settings, number, &mut filled).await? {
            Outcome::Swapped(swapped) => {
                tracing::info!(attempt = number, stall_ms = swapped.stall_ms, times = ?swapped.times, "swapped");
                run.cx.tell(&Event::Swapped {
                    attempt: number,
                    compared: swapped.compared,
                    times: swapped.times,
                    commit_ms: swapped.commit_ms,
                    stall_ms: swapped.stall_ms,
                });
                if run.journal.progress().live() == Colour::Blue {
                    sequences::tell(run).await?;
                }
                // The streams have changed their roles.
                (run.feed, run.others) = (None, None);
                run.lanes.clear();
                if run.journal.progress().is_reversible() {
                    unless(run.cx.interrupted(), turn(run)).await?;
                }
                return unless(run.cx.interrupted(), attempt::wait_for_standbys(run)).await;
            }
            Outcome::Postponed { why, blockers, must_end } => {
                if must_end {
                    number -= 1;
                }
                in_the_way.clone_from(&blockers);
                tracing::info!(attempt = number, why, blockers = blockers.len(), "attempt rolled back");
                last.clone_from(&why);
                run.cx.tell(&Event::SwapPostponed { attempt: number, why, blockers });
                let wait = Duration::from_millis(fastrand::u64(500..2_000));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    error = run.stopped() => return Err(error),
                }
            }
        }
    }
    Err(Error::SwapBudget { attempts: number, why: last, in_the_way })
}

/// Executes the plan's steps before the swap; before a swap back, undoes those after it.
async fn before(run: &Run<'_>) -> Result<(), Error> {
    let live = run.journal.progress().live();
    let around = Around::of(run, Phase::Swap);
    match live {
        Colour::Blue => {
            old_shape::expect_keys(run).await?;
            around::rehearse(run).await?;
            around.all(StepTime::BeforeSwap, Way::Up).await
        }
        Colour::Green => around.all(StepTime::AfterSwap, Way::Down).await,
    }
}

/// Waits until an attempt has a good chance. All rows are compared again meanwhile whenever somebody asks for that.
async fn pass_gate(run: &mut Run<'_>) -> Result<(), Error> {
    loop {
        let asked = run.pace.asked(|ask| *ask == Ask::Verify);
        let passed = async {
            tokio::select! {
                passed = gate::pass(run) => passed.map(|()| None),
                request = asked => Ok(Some(request)),
            }
        };
        match unless(run.stopped(), passed).await? {
            None => return Ok(()),
            Some(request) => verify::asked(run, request).await?,
        }
    }
}

/// From the commit of the swap on, the other tables follow the live ones.
async fn turn(run: &mut Run<'_>) -> Result<(), Error> {
    let prepared = prepared(run)?;
    load_lanes(run, &prepared).await?;
    stream::ensure(run).await?;
    let feed = run.feed()?;
    feed.be_strict();
    feed.free();
    Ok(())
}
