//! Catch up: the stream is applied, strictly from now on, until green is a moment behind blue.

use std::time::Duration;

use crate::engine::Run;
use crate::error::Error;
use crate::lifecycle::{Fact, Phase};

use super::statistics::Statistics;

/// A marker comes through this quickly when there is no backlog.
const CAUGHT_UP: Duration = Duration::from_millis(250);
/// However long the backlog is: the watch over the run's pace tells it, and guards the slot.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    if run.cx.until != Some(Phase::CatchUp) {
        run.statistics = Some(Statistics::begin(run)?);
    }
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
    while feed.round_trip(PATIENCE).await? >= CAUGHT_UP {}
    Ok(())
}
