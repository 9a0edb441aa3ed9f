//! The run's streams, as several phases need them: begins them where the journal says, catches up, drops their slots.
//!
//! The stream of the live table is applied to the other one. While there is a way back, that one's is read, too: it can
//! only have what the program itself wrote, and anything else stops the run.

use std::time::Duration;

use tokio_postgres::Client;

use super::prepared;
use crate::crash;
use crate::error::{Doing, Error};
use crate::event::{Event, WaitCause};
use crate::lane::feed::{Feed, FeedError, Parts, Read, Watch, Watched};
use crate::lane::point::{Making, Point, Tried};
use crate::pg::{Colour, Ident, RunObjects};
use crate::replication::{Server, Start};
use crate::run::Run;

/// Bytes of the stream that are kept in memory while it is not applied.
const STREAM_BUFFER_BYTES: usize = 32 << 20;

/// A marker's round trip is shorter than this when there is no backlog.
const CAUGHT_UP: Duration = Duration::from_millis(250);
/// As good as no limit, however long the backlog is: the run's pace reports it and guards the slot meanwhile.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

/// Starts the feed at the position that the journal holds, if it does not run yet; and that of the other table, if
/// there is a way back.
pub(super) async fn ensure(run: &mut Run<'_>) -> Result<(), Error> {
    // While the way is broken, the other stream may have what broke it.
    let (live, is_read) = {
        let progress = run.journal.progress();
        (progress.live(), progress.is_reversible() && progress.broken.is_none())
    };
    if run.feed.is_none() {
        let read = read(run, "stream", live).await?;
        let lenient = !run.journal.progress().copy_finished;
        let (fence, mark, rest) = (run.journal.fence(), prepared(run)?.mark, run.pace.rest());
        let lanes = run.lanes.clone();
        let parts = Parts { fence, source: live, mark, read, lanes, lenient, rest };
        let feed = Feed::start(&run.cx.target, parts).await?;
        run.pace.follow(&feed, live);
        run.feed = Some(feed);
    }
    if is_read && run.others.is_none() {
        let read = read(run, "echo", live.other()).await?;
        let watched = Watched { read, mark: prepared(run)?.mark };
        run.others = Some(Watch::start(run.cx.target.clone(), watched));
    }
    Ok(())
}

/// The stream of `source`, on the journal's server: another one may take over at any time.
async fn read(run: &Run<'_>, role: &str, source: Colour) -> Result<Read, Error> {
    let server = Server::of(run.journal.session()).await.doing("asking which server it is")?;
    Ok(Read { role: run.role(role), start: start(run, source).await?, server })
}

/// Where the stream of `source` begins: where the journal says. Its slot is free afterwards.
async fn start(run: &Run<'_>, source: Colour) -> Result<Start, Error> {
    let slot = RunObjects::of(run.journal.run()).slot(source);
    let applied = run.journal.applied(source).await?;
    let from = applied
        .ok_or_else(|| Error::Slot("the journal does not say how far the stream was applied".to_owned()))?;
    free_slot(run.journal.session(), &slot).await?;
    if !is_there(run.journal.session(), &slot).await? {
        return Err(Error::Slot(format!(
            "somebody dropped slot {slot}, or another server took over without it"
        )));
    }
    let (slot, publication) = (slot.as_str().to_owned(), slot.as_str().to_owned());
    Ok(Start { slot, publication, from, buffer_bytes: STREAM_BUFFER_BYTES })
}

/// Terminates a walsender that an earlier orchestrator has left on the slot.
pub(super) async fn free_slot(client: &Client, slot: &Ident) -> Result<(), Error> {
    let sql = "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots \
               WHERE slot_name = $1 AND database = current_database() AND active_pid IS NOT NULL";
    client.query(sql, &[&slot.as_str()]).await.doing("freeing the slot")?;
    Ok(())
}

/// Whether the slot exists in this database.
pub(crate) async fn is_there(client: &Client, slot: &Ident) -> Result<bool, Error> {
    let sql = "SELECT FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()";
    let found = client.query_opt(sql, &[&slot.as_str()]).await;
    Ok(found.doing("looking for the slot")?.is_some())
}

/// Drops the slot named `$1`, if it exists in this database: a copy of the database has the same journal, and no slots.
pub(crate) const DROP_SLOT: &str = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                                    WHERE slot_name = $1 AND database = current_database()";

/// Terminates the slot's walsender and drops the slot, if it exists.
pub(super) async fn drop_slot(client: &Client, slot: &Ident) -> Result<(), Error> {
    free_slot(client, slot).await?;
    let dropped = client.query(DROP_SLOT, &[&slot.as_str()]).await.doing("dropping the slot")?;
    crash::point("slot dropped");
    tracing::info!(slot = slot.as_str(), was_there = !dropped.is_empty(), "slot dropped");
    Ok(())
}

/// The longest that the feed runs between two tries to make a consistent point.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// Creates a temporary slot and returns its consistent point, with the stream applied strictly up to it; the feed holds
/// still there. While `who` waits for an open transaction, the stream is still applied between two tries.
pub(super) async fn point(run: &Run<'_>, who: &str) -> Result<Point, Error> {
    let feed = run.feed()?;
    let name = RunObjects::of(run.journal.run()).temporary_slot();
    let mut making = Making::begin(&run.cx.target, run.journal.run(), &name, true).await?;
    loop {
        // Otherwise the feed would by then have applied some of what committed after the point.
        feed.hold_still().await?;
        match making.attempt().await? {
            Tried::Made(made) => {
                let (point, walsender) = *made;
                feed.run_to(point.lsn).await?;
                walsender.close().await;
                return Ok(point);
            }
            Tried::Waits(again, holder) => {
                tell_waiting(run, who, &holder);
                making = *again;
            }
        }
        feed.free();
        match feed.round_trip(BETWEEN_TRIES).await {
            Ok(_) | Err(FeedError::Late(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reports whose transaction a consistent point waits for.
pub(super) fn tell_waiting(run: &Run<'_>, who: &str, holder: &str) {
    let text = format!("{who} waits for an open transaction: {holder}");
    run.cx.tell(&Event::Waiting { cause: WaitCause::Transaction, text });
}

/// Lets the stream run until a marker's round trip is short.
pub(super) async fn catch_up(run: &mut Run<'_>) -> Result<(), Error> {
    ensure(run).await?;
    let Some(feed) = &run.feed else { return Ok(()) };
    feed.be_strict();
    // What broke the way back is still in the stream, and so is what has put it right.
    feed.gather(run.journal.progress().broken.is_some());
    feed.free();
    let mut caught_up = feed.round_trip(PATIENCE).await;
    feed.gather(false);
    while caught_up? >= CAUGHT_UP {
        caught_up = feed.round_trip(PATIENCE).await;
    }
    Ok(())
}
