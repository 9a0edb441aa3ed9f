//! Finish: drops blue, after which there is no going back. Only the journal is left of the run.

use super::locks::Patience;
use super::row_types;
use super::settle;
use crate::context::Context;
use crate::error::Error;
use crate::journal::Journal;
use crate::lane;
use crate::lifecycle::{Fact, Phase, Prepared};
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Ident, QName};

/// Drops blue and both private schemas, once no session is left that this would break; `now` does not wait for those.
/// `as_is`: even if work after the swap is left, which then stays undone.
///
/// # Errors
/// If the run has not come that far, an object depends on blue, the server rejected a statement, or the connection was
/// lost.
pub(crate) async fn run(cx: &Context, journal: &Journal, as_is: bool, now: bool) -> Result<(), Error> {
    let patience = &Patience::of(cx, journal);
    let broken = journal.progress().broken.clone();
    let (swapped, settled, is_reversible, is_work_left, prepared) = {
        let progress = journal.progress();
        let is_work_left = progress.next_phase().is_some_and(|phase| phase != Phase::Soak);
        let (swapped, is_reversible) = (progress.swapped.is_some(), progress.is_reversible());
        (swapped, progress.settled, is_reversible, is_work_left, progress.prepared.clone())
    };
    let Some(prepared) = prepared.filter(|_| swapped) else {
        let what = "the run has not been swapped yet, so there is nothing to finish";
        return Err(Error::Usage(format!("{what}; `projh-bluegreen execute` continues it")));
    };
    if is_work_left && !as_is {
        let what = "some work after the swap is left: `projh-bluegreen execute` continues it, or says what prevents it";
        return Err(Error::Usage(format!("{what}; `finish --as-is` leaves it undone and drops blue")));
    }
    if let Some((_, why)) = broken.filter(|_| !as_is) {
        let what = format!("blue no longer follows green, so that what differs was not compared: {why}");
        return Err(Error::Usage(format!("{what}. `finish --as-is` drops blue all the same")));
    }
    row_types::wait_for_old_sessions(journal.session(), &prepared, patience, now).await?;
    if !settled || is_reversible {
        settle::end_streams(patience, journal.session(), &prepared).await?;
    }
    patience.execute(journal.session(), &joined(&statements(&prepared)), "dropping blue").await?;
    journal.end(journal.session(), Fact::Finished).await?;
    Ok(())
}

/// The statements of finish, executed in one transaction.
pub(crate) fn statements(prepared: &Prepared) -> Vec<Statement> {
    let drop_table = |table: &QName| {
        Statement::on(table, LockMode::AccessExclusive, "drop", format!("DROP TABLE IF EXISTS {table}"))
    };
    let drop_schema =
        |schema: &Ident| Statement::new("drop a private schema", format!("DROP SCHEMA IF EXISTS {schema}"));
    let blues = prepared.lanes.iter().map(|lane| drop_table(&lane.table.in_schema(&prepared.blue_home)));
    let mut statements: Vec<Statement> = blues.collect();
    for home in [&prepared.blue_home, &prepared.green_home] {
        for number in 0..prepared.lanes.len() {
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
