//! The plan's steps in the swap's own transaction, and their rehearsal before it.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::journal::Journal;
use crate::lifecycle::{Fact, LaneDesign, Way};
use crate::pg::sql::{LockMode, lexer};
use crate::pg::{Colour, QName, rolled_back};
use crate::phase::is_lock_wait;
use crate::phase::steps::{self, OWN_PATH, SEARCH_PATH};
use crate::plan::{Step, StepTime};
use crate::run::Run;

/// A statement that failed: its step, its number, and why.
struct Failed<'a> {
    step: &'a Step,
    statement: usize,
    source: tokio_postgres::Error,
}

/// The steps of a swap in this direction that are left.
pub(super) fn left(journal: &Journal, who: Colour) -> (Way, Vec<Step>) {
    let way = match who {
        Colour::Green => Way::Up,
        Colour::Blue => Way::Down,
    };
    (way, steps::left(journal, StepTime::InSwap, way))
}

/// What they lock against clients.
pub(super) fn locked(journal: &Journal, who: Colour) -> Vec<(QName, LockMode)> {
    let (way, left) = left(journal, who);
    steps::locked(&left, way)
}

/// Executes, or undoes, the steps of the swap in its transaction, and writes their facts; `restored` gives the session its
/// own settings back.
///
/// # Errors
/// Whether a lock or the time was lacking, as a sentence; or the error.
pub(super) async fn execute(
    journal: &Journal,
    client: &Client,
    who: Colour,
    restored: &str,
) -> Result<Result<Vec<Fact>, String>, Error> {
    let (way, left) = left(journal, who);
    let mut facts = Vec::new();
    if left.is_empty() {
        return Ok(Ok(facts));
    }
    client.batch_execute(SEARCH_PATH).await.doing("executing the plan's steps")?;
    for step in &left {
        if let Err(failed) = statements(client, step, way, |sql| sql.to_owned()).await {
            let what = steps::doing(step, way);
            return match failed.source.code() {
                Some(&SqlState::QUERY_CANCELED) => Ok(Err(format!("{what} took too long"))),
                _ if is_lock_wait(&failed.source) => {
                    Ok(Err(format!("{what}: a lock was not granted in time")))
                }
                _ => Err(error(failed, way)),
            };
        }
        facts.push(Fact::StepDone { step: step.name.clone(), way });
    }
    client.batch_execute(&format!("{OWN_PATH}; {restored}")).await.doing("executing the plan's steps")?;
    for fact in &facts {
        journal.write(client, fact).await?;
    }
    Ok(Ok(facts))
}

async fn statements<'a>(
    client: &Client,
    step: &'a Step,
    way: Way,
    text: impl Fn(&str) -> String,
) -> Result<(), Failed<'a>> {
    let script = steps::script(step, way).into_iter();
    for (number, statement) in script.flat_map(|script| &script.statements).enumerate() {
        let executed = client.batch_execute(&text(&statement.sql)).await;
        executed.map_err(|source| Failed { step, statement: number, source })?;
    }
    Ok(())
}

fn error(failed: Failed<'_>, way: Way) -> Error {
    let doing = steps::doing(failed.step, way);
    let source = Error::Postgres { doing, source: failed.source };
    steps::failed(failed.step, way, Some(failed.statement), source)
}

/// Tries the steps of the swap on green where it is, there and back, in a transaction that is rolled back. What only the
/// server can find out at the time (DO, CALL) is not tried, nor is what follows it.
pub(super) async fn rehearse(run: &Run<'_>) -> Result<(), Error> {
    let (way, mut left) = left(&run.journal, Colour::Green);
    let is_opaque = |step: &Step| {
        let scripts = [Some(&step.up), step.down.as_ref()].into_iter().flatten();
        let mut texts = scripts.flat_map(|script| &script.statements);
        texts.any(|one| {
            let first = one.sql.get(..4).unwrap_or_default().to_lowercase();
            first == "call" || first.trim_end() == "do" || first.starts_with("do$")
        })
    };
    let known = left.iter().position(is_opaque).unwrap_or(left.len());
    left.truncate(known);
    if left.is_empty() {
        return Ok(());
    }
    let prepared = crate::phase::prepared(run)?;
    let text = |sql: &str| on_green(sql, &prepared.lanes);
    let session = run.connect("steps").await?;
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = '100ms'; SET LOCAL statement_timeout = '{}ms'; {SEARCH_PATH}",
        run.settings().swap.max_write_stall.as_millis()
    );
    let tried = async {
        for step in &left {
            statements(&session, step, way, text).await.map_err(|failed| (failed, way))?;
        }
        for step in left.iter().rev() {
            statements(&session, step, Way::Down, text).await.map_err(|failed| (failed, Way::Down))?;
        }
        Ok(())
    };
    match rolled_back(&session, &begin, tried).await.doing("rehearsing the plan's steps")? {
        // The attempt itself will show.
        Err((failed, _)) if is_lock_wait(&failed.source) => Ok(()),
        Err((failed, way)) if failed.source.code() == Some(&SqlState::QUERY_CANCELED) => {
            let (why, place) =
                ("it takes longer than `max_write_stall`".to_owned(), "a rehearsal".to_owned());
            Err(Error::Step { step: failed.step.name.clone(), place, why, way, hint: None })
        }
        Err((failed, way)) => Err(error(failed, way)),
        Ok(()) => Ok(()),
    }
}

/// A statement on the live tables as one on green, where that is before the swap.
fn on_green(sql: &str, lanes: &[LaneDesign]) -> String {
    lanes.iter().fold(sql.to_owned(), |sql, lane| {
        let green = lane.green.at_home();
        let sql = lexer::renamed(&sql, &lane.table, &green);
        // Names without a schema are sought in public.
        let is_meant = |other: &LaneDesign| other.table == lane.table || other.table.name != lane.table.name;
        match lane.table.schema.as_str() == "public" || lanes.iter().all(is_meant) {
            true => lexer::renamed_bare(&sql, lane.table.name.as_str(), &green),
            false => sql,
        }
    })
}
