//! Settle: after the swap, with clients on green. Foreign keys are validated leaf by leaf and merged
//! into the parent; slot and publication go.
//!
//! Each statement takes its lock briefly or steps back; one statement is one transaction with its fact.

use tokio_postgres::Client;

use super::{is_lock_wait, prepared, step_back};
use crate::error::Error;
use crate::event::Event;
use crate::lifecycle::{Fact, LaneDesign, Phase, Prepared};
use crate::pg::Ident;
use crate::pg::sql::Statement;
use crate::run::Run;

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    // Blue is written by nobody any more: its stream has done its work.
    run.feed = None;
    let client = run.connect("settle").await?;
    let prepared = prepared(run)?;
    let steps = steps(&prepared);
    for (done, (lane, number, step)) in steps.iter().enumerate() {
        if run.journal.progress().settled_steps.contains(&(*lane, *number)) {
            continue;
        }
        patiently(&client, &step.sql, &step.what).await?;
        run.journal.commit(&client, Fact::StepSettled { lane: *lane, step: *number }).await?;
        let what = step.what.clone();
        run.cx.tell(&Event::Step { phase: Phase::Settle, what, done: done + 1, of: steps.len() });
    }
    super::stream::drop_slot(&client, &prepared.slot).await?;
    patiently(&client, &drop_publication(&prepared.slot).sql, "dropping the publication").await?;
    run.journal.commit(&client, Fact::Settled).await?;
    Ok(())
}

/// Each step: its lane, its number among the lane's, itself.
pub(crate) fn steps(prepared: &Prepared) -> Vec<(usize, usize, Statement)> {
    let of_lane = |(lane, design): (usize, &LaneDesign)| {
        design.green.settle().into_iter().enumerate().map(move |(number, step)| (lane, number, step))
    };
    prepared.lanes.iter().enumerate().flat_map(of_lane).collect()
}

/// The run's publication has the slot's name.
pub(crate) fn drop_publication(slot: &Ident) -> Statement {
    Statement::new("drop the publication", format!("DROP PUBLICATION IF EXISTS {slot}"))
}

/// Carries `sql` out in a transaction that is left open; as often as a lock is not granted in time.
pub(super) async fn patiently(client: &Client, sql: &str, what: &str) -> Result<(), Error> {
    loop {
        let begun = format!("{}; {sql}", super::begin());
        match client.batch_execute(&begun).await {
            Ok(()) => return Ok(()),
            Err(error) if is_lock_wait(&error) => {
                tracing::debug!(what, "lock not granted in time");
                client.batch_execute("ROLLBACK").await.map_err(Error::doing(what))?;
                step_back().await;
            }
            Err(error) => return Err(Error::doing(what)(error)),
        }
    }
}
