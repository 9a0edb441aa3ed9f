//! The journal: the only way in which effects become durable.
//!
//! Invariants: an effect inside PostgreSQL and its fact commit in one transaction; the state in memory follows after
//! the commit. Every such transaction is fenced by the run's epoch, which a new orchestrator raises before anything
//! else: one that was believed dead can no longer commit. If the answer to a COMMIT is lost, nothing is assumed: the
//! session ends, and the next one reads the facts.

mod lock;
mod open;
pub mod requests;
mod runs;
mod schema;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Client;

use crate::crash;
use crate::hangs_on::compatibility_steps;
use crate::lifecycle::{Ending, Fact, IllegalFact, Progress};
use crate::pg::Colour;
use crate::pg::Lsn;
use crate::pg::connect::{ConnectError, Session};
use crate::pg::copy::CopyRows;
use crate::plan::Step;

use lock::Backend;
pub use lock::{holder_of as holder, is_held, silent_for};
pub use open::{Locked, ending};
pub use runs::{Summary, gates, latest, list, run_of_table, settings};
pub use schema::{check_owners, migrate, unmade};

/// Why the journal could not be used, or the run not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The server rejected the statement, or the connection was lost.
    #[error("the journal could not be {doing}: {}", crate::pg::describe(source))]
    Postgres {
        /// What was being done, as a past participle: "read", "taken over".
        doing: &'static str,
        /// The error of the server or of the driver.
        source: tokio_postgres::Error,
    },
    /// The journal's own connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// An object of the journal belongs to a role whose code must not be executed.
    #[error(
        "the journal cannot be trusted: {object} belongs to {owner}, and {role} is not a member of that role"
    )]
    Stranger {
        /// The object: a schema, table or function.
        object: String,
        /// The role that owns it.
        owner: crate::pg::Ident,
        /// The role that the program is connected as.
        role: crate::pg::Ident,
    },
    /// A newer version of the program has made the journal.
    #[error(
        "the journal was made by a newer version of projh-bluegreen: its schema has version {found}, and this one knows {known}"
    )]
    Newer {
        /// The version of its schema.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },
    /// Another orchestrator holds the run's lock.
    #[error("run {run} of plan `{plan}` is held by another orchestrator: {holder}")]
    Held {
        /// The run's short id.
        run: String,
        /// The name of the plan.
        plan: String,
        /// Host, process id and start time of that orchestrator.
        holder: String,
        /// Process id of the backend that holds the lock; `None` if it has just been released.
        backend: Option<i32>,
    },
    /// Another orchestrator has taken the run over; this one must stop.
    #[error("run {run} was taken over by another orchestrator; this one has stopped acting on it")]
    Fenced {
        /// The run's short id.
        run: String,
    },
    /// The plan is not the one that the run began with.
    #[error("the plan has changed since run {run} began:\n  {}", changes.join("\n  "))]
    PlanChanged {
        /// The run's short id.
        run: String,
        /// The differences, one per line.
        changes: Vec<String>,
    },
    /// The run was aborted, or its rollback has begun.
    #[error("run {run} cannot continue: {why}")]
    OnlyRollback {
        /// The run's short id.
        run: String,
        /// Why only a rollback is left.
        why: String,
    },
    /// No run has this id, and none is of a plan with this name.
    #[error("this database has no run `{0}`, and no run of a plan named `{0}`")]
    NoRun(String),
    /// The run has ended.
    #[error("run {run} of plan `{plan}` has ended: it was {ending}")]
    Ended {
        /// The run's short id.
        run: String,
        /// The name of the plan.
        plan: String,
        /// How it ended: finished or rolled back.
        ending: Ending,
    },
    /// A fact could not be read: another version of the program wrote it.
    #[error("a fact of run {run} cannot be read by this version of the program: {source}")]
    Unreadable {
        /// The run's short id.
        run: String,
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
    /// A fact or a plan could not be written as JSON.
    #[error("a fact of run {run} cannot be written: {source}")]
    Unwritable {
        /// The run's short id, or the plan's name if the run has not begun.
        run: String,
        /// The error of the JSON writer.
        source: serde_json::Error,
    },
    /// The facts contradict each other.
    #[error(transparent)]
    Illegal(#[from] IllegalFact),
}

impl JournalError {
    /// Whether a new session may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => crate::pg::is_transient(source),
            Self::Connect(error) => error.is_transient(),
            Self::Stranger { .. }
            | Self::Newer { .. }
            | Self::Held { .. }
            | Self::Fenced { .. }
            | Self::PlanChanged { .. }
            | Self::OnlyRollback { .. }
            | Self::NoRun(_)
            | Self::Ended { .. }
            | Self::Unreadable { .. }
            | Self::Unwritable { .. }
            | Self::Illegal(_) => false,
        }
    }

    /// Whether this role may not read the journal.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        use tokio_postgres::error::SqlState;
        match self {
            Self::Stranger { .. } => true,
            Self::Postgres { source, .. } => source.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            _ => false,
        }
    }
}

impl JournalError {
    /// Whether a lock was not granted within `lock_timeout`.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        use tokio_postgres::error::SqlState;
        matches!(self, Self::Postgres { source, .. } if source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Postgres { doing, source }
    }
}

/// A run that this process held, and the session that held its lock.
#[derive(Clone, Debug)]
pub struct Held {
    run: String,
    backend: Backend,
}

impl Held {
    /// The run's short id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }
}

/// An open journal: the run is ours as long as this session lives.
pub struct Journal {
    session: Session,
    backend: Backend,
    run: String,
    plan: String,
    steps: Vec<Step>,
    epoch: i64,
    resumed: bool,
    progress: Mutex<Progress>,
}

impl Journal {
    /// What this process holds, for [`Journal::begin`] and [`Journal::lock`] once the session is lost.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { run: self.run.clone(), backend: self.backend.clone() }
    }

    /// The run's short id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The name of the run's plan.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// The steps of the plan that the run began with, and those that follow from it.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let progress = self.progress();
        let lanes = progress.prepared.iter().flat_map(|prepared| &prepared.lanes);
        self.steps.iter().cloned().chain(compatibility_steps(lanes.map(|lane| &lane.green))).collect()
    }

    /// Whether the run had begun before this session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The fold of the run's facts. Do not hold it across an await.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Run and epoch, which distinguish this orchestrator's transactions from those of an earlier one.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { run: self.run.clone(), epoch: self.epoch }
    }

    /// Writes `fact` in the transaction that is open on `client`, and commits it.
    ///
    /// # Errors
    /// After an error the transaction's outcome may be unknown: the session has to be opened again.
    pub async fn commit(&self, client: &Client, fact: Fact) -> Result<(), JournalError> {
        self.write(client, &fact).await?;
        client.batch_execute("COMMIT").await.map_err(JournalError::doing("committed"))?;
        crash::around("after", &fact);
        self.take_in(&fact)
    }

    /// Writes `fact` in a transaction of its own on the journal's connection.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn record(&self, fact: Fact) -> Result<(), JournalError> {
        self.write(&self.session, &fact).await?;
        crash::around("after", &fact);
        self.take_in(&fact)
    }

    /// Writes `fact` in the transaction that is open on `client`, which the caller commits; then the
    /// caller hands the fact to [`Journal::take_in`].
    ///
    /// # Errors
    /// If it cannot follow the facts before it, the run was taken over by another orchestrator, the server rejected the
    /// statement, or the connection was lost.
    pub async fn write(&self, client: &Client, fact: &Fact) -> Result<(), JournalError> {
        // Once it is written, no version of the program could read the run any more.
        self.progress().expect(fact)?;
        crash::around("before", fact);
        let json = serde_json::to_value(fact)
            .map_err(|source| JournalError::Unwritable { run: self.run.clone(), source })?;
        self.insert(client, fact, &json).await.map_err(|source| self.fence().error("written", source))?;
        // Only its name: the fact of what was prepared contains the plan's SQL.
        tracing::debug!(run = self.run, fact = json["fact"].as_str(), "fact written");
        Ok(())
    }

    async fn insert(
        &self,
        client: &Client,
        fact: &Fact,
        json: &serde_json::Value,
    ) -> Result<u64, tokio_postgres::Error> {
        const INSERT: &str = "WITH held AS (SELECT projh_bluegreen.fence($1, $2)) \
                              INSERT INTO projh_bluegreen.fact (run, epoch, fact) SELECT $1, $2,";
        if !fact.is_confidential() {
            let sql = format!("{INSERT} $3 FROM held");
            return client.execute(&sql, &[&self.run, &self.epoch, json]).await;
        }
        client.batch_execute("CREATE TEMP TABLE projh_fact (fact jsonb) ON COMMIT DROP").await?;
        // The binary form of jsonb has a version before the text.
        let value = [b"\x01", json.to_string().as_bytes()].concat();
        let row = CopyRows::of([Some(value.as_slice())].into_iter());
        row.send(client, "COPY pg_temp.projh_fact FROM STDIN (FORMAT binary)").await?;
        let sql = format!("{INSERT} f.fact FROM held, pg_temp.projh_fact f");
        client.execute(&sql, &[&self.run, &self.epoch]).await
    }

    /// Folds in a fact that has been committed.
    ///
    /// # Errors
    /// If it cannot follow the facts before it.
    pub fn take_in(&self, fact: &Fact) -> Result<(), JournalError> {
        Ok(self.progress().add(fact)?)
    }

    /// The LSN up to which the stream of `source` was durably applied; `None` before its slot was made.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub async fn applied(&self, source: Colour) -> Result<Option<Lsn>, JournalError> {
        let sql = "SELECT applied_lsn FROM projh_bluegreen.stream WHERE run = $1 AND source = $2";
        self.session
            .query_opt(sql, &[&self.run, &source.to_string()])
            .await
            .map(|row| row.map(|row| row.get(0)))
            .map_err(JournalError::doing("read"))
    }

    /// Writes where the stream of `source` begins, in the transaction that is open on `client`.
    ///
    /// # Errors
    /// If the server rejected the statement, or the connection was lost.
    pub async fn begin_stream(&self, client: &Client, source: Colour, at: Lsn) -> Result<(), JournalError> {
        let sql = "INSERT INTO projh_bluegreen.stream (run, source, applied_lsn) VALUES ($1, $2, $3) \
                   ON CONFLICT (run, source) DO UPDATE SET applied_lsn = excluded.applied_lsn";
        let written = client.execute(sql, &[&self.run, &source.to_string(), &at]).await;
        written.map(drop).map_err(JournalError::doing("written"))
    }

    /// The journal's own connection, for catalog queries.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// A run, and the epoch in which it is ours.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The run's short id.
    pub run: String,
    /// The epoch of this orchestrator.
    pub epoch: i64,
}

impl Fence {
    /// Tells a run that was taken over from any other error.
    #[must_use]
    pub fn error(&self, doing: &'static str, source: tokio_postgres::Error) -> JournalError {
        match source.code().map(tokio_postgres::error::SqlState::code) {
            // PB001 is raised by fence(); a serialization failure is its row, changed after our snapshot.
            Some("PB001" | "40001") => JournalError::Fenced { run: self.run.clone() },
            _ => JournalError::Postgres { doing, source },
        }
    }
}
