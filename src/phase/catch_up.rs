//! Catch up: the stream is applied, strictly from now on, until green is a moment behind blue.

use std::time::Duration;

use crate::engine::Run;
use crate::error::Error;
use crate::event::Event;
use crate::lane::feed::FeedError;
use crate::lifecycle::Fact;
use crate::pg::Lsn;

/// A marker comes through this quickly when there is no backlog.
const CAUGHT_UP: Duration = Duration::from_millis(250);
/// How often a backlog is told.
const TOLD_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    catch_up(run).await?;
    // A snapshot that is older than this may miss rows that the copy or the stream brought since.
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    let row = run
        .journal
        .session()
        .query_one(sql, &[])
        .await
        .map_err(Error::doing("reading the transaction id"))?;
    let xid = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    run.journal.record(Fact::CaughtUp { xid }).await?;
    Ok(())
}

/// Lets the stream run until a marker comes through quickly.
pub(super) async fn catch_up(run: &mut Run<'_>) -> Result<(), Error> {
    super::copy::ensure_feed(run).await?;
    let Some(feed) = &run.feed else { return Ok(()) };
    feed.be_strict();
    feed.free();
    loop {
        let marker = feed.mark().await?;
        let begun = std::time::Instant::now();
        loop {
            match feed.drain_through(marker, TOLD_EVERY).await {
                Ok(()) => break,
                Err(FeedError::Late(_)) => tell_lag(run).await?,
                Err(error) => return Err(error.into()),
            }
        }
        if begun.elapsed() < CAUGHT_UP {
            return tell_lag(run).await;
        }
    }
}

async fn tell_lag(run: &Run<'_>) -> Result<(), Error> {
    let Some(feed) = &run.feed else { return Ok(()) };
    let sql = "SELECT pg_current_wal_lsn()";
    let end: Lsn =
        run.journal.session().query_one(sql, &[]).await.map_err(Error::doing("reading the lag"))?.get(0);
    let state = feed.state();
    run.cx.tell(&Event::Lag { lag_bytes: end.bytes_since(state.applied), applied: state.changes });
    Ok(())
}
