//! One orchestrator per plan: an advisory lock of the journal's session, which the server releases
//! when the process ends.
//!
//! The server can hold the lock a little longer than the process lives: a backend first finishes its statement,
//! and one whose client was cut off notices only by unanswered keepalive probes. So the lock is tried several
//! times, the session that this very process has lost is terminated, and whoever gets the lock terminates what
//! earlier orchestrators left running.

use std::time::Duration;

use tokio_postgres::Client;

use super::JournalError;
use super::runs::find;
use crate::pg::ConnectionRole;

/// How often the lock is tried, 200 ms apart: 3 s in all.
const TRIES: u32 = 16;
const PAUSE: Duration = Duration::from_millis(200);

/// A session as the server identifies it: process id and start time, because process ids are reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend(String);

const KEY: &str = "hashtextextended('projh_bluegreen:' || $1, 0)";

/// The backend that serves `client`.
pub(super) async fn backend(client: &Client) -> Result<Backend, JournalError> {
    let sql =
        "SELECT format('%s since %s', pid, backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.map_err(JournalError::doing("read"))?;
    Ok(Backend(row.get(0)))
}

/// Takes the lock of a plan. `lost` is the session in which this process held it before.
pub(super) async fn take(
    client: &Client,
    plan_name: &str,
    lost: Option<&Backend>,
) -> Result<(), JournalError> {
    let sql = format!("SELECT pg_try_advisory_lock({KEY})");
    for _ in 0..TRIES {
        let row = client.query_one(&sql, &[&plan_name]).await.map_err(JournalError::doing("locked"))?;
        if row.get::<_, bool>(0) {
            return Ok(());
        }
        match holder(client, plan_name).await? {
            Some((pid, backend)) if lost == Some(&backend) => end(client, pid).await?,
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(held(client, plan_name).await?)
}

/// Terminates what earlier orchestrators of the run have left running. Requires the lock.
pub(super) async fn end_leftovers(client: &Client, run: &str) -> Result<(), JournalError> {
    let sql = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
               WHERE starts_with(application_name, $1) AND datname = current_database() \
               AND usename = current_user AND pid <> pg_backend_pid()";
    let ours = ConnectionRole::prefix(Some(run));
    client.query_one(sql, &[&ours]).await.map_err(JournalError::doing("taken over"))?;
    Ok(())
}

async fn end(client: &Client, pid: i32) -> Result<(), JournalError> {
    let sql = "SELECT pg_terminate_backend($1, 5000)";
    client.query_one(sql, &[&pid]).await.map_err(JournalError::doing("locked"))?;
    Ok(())
}

/// Who holds the lock; `None` if it has been released meanwhile.
async fn holder(client: &Client, plan_name: &str) -> Result<Option<(i32, Backend)>, JournalError> {
    let sql = format!(
        "SELECT l.pid, format('%s since %s', l.pid, a.backend_start) FROM pg_locks l \
         LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (l.classid::bigint << 32 | l.objid::bigint) = {KEY} LIMIT 1"
    );
    let row = client.query_opt(&sql, &[&plan_name]).await.map_err(JournalError::doing("read"))?;
    Ok(row.map(|row| (row.get(0), Backend(row.get(1)))))
}

/// Whether an orchestrator holds a run.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn is_held(client: &Client, run: &str) -> Result<bool, JournalError> {
    let Some(found) = find(client, run).await? else { return Ok(false) };
    Ok(holder(client, &found.plan_name).await?.is_some())
}

/// Who holds the runs of a plan: version, host, process id and start; `None` if nobody does.
///
/// # Errors
/// If the server rejected a query, or the connection was lost.
pub async fn holder_of(client: &Client, plan_name: &str) -> Result<Option<String>, JournalError> {
    if holder(client, plan_name).await?.is_none() {
        return Ok(None);
    }
    let run = find(client, plan_name).await?.map_or_else(|| "?".to_owned(), |found| found.run);
    described(client, &run).await.map(Some)
}

/// For how many seconds no session of whoever executes a run has sent anything; `None` if this role cannot see it. It looks for
/// requests once a second.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn silent_for(client: &Client, run: &str) -> Result<Option<f64>, JournalError> {
    let sql = "SELECT extract(epoch FROM clock_timestamp() - max(greatest(query_start, state_change)))::float8 \
               FROM pg_stat_activity WHERE starts_with(application_name, $1) AND datname = current_database() \
               AND pid <> pg_backend_pid()";
    let ours = ConnectionRole::prefix(Some(run));
    let row = client.query_one(sql, &[&ours]).await.map_err(JournalError::doing("read"))?;
    Ok(row.get(0))
}

async fn held(client: &Client, plan_name: &str) -> Result<JournalError, JournalError> {
    let found = find(client, plan_name).await?;
    let run = found.map_or_else(|| "?".to_owned(), |found| found.run);
    let who = described(client, &run).await?;
    let backend = holder(client, plan_name).await?.map(|(pid, _)| pid);
    Ok(JournalError::Held { run, plan: plan_name.to_owned(), holder: who, backend })
}

/// The orchestrator that took a run over last.
async fn described(client: &Client, run: &str) -> Result<String, JournalError> {
    let sql = "SELECT format('%s on %s, process %s, since %s', 'projh-bluegreen ' || (fact->>'version'), \
               fact->>'host', fact->>'pid', to_char(at, 'YYYY-MM-DD HH24:MI:SSOF')) \
               FROM projh_bluegreen.fact WHERE run = $1 AND fact->>'fact' = 'started' ORDER BY n DESC LIMIT 1";
    let who = client.query_opt(sql, &[&run]).await.map_err(JournalError::doing("read"))?;
    Ok(who.map_or_else(|| "one that has just begun".to_owned(), |row| row.get(0)))
}
