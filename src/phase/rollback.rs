//! Roll back while blue is live: drops everything that the run made, and leaves blue as it was. While green is live, a
//! rollback is a swap in the other direction.

use tokio_postgres::Client;

use super::keys;
use super::last_copy;
use super::locks::Patience;
use super::prepare::replica_identity_of;
use super::settle::drop_publications;
use super::steps::{self, Around};
use super::tidy;
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::finding::{CheckId, Finding};
use crate::hangs_on::KeyRegistry;
use crate::journal::Journal;
use crate::left;
use crate::lifecycle::{Fact, LaneDesign, Phase, Progress, Way, distinct_homes};
use crate::pg::sql::{Statement, joined};
use crate::pg::{Colour, Literal, QName, RunObjects};
use crate::plan::StepTime;

/// The phases of a rollback, unless the table that stays is gone.
///
/// # Errors
/// If the only copy of a table would be dropped, or there is nothing to go back to.
pub(crate) async fn phases(
    client: &Client,
    progress: &Progress,
    run: &str,
    drop_green: bool,
) -> Result<Vec<Phase>, Error> {
    let live = last_copy::expect_none(client, progress, run).await?;
    let phases = progress.phases_back(drop_green);
    if live.lost.is_empty() {
        return Ok(phases);
    }
    match phases.contains(&Phase::Rollback) && progress.live() == Colour::Blue {
        true => Ok(vec![Phase::Rollback]),
        false => Err(last_copy::error(progress, run, &live.lost, true)),
    }
}

/// Drops what the run made. Doing it twice equals doing it once.
///
/// # Errors
/// If green is live, others depend on green, the server rejected a statement, or the connection was lost.
pub(crate) async fn run(cx: &Context, journal: &Journal) -> Result<(), Error> {
    let patience = Patience::of(cx, journal);
    let client = journal.session();
    let (is_swapped, lost) = {
        let progress = journal.progress();
        (progress.swapped.is_some(), progress.way_back_lost.clone())
    };
    if is_swapped {
        let why = lost.map_or_else(
            || "the plan has no `soak`, or it is over".to_owned(),
            |why| format!("it was lost ({why})"),
        );
        let what = format!("the run has been swapped, and its way back is closed: {why}");
        return Err(Error::Usage(format!("{what}. Blue is kept until `projh-bluegreen finish`.")));
    }
    let progress = journal.progress().clone();
    let live = last_copy::expect_none(client, &progress, journal.run()).await?;
    let around = Around { cx, journal, phase: Phase::Rollback, guarded: None };
    for when in [StepTime::AfterSwap, StepTime::InSwap, StepTime::BeforeSwap] {
        around.all(when, Way::Down).await?;
    }
    let ours = RunObjects::of(journal.run());
    let slots = [Colour::Blue, Colour::Green].map(|source| ours.slot(source));
    let mut lanes = progress.prepared.map(|prepared| prepared.lanes).unwrap_or_default();
    refuse_dependents(client, &lanes).await?;
    // A walsender that streams from it would keep the publication in use.
    for slot in &slots {
        super::stream::free_slot(client, slot).await?;
    }
    tidy::aside(cx, client, &left::names(&lanes)).await?;
    for lane in &mut lanes {
        if live.lost.iter().any(|lost| lost.table == lane.table) {
            // A table that was dropped needs no replica identity.
            lane.replica_identity_before = None;
        }
    }
    let Transactions { hold, portions, last } = transactions(&lanes, &ours, &live.there);
    let of = portions.len();
    for (number, statement) in (1..).zip(portions) {
        patience.execute(client, &joined(hold.iter().chain([&statement])), DOING).await?;
        last_copy::recheck(client, journal).await?;
        journal.commit(client, Fact::PartitionsDropped).await?;
        cx.tell(&Event::Step { phase: Phase::Rollback, what: statement.what, done: number, of });
    }
    // The slot is dropped last: if there are no portions, stopping before that leaves the run as it was.
    patience.execute(client, &joined(hold.iter().chain(&last)), DOING).await?;
    let lost = last_copy::recheck(client, journal).await?.gone();
    let steps_are_left = !steps::left(journal, StepTime::Prepare, Way::Down).is_empty();
    if steps_are_left {
        // Green may depend on what they made.
        journal.commit(client, Fact::PartitionsDropped).await?;
        around.all(StepTime::Prepare, Way::Down).await?;
        client.batch_execute("BEGIN").await.doing(DOING)?;
    }
    for slot in &slots {
        super::stream::drop_slot(client, slot).await?;
    }
    journal.end(client, Fact::RolledBack { lost }).await?;
    Ok(())
}

const DOING: &str = "dropping what the run made";

/// Tables that one transaction drops. It locks some ten objects per partition, and a thousand partitions
/// would need more locks than a server has.
const TABLES_AT_ONCE: usize = 50;

/// Refuses if others have made objects that depend on green: CASCADE would drop those too.
async fn refuse_dependents(client: &Client, lanes: &[LaneDesign]) -> Result<(), Error> {
    const SQL: &str = include_str!("../../sql/catalog/dependents_of_green.sql");
    let homes: Vec<&str> = distinct_homes(lanes).into_iter().map(|homes| homes.green.as_str()).collect();
    let rows = client.query(SQL, &[&homes]).await;
    let rows = rows.doing("looking for what hangs on green")?;
    let finding = |what: String| {
        let what = format!("{what} depends on green, which would be dropped");
        Finding::server(CheckId::DependentsOfGreen, what, "drop it first")
    };
    let findings: Vec<Finding> = rows.iter().map(|row| finding(row.get(0))).collect();
    if findings.is_empty() { Ok(()) } else { Err(Error::Refused(findings)) }
}

/// The transactions of a rollback; the slot is dropped in the last one.
pub(crate) struct Transactions {
    /// Comes first in each of them.
    pub(crate) hold: Option<Statement>,
    /// If there are many partitions, statements that each drop some of them, each in a transaction of its own. After
    /// the first, the run can only be rolled back.
    pub(crate) portions: Vec<Statement>,
    /// Restores each blue's replica identity and drops everything else, in one transaction.
    pub(crate) last: Vec<Statement>,
}

/// `live` are the live tables.
pub(crate) fn transactions(lanes: &[LaneDesign], ours: &RunObjects, live: &[QName]) -> Transactions {
    if lanes.is_empty() {
        // What prepare makes is one transaction with its lanes.
        return Transactions { hold: None, portions: Vec::new(), last: Vec::new() };
    }
    let holders = |lane: &LaneDesign| lane.green.row_holders().len();
    let in_portions = lanes.iter().map(holders).sum::<usize>() > TABLES_AT_ONCE;
    let restored = lanes
        .iter()
        .filter_map(|lane| Some(replica_identity_of(&lane.green, lane.replica_identity_before.as_ref()?)));
    let mut last: Vec<Statement> = restored.flatten().collect();
    last.extend(drop_publications(ours));
    last.extend(keys::release(lanes));
    for home in distinct_homes(lanes).into_iter().flat_map(|homes| [&homes.green, &homes.blue]) {
        let sql = format!("DROP SCHEMA IF EXISTS {home} CASCADE");
        last.push(Statement::new("drop a private schema", sql));
    }
    last.extend(lanes.iter().flat_map(|lane| &lane.green.widened.registries).flat_map(KeyRegistry::drop));
    let portions = lanes.iter().filter(|_| in_portions).flat_map(|lane| {
        let sql = drop_some(&lane.green.at_home());
        std::iter::repeat_n(sql, holders(lane).div_ceil(TABLES_AT_ONCE))
    });
    Transactions { hold: last_copy::hold(live), portions: portions.collect(), last }
}

/// Drops some of a table's partitions: those attached to it, not those with certain names, for a name that became free
/// may be somebody else's.
fn drop_some(parent: &QName) -> Statement {
    let body = format!(
        "DECLARE leaf pg_catalog.regclass; BEGIN \
         FOR leaf IN SELECT inhrelid FROM pg_catalog.pg_inherits \
         WHERE inhparent = pg_catalog.to_regclass({}) ORDER BY inhrelid LIMIT {TABLES_AT_ONCE} \
         LOOP EXECUTE pg_catalog.format('DROP TABLE %s', leaf); END LOOP; END",
        Literal(&parent.to_string())
    );
    Statement::new("drop some of green's partitions", format!("DO {}", Literal(&body)))
}
