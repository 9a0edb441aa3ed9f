//! What sessions cache of a table: its row type.
//!
//! PL/pgSQL and languages like it look up the row type of a table once per session, and plan statements with its OID. After
//! a swap that is the other table's: statements that have a whole row as a parameter fail at once, and all once that table is
//! dropped ("cache lookup failed for type"), until the client reconnects. So the swap makes every session compile again
//! each function whose text names such a table, at the next call. What this role may not alter is waited for by `finish`.

use std::iter;
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::{Event, WaitCause};
use crate::finding::{CheckId, Finding};
use crate::lifecycle::{LaneDesign, Prepared};
use crate::pg::activity::{self, ActivityError, Backend};

use super::locks::Patience;

/// How long a function that somebody else is altering is waited for.
const WAIT_MS: u32 = 100;
/// How often the sessions are looked up.
const EVERY: Duration = Duration::from_millis(500);
/// How often a wait that continues is reported again.
const REPORT_AGAIN: Duration = Duration::from_secs(60);
/// Time allowed for the swap's commit: a session that began meanwhile may have found blue, too.
const COMMITTING_SECONDS: f64 = 1.0;
/// The most sessions or functions that are named.
const NAMED: usize = 5;

/// A function that may cache the row type of a table for a session.
pub(crate) struct Caching {
    /// Its name.
    pub(crate) name: String,
    /// Makes sessions compile it again; `None` if this role may not execute that.
    anew: Option<String>,
    /// The age of its row in the catalog, in transactions.
    age: i32,
}

impl Caching {
    /// Whether this role may make sessions compile it again.
    pub(crate) fn is_ours(&self) -> bool {
        self.anew.is_some()
    }
}

/// Functions whose text has one of these names.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn functions(
    client: &Client,
    names: &[&str],
) -> Result<Vec<Caching>, tokio_postgres::Error> {
    let sql = include_str!("../../sql/catalog/functions_that_name.sql");
    let rows = client.query(sql, &[&names]).await?;
    let of = |row: &tokio_postgres::Row| Caching {
        name: row.get("name"),
        anew: row.get::<_, bool>("may").then(|| row.get("anew")),
        age: row.get("age"),
    };
    Ok(rows.iter().map(of).collect())
}

/// What a swap makes sessions compile again, because it may have cached a row type that the swap exchanges.
pub(super) async fn of_swap(
    client: &Client,
    prepared: &Prepared,
) -> Result<Vec<Caching>, tokio_postgres::Error> {
    functions(client, &names(prepared)).await
}

/// Has sessions compile these functions again, once the transaction that is open is committed. Returns those that could not be
/// altered, with why; `finish` waits for sessions that may have called them.
pub(super) async fn compile_anew(
    client: &Client,
    functions: &[Caching],
) -> Result<Vec<String>, tokio_postgres::Error> {
    let mut left = Vec::new();
    for Caching { name, anew, .. } in functions {
        let Some(anew) = anew else { continue };
        // Somebody may be replacing it, which has the same effect.
        let sql =
            format!("SAVEPOINT anew; SET LOCAL lock_timeout = {WAIT_MS}; {anew}; RELEASE SAVEPOINT anew");
        match client.batch_execute(&sql).await {
            Ok(()) => {}
            Err(error) if error.code().is_none() => return Err(error),
            Err(error) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT anew").await?;
                left.push(format!("{name}: {}", crate::pg::describe(&error)));
            }
        }
    }
    Ok(left)
}

/// What a swap exchanges: the tables, and what depends on them and has a row type, or one in its signature.
fn names(prepared: &Prepared) -> Vec<&str> {
    prepared.lanes.iter().flat_map(names_of).collect()
}

fn names_of(lane: &LaneDesign) -> impl Iterator<Item = &str> {
    let blue = &lane.green.blue;
    let views = blue.views.iter().map(|view| &view.name);
    let views = views.chain(blue.materialized.iter().map(|view| &view.name));
    let functions = blue.row_functions.iter().map(|function| &function.function.name);
    iter::once(&lane.table).chain(views).chain(functions).map(|name| name.name.as_str())
}

/// Waits until no session is left that may have cached blue's row type; with `now`, only reports them.
pub(super) async fn wait_for_old_sessions(
    client: &Client,
    prepared: &Prepared,
    patience: &Patience<'_>,
    now: bool,
) -> Result<(), Error> {
    let doing = "reading the functions that name a table";
    let mut functions = functions(client, &names(prepared)).await.doing(doing)?;
    let (swapped, age) = swapped_at(client, patience.run).await?;
    functions.retain(|function| function.age > age);
    let mut named: Vec<String> = functions.into_iter().map(|function| function.name).collect();
    named.dedup();
    if named.is_empty() {
        return Ok(());
    }
    let mut reported: Option<(Vec<i32>, Instant)> = None;
    loop {
        let old = match activity::sessions_since_before(client, swapped + COMMITTING_SECONDS).await {
            Err(ActivityError::Blind(_)) if now => return Ok(()),
            Err(error @ ActivityError::Blind(_)) => return Err(blind(&error)),
            old => old?,
        };
        if old.is_empty() {
            return Ok(());
        }
        let pids: Vec<i32> = old.iter().map(|backend| backend.pid).collect();
        if reported.as_ref().is_none_or(|(before, at)| *before != pids || at.elapsed() > REPORT_AGAIN) {
            let text = text(&old, &named, now);
            patience.reporter.tell(&match now {
                true => Event::Notice { text },
                false => Event::Waiting { cause: WaitCause::RowType, text },
            });
            reported = Some((pids, Instant::now()));
        }
        if now {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// When the last swap was recorded, in seconds since 1970, and its age in transactions; its COMMIT came right after.
async fn swapped_at(client: &Client, run: &str) -> Result<(f64, i32), Error> {
    let sql = "SELECT extract(epoch FROM at)::float8, age(xmin) FROM projh_bluegreen.fact \
               WHERE run = $1 AND fact->>'fact' = 'swapped' ORDER BY at DESC LIMIT 1";
    let row = client.query_one(sql, &[&run]).await.doing("reading when the swap was")?;
    Ok((row.get(0), row.get(1)))
}

fn text(old: &[Backend], functions: &[String], now: bool) -> String {
    let sessions: Vec<String> = old.iter().map(ToString::to_string).collect();
    let why = format!(
        "a session that called {}, which could not be altered in the swap, may have cached blue's row type, and \
         its next call fails with \"cache lookup failed for type\" once blue is dropped, until the client reconnects",
        some(functions)
    );
    let them = some(&sessions);
    if now {
        return format!("blue is dropped although sessions are older than the swap: {them}; {why}");
    }
    let ends: Vec<String> = old.iter().map(|old| format!("pg_terminate_backend({})", old.pid)).collect();
    format!(
        "finish waits for sessions that are older than the swap: {them}; {why}. Let them reconnect (restart the \
         pool, or select {}); finish --now does not wait",
        some(&ends)
    )
}

fn blind(error: &ActivityError) -> Error {
    let what = format!("{error}: whether one is older than the swap");
    let hint = format!("{}; or finish --now", error.hint().unwrap_or_default());
    Error::Refused(vec![Finding::server(CheckId::OldSessions, what, hint)])
}

/// The first few, separated by commas, and how many more there are.
pub(crate) fn some(of: &[String]) -> String {
    crate::pg::some(of, NAMED, ", ")
}
