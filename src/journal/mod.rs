//! The journal: the one door through which effects become durable.
//!
//! Invariants: an effect inside PostgreSQL and its fact commit in one transaction; memory follows
//! after the commit. Every such transaction is fenced by the run's epoch, which a new orchestrator
//! raises before anything else: one that was believed dead can no longer commit. Where the answer
//! to a COMMIT is lost, nobody guesses: the session ends, and the next one reads the facts.

mod lock;
mod open;
mod runs;
mod schema;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::Client;

use crate::lifecycle::{Ending, Fact, IllegalFact, Progress};
use crate::pg::Lsn;
use crate::pg::connect::{ConnectError, Session};

pub use lock::Backend;
pub use runs::{Summary, latest, list};
pub use schema::{check_owners, unmade};

/// What went wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The server said no, or was gone.
    #[error("the journal could not be {doing}: {}", crate::pg::describe(source))]
    Postgres {
        /// What was going on.
        doing: &'static str,
        /// The server's or the driver's word.
        source: tokio_postgres::Error,
    },
    /// The journal's own connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Something of it belongs to a role whose code we must not execute.
    #[error(
        "the journal cannot be trusted: {object} belongs to {owner}, and {role} is not a member of that role"
    )]
    Stranger {
        /// What.
        object: String,
        /// Its owner.
        owner: crate::pg::Ident,
        /// The role that we are connected as.
        role: crate::pg::Ident,
    },
    /// Another orchestrator holds the run.
    #[error("run {run} of plan `{plan}` is held by another orchestrator: {holder}")]
    Held {
        /// The run.
        run: String,
        /// The plan's name.
        plan: String,
        /// Host, pid and since when.
        holder: String,
        /// The server's process that has the lock; none where it has just gone.
        backend: Option<i32>,
    },
    /// Another orchestrator has taken the run over; this one may not act any more.
    #[error("run {run} was taken over by another orchestrator; this one has stopped acting on it")]
    Fenced {
        /// The run.
        run: String,
    },
    /// The plan is not the one the run began with.
    #[error("the plan has changed since run {run} began:\n  {}", changes.join("\n  "))]
    PlanChanged {
        /// The run.
        run: String,
        /// What changed.
        changes: Vec<String>,
    },
    /// It was given up, or a rollback of it was begun.
    #[error("run {run} cannot go on: {why}")]
    OnlyRollback {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// There is no such run.
    #[error("this database has no run called `{0}`, and none of a plan called so")]
    NoRun(String),
    /// The run has ended.
    #[error("run {run} of plan `{plan}` has ended: it was {ending}")]
    Ended {
        /// The run.
        run: String,
        /// The plan's name.
        plan: String,
        /// How.
        ending: Ending,
    },
    /// A fact could not be read: another version wrote it.
    #[error("a fact of run {run} cannot be read by this version of the program: {source}")]
    Unreadable {
        /// The run.
        run: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A fact or a plan could not be written as JSON.
    #[error("what run {run} has to note cannot be written: {source}")]
    Unwritable {
        /// The run, or its plan's name where it has not begun.
        run: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The facts do not fit together.
    #[error(transparent)]
    Illegal(#[from] IllegalFact),
}

impl JournalError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => crate::pg::is_transient(source),
            Self::Connect(error) => error.is_transient(),
            Self::Stranger { .. }
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

    /// Whether this role may not look into the journal.
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
    /// Whether a lock was waited for too long.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        use tokio_postgres::error::SqlState;
        matches!(self, Self::Postgres { source, .. } if source.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Self {
        move |source| Self::Postgres { doing, source }
    }
}

/// An open journal: the run is ours as long as its session lives.
pub struct Journal {
    session: Session,
    backend: Backend,
    run: String,
    plan: String,
    epoch: i64,
    resumed: bool,
    progress: Mutex<Progress>,
}

impl Journal {
    /// The session that holds the run, for [`Journal::begin`] after it is lost.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The run's short id.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The plan's name.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// Whether the run had begun before this session.
    #[must_use]
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Where the run stands. Do not hold it over an await.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What tells this orchestrator's transactions from those of an earlier one.
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
        self.take_in(&fact)
    }

    /// Writes `fact` in a transaction of its own on the journal's connection.
    ///
    /// # Errors
    /// As [`Journal::commit`].
    pub async fn record(&self, fact: Fact) -> Result<(), JournalError> {
        self.write(&self.session, &fact).await?;
        self.take_in(&fact)
    }

    /// Writes `fact` in the transaction that is open on `client`, which the caller commits; then the
    /// caller hands the fact to [`Journal::take_in`].
    ///
    /// # Errors
    /// If the run was taken over by another orchestrator, or the server said no.
    pub async fn write(&self, client: &Client, fact: &Fact) -> Result<(), JournalError> {
        let json = serde_json::to_value(fact)
            .map_err(|source| JournalError::Unwritable { run: self.run.clone(), source })?;
        client
            .execute(
                "WITH held AS (SELECT projh_bluegreen.fence($1, $2)) \
                 INSERT INTO projh_bluegreen.fact (run, epoch, fact) SELECT $1, $2, $3 FROM held",
                &[&self.run, &self.epoch, &json],
            )
            .await
            .map_err(|source| self.fence().error("written", source))?;
        // Its name alone: what was prepared has the plan's SQL in it.
        tracing::debug!(run = self.run, fact = json["fact"].as_str(), "fact written");
        Ok(())
    }

    /// Folds a fact in that is durable by now.
    ///
    /// # Errors
    /// If it cannot follow what came before it.
    pub fn take_in(&self, fact: &Fact) -> Result<(), JournalError> {
        Ok(self.progress().add(fact)?)
    }

    /// Where the stream has been applied to, durably; none before the slot was made.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn applied(&self) -> Result<Option<Lsn>, JournalError> {
        self.session
            .query_opt("SELECT applied_lsn FROM projh_bluegreen.stream WHERE run = $1", &[&self.run])
            .await
            .map(|row| row.map(|row| row.get(0)))
            .map_err(JournalError::doing("read"))
    }

    /// The journal's own connection, for questions to the catalog.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// A run and the epoch in which it is ours.
#[derive(Clone, Debug)]
pub struct Fence {
    /// The run's short id.
    pub run: String,
    /// The epoch.
    pub epoch: i64,
}

impl Fence {
    /// Tells a lost run from any other error.
    #[must_use]
    pub fn error(&self, doing: &'static str, source: tokio_postgres::Error) -> JournalError {
        match source.code().map(tokio_postgres::error::SqlState::code) {
            // PB001 is raised by fence(); a serialization failure is its row, changed after our snapshot.
            Some("PB001" | "40001") => JournalError::Fenced { run: self.run.clone() },
            _ => JournalError::Postgres { doing, source },
        }
    }
}
