//! Settle: after the swap, with clients on green. Foreign keys are validated leaf by leaf and merged
//! into the parent, the leaves move to their schema, slot and publication go.
//!
//! Each statement takes its lock briefly or steps back; one statement is one transaction with its fact.

use tokio_postgres::Client;

use super::{LOCK_WAIT, is_lock_wait, prepared, step_back};
use crate::engine::Run;
use crate::error::Error;
use crate::event::Event;
use crate::lifecycle::{Fact, Phase};

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    // Blue is written by nobody any more: its stream has done its work.
    run.feed = None;
    let client = run.connect("settle").await?;
    let prepared = prepared(run)?;
    let steps = prepared.lanes.iter().enumerate().flat_map(|(lane, design)| {
        design.green.settle().into_iter().enumerate().map(move |(number, step)| (lane, number, step))
    });
    let steps: Vec<_> = steps.collect();
    for (done, (lane, number, step)) in steps.iter().enumerate() {
        if run.journal.progress().settled_steps.contains(&(*lane, *number)) {
            continue;
        }
        patiently(&client, &step.sql, &step.what).await?;
        run.journal.commit(&client, Fact::StepSettled { lane: *lane, step: *number }).await?;
        let what = step.what.clone();
        run.cx.tell(&Event::Step { phase: Phase::Settle, what, done: done + 1, of: steps.len() });
    }
    super::copy::drop_slot(&client, &prepared.slot).await?;
    let sql = format!("DROP PUBLICATION IF EXISTS {}", prepared.slot);
    patiently(&client, &sql, "dropping the publication").await?;
    run.journal.commit(&client, Fact::Settled).await?;
    Ok(())
}

/// Carries `sql` out in a transaction that is left open; as often as a lock is not granted in time.
pub(super) async fn patiently(client: &Client, sql: &str, what: &str) -> Result<(), Error> {
    loop {
        let begun = format!("BEGIN; SET LOCAL lock_timeout = '{LOCK_WAIT}'; {sql}");
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
