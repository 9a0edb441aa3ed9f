//! The way back: green's own stream, opened before the swap, so that from the very commit of the swap on its changes
//! can be applied to blue.
//!
//! A slot can be made neither in the swap's transaction nor while it holds its locks. So it is made before, and until
//! then it has what the program writes to green, and nothing else.

use tokio_postgres::Client;

use super::{prepared, stream};
use crate::crash;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::finding::{CheckId, Finding};
use crate::hangs_on::{self, Column, Fingerprint};
use crate::lane::apply::Apply;
use crate::lane::point::Point;
use crate::lane::{Ends, Lane, NoWayBack, dirty_table, row_type, working_objects};
use crate::lifecycle::{Arrived, Fact, KeyDigest, LaneDesign, Phase, Prepared, WayBack};
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Colour, Ident, Lsn, QName, RunObjects, list, rolled_back};
use crate::run::Run;

/// Opens the way back if the plan has a soak, and the run has none yet.
pub(super) async fn open(run: &mut Run<'_>) -> Result<(), Error> {
    let way_back = run.journal.progress().way_back.clone();
    let is_open = !matches!(way_back, WayBack::None | WayBack::Intended);
    if run.settings().soak.is_zero() || is_open {
        return Ok(());
    }
    if way_back == WayBack::None {
        run.journal.record(Fact::WayBackIntended).await?;
    }
    let prepared = prepared(run)?;
    let slot = RunObjects::of_slot(&prepared.slot).slot(Colour::Green);
    stream::drop_slot(run.journal.session(), &slot).await?;
    let client = run.connect("way back").await?;
    let mut columns = Vec::new();
    for lane in &prepared.lanes {
        columns.push(hangs_on::read_columns(&client, &lane.green.at_home()).await?);
    }
    let doing = "opening the way back";
    let statements = statements(&prepared, &columns)?;
    run.patience().execute(&client, &joined(&statements), doing).await?;
    client.batch_execute("COMMIT").await.doing(doing)?;
    crash::point("way back made");
    rehearse_all(&client, &prepared).await?;
    let waiting = |holder: String| stream::tell_waiting(run, "the way back", &holder);
    let (point, walsender) =
        Point::make(&run.cx.target, run.journal.run(), slot.as_str(), false, &waiting).await?;
    client.batch_execute("BEGIN").await.doing(doing)?;
    run.journal.begin_stream(&client, Colour::Green, point.lsn).await?;
    run.journal.commit(&client, Fact::WayBackOpened { lsn: point.lsn }).await?;
    walsender.close().await;
    let of = statements.len();
    run.cx.tell(&Event::Step { phase: Phase::Verify, what: "open the way back".to_owned(), done: of, of });
    stream::ensure(run).await
}

async fn rehearse_all(client: &Session, prepared: &Prepared) -> Result<(), Error> {
    let doing = "rehearsing the way back";
    for (number, design) in prepared.lanes.iter().enumerate() {
        let ends = Ends::of(design).reversed().map_err(|no| none(&no))?;
        let rehearsed = rolled_back(client, "BEGIN", rehearse(client, number, design, &ends)).await;
        if !rehearsed.doing(doing)?.doing(doing)? {
            let why = vec!["columns of its key were dropped or renamed".to_owned()];
            return Err(none(&NoWayBack { table: design.table.plain(), why }));
        }
    }
    Ok(())
}

/// Has the server plan what will be applied to blue, as the tables are named before the swap; whether both have all
/// columns of the key. Blue is stood in for by an empty table, in the transaction that is open on `client`: blue's own
/// identity may be GENERATED ALWAYS, which cannot be updated before the swap.
pub(crate) async fn rehearse(
    client: &Session,
    number: usize,
    design: &LaneDesign,
    ends: &Ends,
) -> Result<bool, tokio_postgres::Error> {
    let stand_in = QName::new(ends.target.home.clone(), "stand_in");
    let sql = format!("CREATE TABLE {stand_in} (LIKE {} INCLUDING GENERATED)", design.table);
    client.batch_execute(&sql).await?;
    let lane = Lane::load_at(client, number, ends, (&design.green.at_home(), stand_in)).await?;
    if lane.is_whole(ends) {
        Apply::make(client, &lane).await?;
        Apply::prepare(client, &lane).await?;
        return Ok(true);
    }
    Ok(false)
}

/// The statements that make what the way back needs, in one transaction. `columns` are those of each lane's green.
pub(crate) fn statements(prepared: &Prepared, columns: &[Vec<Column>]) -> Result<Vec<Statement>, Error> {
    let publication = RunObjects::of_slot(&prepared.slot).slot(Colour::Green);
    let mut statements = vec![drop_publication(&publication)];
    for (number, (lane, columns)) in prepared.lanes.iter().zip(columns).enumerate() {
        let ends = Ends::of(lane).reversed().map_err(|no| none(&no))?;
        let (dirty, row) = (dirty_table(&ends.target.home, number), row_type(&ends.target.home, number));
        statements.push(Statement::new("clear the way", format!("DROP TABLE IF EXISTS {dirty}")));
        statements.push(Statement::new("clear the way", format!("DROP TYPE IF EXISTS {row}")));
        statements.extend(working_objects(number, &ends, &lane.green.at_home(), columns));
    }
    statements.push(publish(prepared, &publication));
    Ok(statements)
}

/// Publishes the changes of all greens.
pub(crate) fn publish(prepared: &Prepared, publication: &Ident) -> Statement {
    let greens = || prepared.lanes.iter().map(|lane| lane.green.at_home());
    let sql = format!(
        "CREATE PUBLICATION {publication} FOR TABLE {} WITH (publish_via_partition_root = true)",
        list(greens())
    );
    greens().fold(Statement::new("publish green's changes", sql), |publish, green| {
        publish.locking(&green, LockMode::ShareUpdateExclusive)
    })
}

/// Drops one of the run's publications.
pub(crate) fn drop_publication(publication: &Ident) -> Statement {
    Statement::new("drop the publication", format!("DROP PUBLICATION IF EXISTS {publication}"))
}

/// A run whose plan wants a way back that there is not.
pub(super) fn none(no: &NoWayBack) -> Error {
    Error::Refused(vec![finding(no)])
}

/// What a check says about a table that has no way back.
pub(crate) fn finding(no: &NoWayBack) -> Finding {
    let hint = "give what it needs, or `soak: 0s`, without which the swap cannot be undone";
    Finding::server(CheckId::WayBack, no.to_string(), hint)
}

/// What the live tables are at the end of a swap's transaction; what the streams have before it is done with. `None` if
/// the swap cannot be undone.
///
/// # Errors
/// If the catalog cannot be read, or the position not be written.
pub(super) async fn arrived(
    run: &Run<'_>,
    client: &Client,
    who: Colour,
    lsn: Lsn,
) -> Result<Option<Arrived>, Error> {
    if !run.journal.progress().is_reversible() {
        return Ok(None);
    }
    run.journal.begin_stream(client, who, lsn).await?;
    let row = client.query_one("SELECT extract(epoch FROM clock_timestamp())::bigint", &[]).await;
    let at = row.doing("reading the server's time")?.get(0);
    let (fingerprints, left) = fingerprints(run, client, who.other()).await?;
    Ok(Some(Arrived { at, fingerprints, left }))
}

/// The fingerprints of each lane's live table, and of the other one, which is at the home of `other`. To be asked for once
/// before clients wait for the answer: the session plans the query then.
///
/// # Errors
/// If the catalog cannot be read.
pub(super) async fn fingerprints(
    run: &Run<'_>,
    client: &Client,
    other: Colour,
) -> Result<(Vec<Fingerprint>, Vec<Fingerprint>), Error> {
    let (mut live, mut left) = (Vec::new(), Vec::new());
    for lane in &prepared(run)?.lanes {
        let home = lane.green.home_of(other);
        let both = tokio::try_join!(Fingerprint::of(client, &lane.table), Fingerprint::of(client, &home));
        let (of_live, of_other) = both?;
        live.push(of_live);
        left.push(of_other);
    }
    Ok((live, left))
}

/// The rows that an error is about, the first few.
fn keys_of(error: &Error) -> Vec<KeyDigest> {
    const MOST: usize = 20;
    let key =
        |(table, digest): (&str, &str)| KeyDigest { table: table.to_owned(), digest: digest.to_owned() };
    let of_feed = match error {
        Error::Feed(error) => error.keys(),
        _ => None,
    };
    let of_feed =
        of_feed.iter().flat_map(|(table, keys)| keys.iter().map(|digest| (*table, digest.as_str())));
    let shown = error.differences().into_iter().flat_map(|differences| &differences.shown);
    let shown = shown.map(|shown| (shown.table.as_str(), shown.key_digest.as_str()));
    of_feed.chain(shown).take(MOST).map(key).collect()
}

/// What an error means while green is live: if it says that blue no longer follows, that is recorded. Other errors
/// concern the run, or pass.
pub async fn broken(run: &Run<'_>, error: Error) -> Result<Error, Error> {
    let is_about_the_tables = matches!(
        error,
        Error::Feed(_) | Error::SourceChanged { .. } | Error::NotStreamed { .. } | Error::Differences(_)
    );
    let (live, before) = {
        let progress = run.journal.progress();
        (progress.live(), progress.broken.clone())
    };
    if live == Colour::Blue || !is_about_the_tables || error.is_transient() {
        return Ok(error);
    }
    let keys = keys_of(&error);
    let mut why = error.what();
    if let Error::Differences(_) = error {
        let named: Vec<String> = keys.iter().map(|key| format!("{} {}", key.table, key.digest)).collect();
        why = format!("{why}; by table and key digest: {}", named.join(", "));
    }
    if before.as_ref().is_none_or(|before| before.why != why) {
        let sql = "SELECT to_char(clock_timestamp(), 'YYYY-MM-DD HH24:MI:SSOF')";
        let row = run.journal.session().query_one(sql, &[]).await.doing("reading the server's time")?;
        // It has been broken since then, whatever else keeps it so now.
        let since = before.map_or_else(|| row.get(0), |before| before.since);
        run.journal.record(Fact::WayBroken { since, why, keys }).await?;
    }
    Ok(Error::WayBroken(Box::new(error)))
}
