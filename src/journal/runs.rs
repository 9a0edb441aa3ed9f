//! The runs of a database, read without taking them over.

use serde_json::Value;
use tokio_postgres::Client;

use super::{JournalError, schema};
use crate::lifecycle::{Fact, Progress};
use crate::pg::QName;
use crate::plan::{Settings, Step};

/// A run found in the journal.
pub struct RunRow {
    /// The run's short id.
    pub run: String,
    /// The name of its plan.
    pub plan_name: String,
    /// The plan it began with.
    pub plan: Value,
    /// Whether it has not ended.
    pub under_way: bool,
}

/// A run, for display.
pub struct Summary {
    /// The run and its plan.
    pub found: RunRow,
    /// The fold of its facts.
    pub progress: Progress,
    /// When it began, and when its last fact was written; ISO 8601.
    pub times: (String, String),
}

/// The steps of a plan in the journal.
pub(super) fn steps(plan: &Value) -> Result<Vec<Step>, serde_json::Error> {
    plan.get("steps").map_or(Ok(Vec::new()), |steps| serde_json::from_value(steps.clone()))
}

/// The latest run with this short id, or of the plan with this name.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn find(client: &Client, run_or_plan: &str) -> Result<Option<RunRow>, JournalError> {
    if !schema::exists(client).await? {
        return Ok(None);
    }
    let row = client
        .query_opt(
            "SELECT run, plan_name, plan, ended_at IS NULL FROM projh_bluegreen.run \
             WHERE run = $1 OR plan_name = $1 ORDER BY started_at DESC LIMIT 1",
            &[&run_or_plan],
        )
        .await
        .map_err(JournalError::doing("read"))?;
    Ok(row.map(|row| RunRow {
        run: row.get(0),
        plan_name: row.get(1),
        plan: row.get(2),
        under_way: row.get(3),
    }))
}

/// A run that has not ended and has this table.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn run_of_table(client: &Client, table: &QName) -> Result<Option<String>, JournalError> {
    if !schema::exists(client).await? {
        return Ok(None);
    }
    let sql = "SELECT run FROM projh_bluegreen.run WHERE ended_at IS NULL AND EXISTS (SELECT FROM \
               pg_catalog.jsonb_array_elements(plan->'tables') t WHERE t->'table'->>'schema' = $1 AND t->'table'->>'name' = $2) \
               ORDER BY started_at DESC LIMIT 1";
    let row = client.query_opt(sql, &[&table.schema.as_str(), &table.name.as_str()]).await;
    Ok(row.map_err(JournalError::doing("read"))?.map(|row| row.get(0)))
}

/// The settings that the latest run with this short id, or of the plan with this name, was executed with last.
///
/// # Errors
/// If the server rejected the query, the connection was lost, or the settings cannot be read.
pub async fn settings(client: &Client, run_or_plan: &str) -> Result<Option<Settings>, JournalError> {
    // A journal of version 0.1.0 has none.
    let sql = "SELECT to_jsonb(r)->'settings' FROM projh_bluegreen.run r \
               WHERE run = $1 OR plan_name = $1 ORDER BY started_at DESC LIMIT 1";
    if !schema::exists(client).await? {
        return Ok(None);
    }
    let row = client.query_opt(sql, &[&run_or_plan]).await.map_err(JournalError::doing("read"))?;
    let settings = row.and_then(|row| row.get::<_, Option<Value>>(0));
    let unreadable = |source| JournalError::Unreadable { run: run_or_plan.to_owned(), source };
    settings
        .filter(|settings| !settings.is_null())
        .map(|settings| serde_json::from_value(settings).map_err(unreadable))
        .transpose()
}

/// The names of the gates that a run was executed with last; `None` if an earlier version of the program has executed it.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn gates(client: &Client, run: &str) -> Result<Option<Vec<String>>, JournalError> {
    let sql = "SELECT to_jsonb(r)->'gates' FROM projh_bluegreen.run r WHERE run = $1";
    let row = client.query_one(sql, &[&run]).await.map_err(JournalError::doing("read"))?;
    Ok(row.get::<_, Option<Value>>(0).and_then(|gates| serde_json::from_value(gates).ok()))
}

/// The latest run with this short id, or of the plan with this name, and its state. `settled`: read once no transaction
/// of its orchestrator is in progress, each of which locks the run's row.
///
/// # Errors
/// If the server rejected the query, the connection was lost, or a fact cannot be read.
pub async fn latest(
    client: &Client,
    run_or_plan: &str,
    settled: bool,
) -> Result<Option<Summary>, JournalError> {
    if settled && let Some(found) = find(client, run_or_plan).await? {
        let sql = "SELECT FROM projh_bluegreen.run WHERE run = $1 FOR UPDATE";
        client.query(sql, &[&found.run]).await.map_err(JournalError::doing("waited for"))?;
    }
    Ok(summaries(client, Some(run_or_plan)).await?.into_iter().next())
}

/// Every run of this database, latest first.
///
/// # Errors
/// If the server rejected the query, the connection was lost, or a fact cannot be read.
pub async fn list(client: &Client) -> Result<Vec<Summary>, JournalError> {
    summaries(client, None).await
}

/// Every run, latest first; or only the latest with this short id, or of the plan with this name.
async fn summaries(client: &Client, run_or_plan: Option<&str>) -> Result<Vec<Summary>, JournalError> {
    if !schema::exists(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT r.run, r.plan_name, r.plan, r.ended_at IS NULL, to_char(r.started_at, 'YYYY-MM-DD HH24:MI:SSOF'), \
               coalesce((SELECT to_char(max(f.at), 'YYYY-MM-DD HH24:MI:SSOF') FROM projh_bluegreen.fact f \
               WHERE f.run = r.run), '') FROM projh_bluegreen.run r \
               WHERE $1::text IS NULL OR r.run = $1 OR r.plan_name = $1 \
               ORDER BY r.started_at DESC LIMIT CASE WHEN $1::text IS NULL THEN NULL ELSE 1 END";
    let mut runs = Vec::new();
    for row in client.query(sql, &[&run_or_plan]).await.map_err(JournalError::doing("read"))? {
        let found =
            RunRow { run: row.get(0), plan_name: row.get(1), plan: row.get(2), under_way: row.get(3) };
        let progress = read(client, &found.run).await?;
        runs.push(Summary { found, progress, times: (row.get(4), row.get(5)) });
    }
    Ok(runs)
}

/// Reads and folds the facts of a run.
pub(super) async fn read(client: &Client, run: &str) -> Result<Progress, JournalError> {
    let sql = "SELECT fact FROM projh_bluegreen.fact WHERE run = $1 ORDER BY n";
    let rows = client.query(sql, &[&run]).await.map_err(JournalError::doing("read"))?;
    let mut progress = Progress::default();
    for row in rows {
        let fact: Fact = serde_json::from_value(row.get(0))
            .map_err(|source| JournalError::Unreadable { run: run.to_owned(), source })?;
        progress.add(&fact)?;
    }
    Ok(progress)
}
