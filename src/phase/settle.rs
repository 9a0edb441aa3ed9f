//! Settle: after a swap. Without a way back, slot and publication are dropped first, as nobody streams from them
//! any more; with one, the streams run from here on. Then foreign keys are validated leaf by leaf and merged into the
//! parent.
//!
//! Then the plan's steps after the swap are executed; after a swap back, those before it undone.
//!
//! Each statement takes its lock briefly or steps back, and is one transaction with its fact. What cannot be done holds
//! up nothing else, and is reported with a hint.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::locks::Patience;
use super::steps::Around;
use super::{prepared, stream, tidy, way_back};
use crate::error::{Doing, Error, Undone};
use crate::event::Event;
use crate::hangs_on::{InboundKey, orphans};
use crate::left;
use crate::lifecycle::{Fact, Phase, Prepared, Way};
use crate::pg::sql::{Statement, joined};
use crate::pg::{AS_OPERATOR, Acting, Colour, RunObjects};
use crate::plan::StepTime;
use crate::run::Run;

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    let client = run.connect("settle").await?;
    let prepared = prepared(run)?;
    let mut undone = Vec::new();
    let (live, is_reversible) = {
        let progress = run.journal.progress();
        (progress.live(), progress.is_reversible())
    };
    if is_reversible {
        stream::ensure(run).await?;
        let feed = run.feed()?;
        feed.be_strict();
        feed.free();
    } else {
        // Nobody applies the streams any more.
        run.feed = None;
        if let Err(error) = end_streams(&run.patience(), &client, &prepared).await {
            let hint = format!(
                "as a role that may do so: select pg_drop_replication_slot('{}')",
                prepared.slot.as_str()
            );
            undone.push(failed(error, &hint)?);
        }
    }
    let steps = prepared.settle(live);
    // The lane and key of a validation that failed: the steps up to the next validation rely on it.
    let mut without = None;
    let mut follows_validation = false;
    for (done, (lane, number, step)) in steps.iter().enumerate() {
        let is_validation = step.reads_rows;
        // Another key, which may have the same name.
        if is_validation && (!follows_validation || without != Some((*lane, key_of(step)))) {
            without = None;
        }
        follows_validation = is_validation;
        let relies = !is_validation && without.is_some_and(|(other, _)| other == *lane);
        if relies || run.journal.progress().settled_steps.has(*lane, *number, &step.what) {
            continue;
        }
        let fact = Fact::StepSettled { lane: *lane, step: *number, what: step.what.clone() };
        let green = &prepared.lanes[*lane].green;
        let inbound = step.on.as_ref().and_then(|on| green.inbound_of(on));
        let acting = inbound.map_or_else(|| green.blue.table.acting(), InboundKey::acting);
        match carry_out(run, &client, step, &acting, fact).await? {
            None => {
                let what = step.what.clone();
                run.cx.tell(&Event::Step { phase: Phase::Settle, what, done: done + 1, of: steps.len() });
            }
            Some(left) => {
                if is_validation && step.on.as_ref().is_some_and(|on| green.merges_keys_of(on)) {
                    without = Some((*lane, key_of(step)));
                }
                undone.push(left);
            }
        }
    }
    let (when, way) = match live {
        Colour::Green => (StepTime::AfterSwap, Way::Up),
        Colour::Blue => (StepTime::BeforeSwap, Way::Down),
    };
    let stepped = Around::of(run, Phase::Settle).all(when, way).await;
    match live {
        _ if undone.is_empty() => stepped?,
        Colour::Green => return Err(Error::Unsettled(undone)),
        Colour::Blue => return stepped.map(|()| leave(run, undone)),
    }
    run.journal.record(Fact::Settled).await?;
    tidy::aside(run.cx, &client, &left::names(&prepared.lanes)).await
}

/// Blue is live, as was asked: whoever begins again after an error would swap forward.
fn leave(run: &Run<'_>, undone: Vec<Undone>) {
    for Undone { what, hint } in undone {
        let text = format!("{what}. {hint}; then `projh-bluegreen rollback` does it");
        run.cx.tell(&Event::Notice { text });
    }
}

/// The constraint that a statement validates: the end of its text.
fn key_of(step: &Statement) -> &str {
    step.sql.rsplit_once(" CONSTRAINT ").map_or("", |(_, key)| key)
}

fn key_name(step: &Statement) -> String {
    key_of(step).trim_matches('"').replace("\"\"", "\"")
}

/// Carries out one step; returns what is left of it if it cannot be done.
async fn carry_out(
    run: &Run<'_>,
    client: &Client,
    step: &Statement,
    acting: &Acting,
    fact: Fact,
) -> Result<Option<Undone>, Error> {
    // Validating a key compares values of the table.
    let sql = match step.on.as_ref().filter(|_| step.reads_rows) {
        Some(on) => {
            let reader = orphans::acting(client, on, &key_name(step), acting).await;
            format!("{}; {}; {AS_OPERATOR}", reader.doing("asking who sees the rows of a key")?, step.sql)
        }
        None => step.sql.clone(),
    };
    let Err(error) = run.patience().execute(client, &sql, &step.what).await else {
        run.journal.commit(client, fact).await?;
        return Ok(None);
    };
    if error.is_transient() {
        return Err(error);
    }
    client.batch_execute("ROLLBACK").await.doing("stepping back")?;
    let code = error.sqlstate().cloned();
    let is = |one: SqlState| code.as_ref() == Some(&one);
    // A partition dropped since needs no valid key, and a key that somebody has merged needs no merging.
    let is_gone = step.reads_rows && (is(SqlState::UNDEFINED_TABLE) || is(SqlState::INVALID_SCHEMA_NAME));
    if is_gone || (!step.reads_rows && is(SqlState::DUPLICATE_OBJECT)) {
        run.journal.record(fact).await?;
        return Ok(None);
    }
    let again = "remove the cause";
    let left = match &step.on {
        Some(relation) if step.reads_rows && is(SqlState::FOREIGN_KEY_VIOLATION) => {
            let key = key_name(step);
            let counted = orphans::count(client, relation, acting, Some(&key)).await;
            let counted = counted.doing("counting rows that point at no row")?;
            match counted.first().and_then(|found| found.rows.map(|rows| (rows, found))) {
                Some((rows, found)) => Undone {
                    what: format!(
                        "foreign key {key} on {} cannot be validated: {rows} {} of {}",
                        relation.plain(),
                        if rows == 1 { "row points at no row" } else { "rows point at no row" },
                        found.references
                    ),
                    hint: format!("correct or delete them: select fk.* {}", found.select),
                },
                None => failed(error, again)?,
            }
        }
        _ => failed(error, again)?,
    };
    Ok(Some(left))
}

/// What could not be done; a transient error is returned instead, to be retried.
fn failed(error: Error, hint: &str) -> Result<Undone, Error> {
    if error.is_transient() {
        return Err(error);
    }
    Ok(Undone { what: error.to_string(), hint: hint.to_owned() })
}

/// Drops the run's slots and publications: from then on the server may reuse WAL.
pub(super) async fn end_streams(
    patience: &Patience<'_>,
    client: &Client,
    prepared: &Prepared,
) -> Result<(), Error> {
    let ours = RunObjects::of_slot(&prepared.slot);
    for source in [Colour::Blue, Colour::Green] {
        stream::drop_slot(client, &ours.slot(source)).await?;
    }
    let doing = "dropping the publication";
    let dropped = match patience.execute(client, &joined(&drop_publications(&ours)), doing).await {
        Ok(()) => client.batch_execute("COMMIT").await.doing(doing),
        Err(error) => Err(error),
    };
    if dropped.is_err() {
        // The error is what counts; if the connection was lost, the server has rolled back.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    dropped
}

/// Drops the run's publications, which have the slots' names.
pub(crate) fn drop_publications(ours: &RunObjects) -> [Statement; 2] {
    [Colour::Blue, Colour::Green].map(|source| way_back::drop_publication(&ours.slot(source)))
}
