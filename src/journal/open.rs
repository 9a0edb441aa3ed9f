//! Finding runs, and taking one over.

use std::sync::Mutex;

use serde_json::Value;
use tokio_postgres::Client;

use super::lock::{self, Backend};
use super::{Journal, JournalError, schema};
use crate::lifecycle::{Ending, Fact, Progress};
use crate::pg::connect::{Session, Target};
use crate::plan::{self, Plan};

/// A run found in the database.
pub struct Found {
    /// Its short id.
    pub run: String,
    /// The plan's name.
    pub plan_name: String,
    /// The plan it began with.
    pub plan: Value,
    /// It has not ended.
    pub under_way: bool,
}

/// A run, for people.
pub struct Summary {
    /// The run.
    pub found: Found,
    /// Where it stands.
    pub progress: Progress,
    /// When it began, and when the last fact was written; ISO 8601.
    pub times: (String, String),
}

/// The latest run by its short id or its plan's name.
///
/// # Errors
/// If the server said no.
pub async fn find(client: &Client, run_or_plan: &str) -> Result<Option<Found>, JournalError> {
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
    Ok(row.map(|row| Found {
        run: row.get(0),
        plan_name: row.get(1),
        plan: row.get(2),
        under_way: row.get(3),
    }))
}

/// Every run of this database, the latest first.
///
/// # Errors
/// If the server said no, or a fact cannot be read.
pub async fn list(client: &Client) -> Result<Vec<Summary>, JournalError> {
    if !schema::exists(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT r.run, r.plan_name, r.plan, r.ended_at IS NULL, to_char(r.started_at, 'YYYY-MM-DD HH24:MI:SSOF'), \
               coalesce((SELECT to_char(max(f.at), 'YYYY-MM-DD HH24:MI:SSOF') FROM projh_bluegreen.fact f \
               WHERE f.run = r.run), '') FROM projh_bluegreen.run r ORDER BY r.started_at DESC";
    let mut runs = Vec::new();
    for row in client.query(sql, &[]).await.map_err(JournalError::doing("read"))? {
        let found = Found { run: row.get(0), plan_name: row.get(1), plan: row.get(2), under_way: row.get(3) };
        let progress = read(client, &found.run).await?;
        runs.push(Summary { found, progress, times: (row.get(4), row.get(5)) });
    }
    Ok(runs)
}

impl Journal {
    /// Begins a run of `plan`, or takes over the one that is under way. `lost` is the session in which
    /// this process held it before, where it did.
    ///
    /// # Errors
    /// If another orchestrator holds it, or the plan is not the one it began with.
    pub async fn begin(target: &Target, plan: &Plan, lost: Option<&Backend>) -> Result<Self, JournalError> {
        let session = target.connect("projh-bluegreen journal", &[("lock_timeout", "10s")]).await?;
        schema::migrate(&session).await?;
        lock::take(&session, &plan.name, lost).await?;
        let json = serde_json::to_value(plan)
            .map_err(|source| JournalError::Unreadable { run: plan.name.clone(), source })?;
        match find(&session, &plan.name).await?.filter(|found| found.under_way) {
            Some(found) => {
                let changes = plan::changes(&found.plan, &json);
                if !changes.is_empty() {
                    return Err(JournalError::PlanChanged { run: found.run, changes });
                }
                Self::take_over(session, found).await
            }
            None => {
                let id = uuid::Uuid::new_v4().simple().to_string();
                let run = id.get(..8).unwrap_or(&id).to_owned();
                let sql = "INSERT INTO projh_bluegreen.run (run, plan_name, plan) VALUES ($1, $2, $3)";
                session
                    .execute(sql, &[&run, &plan.name, &json])
                    .await
                    .map_err(JournalError::doing("written"))?;
                Self::take_over(
                    session,
                    Found { run, plan_name: plan.name.clone(), plan: json, under_way: true },
                )
                .await
            }
        }
    }

    /// Takes over a run that is under way, by its short id or its plan's name.
    ///
    /// # Errors
    /// If there is none, or another orchestrator holds it.
    pub async fn resume(target: &Target, run_or_plan: &str) -> Result<Self, JournalError> {
        let session = target.connect("projh-bluegreen journal", &[("lock_timeout", "10s")]).await?;
        let found = find(&session, run_or_plan).await?;
        let found = found.ok_or_else(|| JournalError::NoRun(run_or_plan.to_owned()))?;
        if !found.under_way {
            let how = match read(&session, &found.run).await?.ended {
                Some(Ending::RolledBack) => "rolled back",
                _ => "finished",
            };
            return Err(JournalError::Ended { run: found.run, plan: found.plan_name, how });
        }
        schema::migrate(&session).await?;
        lock::take(&session, &found.plan_name, None).await?;
        Self::take_over(session, found).await
    }

    /// Raises the epoch, which waits for transactions of an earlier orchestrator that are about to
    /// commit and dooms all others; only then are the facts read.
    async fn take_over(session: Session, found: Found) -> Result<Self, JournalError> {
        let sql = "SELECT set_config('application_name', $1, false)";
        let name = format!("projh-bluegreen {} journal", found.run);
        session.execute(sql, &[&name]).await.map_err(JournalError::doing("taken over"))?;
        lock::end_leftovers(&session, &found.run).await?;
        let sql = "UPDATE projh_bluegreen.run SET epoch = epoch + 1 WHERE run = $1 RETURNING epoch";
        let row = session.query_one(sql, &[&found.run]).await.map_err(JournalError::doing("taken over"))?;
        let epoch: i64 = row.get(0);
        let progress = read(&session, &found.run).await?;
        let backend = lock::backend(&session).await?;
        let journal = Self {
            session,
            backend,
            run: found.run,
            plan: found.plan_name,
            epoch,
            resumed: epoch > 1,
            progress: Mutex::new(progress),
        };
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        journal.record(Fact::Started { host, pid: std::process::id(), version }).await?;
        Ok(journal)
    }

    /// Writes the run's last fact and closes it, in one transaction with what was done on `client`.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn end(&self, client: &Client, fact: Fact) -> Result<(), JournalError> {
        self.write(client, &fact).await?;
        let sql = "UPDATE projh_bluegreen.run SET ended_at = clock_timestamp() WHERE run = $1";
        client.execute(sql, &[&self.run]).await.map_err(JournalError::doing("closed"))?;
        client.batch_execute("COMMIT").await.map_err(JournalError::doing("committed"))?;
        self.take_in(&fact)
    }
}

async fn read(client: &Client, run: &str) -> Result<Progress, JournalError> {
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
