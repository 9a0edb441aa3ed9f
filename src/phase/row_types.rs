//! What sessions cache of blue: its row type.
//!
//! PL/pgSQL and languages like it look up the row type of a table once per session, and cache its OID. In a session
//! older than the swap that is blue's: calls work while blue exists, and fail once it is dropped ("cache lookup failed
//! for type"), until the client reconnects. Only functions whose text names the table can do so.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::{Event, WaitCause};
use crate::finding::{CheckId, Finding};
use crate::lifecycle::Prepared;
use crate::pg::QName;
use crate::pg::activity::{self, ActivityError, Backend};

use super::locks::Patience;

/// How often the sessions are looked up.
const EVERY: Duration = Duration::from_millis(500);
/// How often a wait that continues is reported again.
const REPORT_AGAIN: Duration = Duration::from_secs(60);
/// Time allowed for the swap's commit: a session that began meanwhile may have found blue, too.
const COMMITTING_SECONDS: f64 = 1.0;
/// The most sessions or functions that are named.
const NAMED: usize = 5;

/// Functions that may cache the row type of a table for a session.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn functions(client: &Client, table: &QName) -> Result<Vec<String>, Error> {
    let sql = include_str!("../../sql/catalog/functions_that_name.sql");
    let rows = client.query(sql, &[&table.name.as_str()]).await;
    let rows = rows.doing("reading the functions that name a table")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Waits until no session is left that may have cached blue's row type; with `now`, only reports them.
pub(super) async fn wait_for_old_sessions(
    client: &Client,
    prepared: &Prepared,
    patience: &Patience<'_>,
    now: bool,
) -> Result<(), Error> {
    let mut named = Vec::new();
    for lane in &prepared.lanes {
        named.extend(functions(client, &lane.table).await?);
    }
    if named.is_empty() {
        return Ok(());
    }
    named.dedup();
    let swapped = swapped_at(client, patience.run).await?;
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

/// When the swap was recorded, in seconds since 1970; its COMMIT came right after.
async fn swapped_at(client: &Client, run: &str) -> Result<f64, Error> {
    let sql = "SELECT extract(epoch FROM max(at))::float8 FROM projh_bluegreen.fact \
               WHERE run = $1 AND fact->>'fact' = 'swapped'";
    let row = client.query_one(sql, &[&run]).await.doing("reading when the swap was")?;
    Ok(row.get(0))
}

fn text(old: &[Backend], functions: &[String], now: bool) -> String {
    let sessions: Vec<String> = old.iter().map(ToString::to_string).collect();
    let why = format!(
        "a session that called {} before the swap may have cached blue's row type, and its next call fails with \
         \"cache lookup failed for type\" once blue is dropped, until the client reconnects",
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
    let named = of.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match of.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}
