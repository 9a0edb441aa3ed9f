//! Beginning a run, taking one over, and closing it.

use std::sync::Mutex;

use tokio_postgres::Client;

use super::lock;
use super::runs::{self, RunRow, find, read};
use super::{Held, Journal, JournalError, requests, schema};
use crate::crash;
use crate::lifecycle::{Ending, Fact, Progress};
use crate::pg::ConnectionRole;
use crate::pg::connect::{Session, Target};
use crate::plan::{self, Plan};

/// The run, which has not ended.
async fn under_way(client: &Client, run_or_plan: &str) -> Result<RunRow, JournalError> {
    let found = find(client, run_or_plan).await?;
    let found = found.ok_or_else(|| JournalError::NoRun(run_or_plan.to_owned()))?;
    if found.under_way {
        return Ok(found);
    }
    let ending = ending(client, &found.run).await?;
    Err(JournalError::Ended { run: found.run, plan: found.plan_name, ending })
}

/// How a run ended that has ended.
///
/// # Errors
/// If the server rejected the query, the connection was lost, or a fact cannot be read.
pub async fn ending(client: &Client, run: &str) -> Result<Ending, JournalError> {
    Ok(read(client, run).await?.ended.unwrap_or(Ending::Finished))
}

/// A run that is locked, and not taken over yet: what is refused now leaves no trace in it.
pub struct Locked {
    session: Session,
    found: RunRow,
    progress: Progress,
    is_new: bool,
}

impl Locked {
    /// The session that holds the lock.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The run's short id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.found.run
    }

    /// The state of the run.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes the run over.
    ///
    /// # Errors
    /// If the server rejected a statement, or the connection was lost.
    pub async fn take_over(self) -> Result<Journal, JournalError> {
        if self.is_new {
            let closed = requests::close(&self.session, &self.found.run, true).await;
            closed.map_err(JournalError::doing("taken over"))?;
        }
        Journal::take_over(self.session, self.found).await
    }
}

impl Journal {
    /// Begins a run of `plan`, or takes over its unfinished one. `lost` is what this process held before: it goes on with
    /// that run, and with no other.
    ///
    /// # Errors
    /// If another orchestrator holds the run, the plan is not the one that it began with, or the run that was lost has
    /// ended meanwhile.
    pub async fn begin(target: &Target, plan: &Plan, lost: Option<&Held>) -> Result<Self, JournalError> {
        let session =
            target.connect(ConnectionRole::of_command("journal"), &[("lock_timeout", "10s")]).await?;
        schema::migrate(&session).await?;
        lock::take(&session, &plan.name, lost.map(|lost| &lost.backend)).await?;
        if let Some(lost) = lost {
            under_way(&session, &lost.run).await?;
        }
        let json = serde_json::to_value(plan)
            .map_err(|source| JournalError::Unwritable { run: plan.name.clone(), source })?;
        let found = match find(&session, &plan.name).await?.filter(|found| found.under_way) {
            Some(found) => {
                let changes = plan::changes(&found.plan, &json);
                if !changes.is_empty() {
                    return Err(JournalError::PlanChanged { run: found.run, changes });
                }
                if lost.is_none() {
                    requests::close(&session, &found.run, true)
                        .await
                        .map_err(JournalError::doing("taken over"))?;
                }
                if let Some(why) = read(&session, &found.run).await?.only_rollback() {
                    return Err(JournalError::OnlyRollback { run: found.run, why });
                }
                found
            }
            None => {
                let id = uuid::Uuid::new_v4().simple().to_string();
                let run = id.get(..8).unwrap_or(&id).to_owned();
                let sql = "INSERT INTO projh_bluegreen.run (run, plan_name, plan) VALUES ($1, $2, $3)";
                session
                    .execute(sql, &[&run, &plan.name, &json])
                    .await
                    .map_err(JournalError::doing("written"))?;
                RunRow { run, plan_name: plan.name.clone(), plan: json, under_way: true }
            }
        };
        let journal = Self::take_over(session, found).await?;
        let settings = serde_json::to_value(&plan.settings)
            .map_err(|source| JournalError::Unwritable { run: journal.run.clone(), source })?;
        let gates = serde_json::json!(plan.gates.iter().map(|gate| &gate.name).collect::<Vec<_>>());
        let sql = "UPDATE projh_bluegreen.run SET settings = $2, gates = $3 WHERE run = $1";
        let written = journal.session.execute(sql, &[&journal.run, &settings, &gates]).await;
        written.map_err(JournalError::doing("written"))?;
        Ok(journal)
    }

    /// Locks an unfinished run, by its short id or its plan's name. `lost` is what this process held before: it goes
    /// on with that run, and with no other.
    ///
    /// # Errors
    /// If there is no such run, it has ended, or another orchestrator holds it.
    pub async fn lock(
        target: &Target,
        run_or_plan: &str,
        lost: Option<&Held>,
    ) -> Result<Locked, JournalError> {
        let session =
            target.connect(ConnectionRole::of_command("journal"), &[("lock_timeout", "10s")]).await?;
        let found = under_way(&session, lost.map_or(run_or_plan, |lost| &lost.run)).await?;
        schema::migrate(&session).await?;
        lock::take(&session, &found.plan_name, lost.map(|lost| &lost.backend)).await?;
        // Whoever had the lock may have ended it.
        let found = under_way(&session, &found.run).await?;
        let progress = read(&session, &found.run).await?;
        Ok(Locked { session, found, progress, is_new: lost.is_none() })
    }

    /// Raises the epoch, which waits for transactions of an earlier orchestrator that are about to commit and makes all
    /// others fail; only then are the facts read.
    async fn take_over(session: Session, found: RunRow) -> Result<Self, JournalError> {
        let sql = "SELECT set_config('application_name', $1, false)";
        let name = ConnectionRole::of_run(&found.run, "journal").to_string();
        session.execute(sql, &[&name]).await.map_err(JournalError::doing("taken over"))?;
        lock::end_leftovers(&session, &found.run).await?;
        let sql = "UPDATE projh_bluegreen.run SET epoch = epoch + 1 WHERE run = $1 RETURNING epoch";
        let row = session.query_one(sql, &[&found.run]).await.map_err(JournalError::doing("taken over"))?;
        let epoch: i64 = row.get(0);
        let progress = read(&session, &found.run).await?;
        let backend = lock::backend(&session).await?;
        let unreadable = |source| JournalError::Unreadable { run: found.run.clone(), source };
        let steps = runs::steps(&found.plan).map_err(unreadable)?;
        let journal = Self {
            session,
            backend,
            run: found.run,
            plan: found.plan_name,
            steps,
            epoch,
            resumed: epoch > 1,
            progress: Mutex::new(progress),
        };
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        journal.record(Fact::Started { host, pid: std::process::id(), version }).await?;
        Ok(journal)
    }

    /// Writes the run's last fact and ends the run, in one transaction with what was done on `client`.
    ///
    /// # Errors
    /// See [`Journal::commit`].
    pub async fn end(&self, client: &Client, fact: Fact) -> Result<(), JournalError> {
        self.write(client, &fact).await?;
        let sql = "UPDATE projh_bluegreen.run SET ended_at = clock_timestamp() WHERE run = $1";
        client.execute(sql, &[&self.run]).await.map_err(JournalError::doing("closed"))?;
        client.batch_execute("COMMIT").await.map_err(JournalError::doing("committed"))?;
        crash::around("after", &fact);
        self.take_in(&fact)
    }
}
