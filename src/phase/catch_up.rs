//! Catch up: applies the stream, strictly from now on, until green is only moments behind blue.

use crate::error::{Doing, Error};
use crate::lifecycle::Fact;
use crate::run::Run;

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    super::analyze::begin(run)?;
    super::stream::catch_up(run).await?;
    // A snapshot older than this may not see rows that the copy or the stream has written.
    let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    let row = run.journal.session().query_one(sql, &[]).await.doing("reading the transaction id")?;
    let xid = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    run.journal.record(Fact::CaughtUp { xid }).await?;
    Ok(())
}
