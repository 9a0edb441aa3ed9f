//! Whatever drops the tables that are not live looks first, in the same transaction and under a lock, whether the live
//! ones are there: no command drops the only copy of a table's rows.

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::journal::Journal;
use crate::lifecycle::{Lost, Progress, way_out, what_is_lost};
use crate::lost::{self, Live};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{QName, list};

/// The live tables.
///
/// # Errors
/// [`Error::LastCopy`] if one is gone whose copy the run still has; or if the catalog cannot be read.
pub(crate) async fn expect_none(client: &Client, progress: &Progress, run: &str) -> Result<Live, Error> {
    let live = lost::find(client, progress).await.doing("looking for the live tables")?;
    if live.has_last_copy() {
        return Err(error(progress, run, &live.lost, true));
    }
    Ok(live)
}

/// What is told of live tables that are gone; `refused` if a command was asked to drop their copy.
pub(crate) fn error(progress: &Progress, run: &str, lost: &[Lost], refused: bool) -> Error {
    Error::LastCopy { what: what_is_lost(lost), way_out: way_out(progress, run, lost), refused }
}

/// The same in the transaction that is open on `client`, which is rolled back before an error is returned.
///
/// # Errors
/// As [`expect_none`].
pub(super) async fn recheck(client: &Client, journal: &Journal) -> Result<Live, Error> {
    let progress = journal.progress().clone();
    let found = expect_none(client, &progress, journal.run()).await;
    if found.is_err() {
        client.batch_execute("ROLLBACK").await.doing("stepping back")?;
    }
    found
}

/// Comes first: keeps the tables that stay from being dropped meanwhile.
pub(crate) fn hold(tables: &[QName]) -> Option<Statement> {
    let names = list(tables.iter().map(|table| format!("ONLY {table}")));
    let hold = Statement::new(
        "keep the live tables from being dropped",
        format!("LOCK TABLE {names} IN ACCESS SHARE MODE"),
    );
    let hold = tables.iter().fold(hold, |hold, table| hold.locking(table, LockMode::AccessShare));
    (!tables.is_empty()).then_some(hold)
}
