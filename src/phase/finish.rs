//! Finish: drops blue, or moves it to the plan's archive, after which there is no going back. Only the journal is left
//! of the run.
//!
//! While there is a way back, it has to verify first: blue catches up, and every row is compared. All that can be tried
//! is tried in a transaction that is rolled back, before the way back is given up.

use tokio_postgres::Client;

use super::last_copy;
use super::locks::Patience;
use super::prepare;
use super::row_types;
use super::settle;
use super::steps::Around;
use super::tidy;
use crate::context::Context;
use crate::coverage;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::green;
use crate::hangs_on::{self, Green};
use crate::journal::Journal;
use crate::journal::requests::Finish;
use crate::lane;
use crate::left;
use crate::lifecycle::{Broken, Fact, LaneDesign, Phase, Prepared, Progress, Standing, Way};
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Colour, Ident, QName, list};
use crate::plan::{Archive, StepTime};

/// The phases of a finish: while there is a way back, blue catches up and is compared first, unless `how.force`.
///
/// # Errors
/// If the run has not come that far; or work after the swap is left or the way back is broken, without `how.force`.
pub(crate) fn phases(progress: &Progress, how: Finish) -> Result<Vec<Phase>, Error> {
    let may_finish = progress.swapped.is_some() || progress.is_in_place();
    if let Some(step) = progress.steps.undone().filter(|_| may_finish && !how.force) {
        let what = format!("step `{step}` was undone by a rollback that was cut short");
        let next = "`projh-bluegreen execute` executes it again, `projh-bluegreen rollback` goes on";
        return Err(Error::Usage(format!("{what}: {next}; `finish --force` leaves it undone")));
    }
    if progress.is_in_place() {
        return Ok(vec![Phase::Finish]);
    }
    if let Some(undone) = Standing::undone(progress) {
        let what = format!("{undone}, and there is nothing to finish");
        let next =
            "`projh-bluegreen execute` swaps again, `projh-bluegreen rollback --drop-green` ends the run";
        return Err(Error::Usage(format!("{what}; {next}")));
    }
    if progress.swapped.is_none() || progress.prepared.is_none() {
        let what = "the run has not been swapped yet, so there is nothing to finish";
        return Err(Error::Usage(format!("{what}; `projh-bluegreen execute` continues it")));
    }
    if how.force {
        return Ok(vec![Phase::Finish]);
    }
    if progress.next_phase().is_some_and(|phase| phase != Phase::Soak) {
        let what = "some work after the swap is left: `projh-bluegreen execute` continues it, or says what prevents it";
        return Err(Error::Usage(format!("{what}; `finish --force` leaves it undone")));
    }
    if let Some(Broken { since, why, .. }) = &progress.broken {
        let what = format!(
            "the way back does not verify: blue no longer follows green, since {since}, so that what differs was not \
             compared: {why}"
        );
        return Err(Error::Usage(format!("{what}. `finish --force` finishes the run all the same")));
    }
    Ok(match progress.is_reversible() {
        true => vec![Phase::CatchUp, Phase::Verify, Phase::Finish],
        false => vec![Phase::Finish],
    })
}

/// The same, unless the tables that stay are gone.
///
/// # Errors
/// As [`phases`]; or if the only copy of a table would be dropped, or nothing is there that could be verified.
pub(crate) async fn allowed(
    client: &Client,
    progress: &Progress,
    run: &str,
    how: Finish,
) -> Result<Vec<Phase>, Error> {
    let live = last_copy::expect_none(client, progress, run).await?;
    let phases = phases(progress, how)?;
    if !live.lost.is_empty() && phases.len() > 1 {
        return Err(last_copy::error(progress, run, &live.lost, true));
    }
    Ok(phases)
}

/// Drops blue and both private schemas, once no session is left that this would break; `how.now` does not wait for
/// those. With `archive`, blue is moved to that schema instead.
///
/// # Errors
/// If an object depends on blue, the archive cannot take it, the server rejected a statement, or the connection was
/// lost.
pub(crate) async fn run(
    cx: &Context,
    journal: &Journal,
    archive: Option<&Archive>,
    how: Finish,
) -> Result<(), Error> {
    let patience = &Patience::of(cx, journal);
    let client = journal.session();
    let progress = journal.progress().clone();
    let live = last_copy::expect_none(client, &progress, journal.run()).await?;
    let (is_reversible, prepared) = (progress.is_reversible(), progress.prepared);
    let prepared = prepared.ok_or(Error::Bug("the run has not been prepared"))?;
    let archived = match archive {
        Some(archive) => existing(client, &prepared, archive).await?,
        None => Vec::new(),
    };
    let doing = if archived.is_empty() { "dropping blue" } else { "moving blue to the archive" };
    let sql = joined(&statements(&prepared, &archived, &live.there));
    if is_reversible {
        patience.execute(client, &sql, doing).await?;
        client.batch_execute("ROLLBACK").await.doing(doing)?;
    }
    // Blue's row type is dropped with blue only.
    if archived.len() < prepared.lanes.len() {
        row_types::wait_for_old_sessions(client, &prepared, patience, how.now).await?;
    }
    if is_reversible {
        journal.record(Fact::WayBackClosing).await?;
    }
    // A way back that was lost has left its publications, and slots that could not be dropped then.
    settle::end_streams(patience, client, &prepared).await?;
    tidy::aside(cx, client, &left::names(&prepared.lanes)).await?;
    let around = Around { cx, journal, phase: Phase::Finish, guarded: None };
    around.all(StepTime::Finish, Way::Up).await?;
    patience.execute(client, &sql, doing).await?;
    let lost = last_copy::recheck(client, journal).await?.gone();
    let remains = match archived.is_empty() {
        true => coverage::after_finish(&prepared, None),
        false => coverage::after_finish(&prepared, Some(&unscrubbed(client, &prepared, &archived).await?)),
    };
    let archived: Vec<QName> = archived.into_iter().map(|(_, to)| to).collect();
    journal.end(client, Fact::Finished { archived, lost }).await?;
    if let Some(text) = remains {
        // The statistics of blue's columns were dropped with it; their rows are removed now, if this role may do so.
        let _ =
            client.batch_execute("VACUUM pg_catalog.pg_statistic, pg_catalog.pg_statistic_ext_data").await;
        cx.tell(&Event::Notice { text });
    }
    Ok(())
}

/// Each lane's number, and where its blue is archived.
pub(crate) fn targets(prepared: &Prepared, archive: &Archive) -> Vec<(usize, QName)> {
    prepared.lanes.iter().map(|lane| archive.place(&lane.table)).enumerate().collect()
}

/// Those whose blue nobody has dropped.
async fn existing(
    client: &Client,
    prepared: &Prepared,
    archive: &Archive,
) -> Result<Vec<(usize, QName)>, Error> {
    let mut existing = Vec::new();
    for (lane, to) in targets(prepared, archive) {
        let blue = prepared.lanes[lane].green.home_of(Colour::Blue).to_string();
        let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&blue]).await;
        if row.doing("looking for blue")?.get(0) {
            existing.push((lane, to));
        }
    }
    Ok(existing)
}

/// The columns of archived tables whose statistics could not be removed.
async fn unscrubbed(
    client: &Client,
    prepared: &Prepared,
    archived: &[(usize, QName)],
) -> Result<Vec<String>, Error> {
    let mut left = Vec::new();
    for (number, to) in archived {
        let Some(lane) = prepared.lanes.get(*number) else { continue };
        left.extend(
            lane.green.unscrubbed(client, to).await.doing("asking for statistics of the archived table")?,
        );
    }
    Ok(left)
}

/// The statements of finish, executed in one transaction; `archived` are the lanes whose blue is kept, and where; `live`
/// the live tables.
pub(crate) fn statements(prepared: &Prepared, archived: &[(usize, QName)], live: &[QName]) -> Vec<Statement> {
    let drop_table = |table: &QName| {
        Statement::on(table, LockMode::AccessExclusive, "drop", format!("DROP TABLE IF EXISTS {table}"))
    };
    let drop_schema =
        |schema: &Ident| Statement::new("drop a private schema", format!("DROP SCHEMA IF EXISTS {schema}"));
    if prepared.lanes.is_empty() {
        return Vec::new();
    }
    let mut statements: Vec<Statement> = last_copy::hold(live).into_iter().collect();
    statements.extend(green::materialized::drop(&prepared.greens(), Colour::Blue));
    let functions = prepared.lanes.iter().rev().flat_map(|lane| lane.green.drop_row_functions(Colour::Blue));
    statements.extend(functions);
    if !archived.is_empty() {
        // It holds the same rows as green, so nobody but its owner may read it in another schema.
        statements.extend(prepared.homes().into_iter().map(|homes| hangs_on::seal(&homes.blue)));
    }
    let mut dropped: Vec<QName> = Vec::new();
    for (number, lane) in prepared.lanes.iter().enumerate() {
        match archived.iter().find(|(lane, _)| *lane == number) {
            Some((_, to)) => {
                let before = lane.replica_identity_before.iter();
                statements
                    .extend(before.flat_map(|before| prepare::replica_identity_away(&lane.green, before)));
                statements.extend(lane.green.archive(&to.schema));
            }
            None => dropped.push(lane.green.home_of(Colour::Blue)),
        }
    }
    // At once: policies of one may read another one.
    if let Some((first, others)) = dropped.split_first() {
        let sql = format!("DROP TABLE IF EXISTS {}", list(&dropped));
        let drop = Statement::on(first, LockMode::AccessExclusive, "drop", sql);
        statements
            .push(others.iter().fold(drop, |drop, table| drop.locking(table, LockMode::AccessExclusive)));
    }
    for Green { widened, homes, .. } in prepared.greens() {
        statements.extend(widened.registries.iter().map(|registry| {
            let function = registry.function_of_blue(&homes.green);
            Statement::new("drop a function", format!("DROP FUNCTION IF EXISTS {function}()"))
        }));
    }
    for home in prepared.homes().into_iter().flat_map(|homes| [&homes.blue, &homes.green]) {
        let there = |lane: &LaneDesign| [&lane.green.homes.blue, &lane.green.homes.green].contains(&home);
        for (number, _) in prepared.lanes.iter().enumerate().filter(|(_, lane)| there(lane)) {
            statements.push(drop_table(&lane::dirty_table(home, number)));
            let row_type = lane::row_type(home, number);
            statements.push(Statement::new(
                "drop the row type of the stream",
                format!("DROP TYPE IF EXISTS {row_type}"),
            ));
        }
        statements.push(drop_schema(home));
    }
    statements
}
