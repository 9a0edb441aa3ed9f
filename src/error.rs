//! The program's one error type: it knows whether trying again helps, which exit code it means, and what the person at
//! the terminal does next.

pub(crate) mod exit_code;
mod hint;
mod keys_differ;
mod wording;

use tokio_postgres::error::SqlState;

use crate::finding::Finding;
use crate::hangs_on;
use crate::journal::JournalError;
use crate::journal::requests::Request;
use crate::lane::compare::{CompareError, Differences};
use crate::lane::copy::CopyError;
use crate::lane::feed::FeedError;
use crate::lane::point::PointError;
use crate::lifecycle::Way;
use crate::pg;
use crate::pg::activity::ActivityError;
use crate::pg::connect::ConnectError;
use crate::phi::KeysError;
use crate::plan::Problems;
use crate::plan::partition::PartitionError;
use crate::replication::ReplicationError;
use wording::{differing, some};

pub use exit_code::ExitCode;
pub use keys_differ::KeysDiffer;

/// Any failure that ends a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan is not valid; every problem, with its line and column.
    #[error("{0}")]
    Plan(#[from] Problems),
    /// The command line asks for something impossible; the text says what.
    #[error("{0}")]
    Usage(String),
    /// Preflight checks refused; nothing was changed.
    #[error("{} thing{} in the way; nothing was changed", .0.len(), if .0.len() == 1 { " stands" } else { "s stand" })]
    Refused(Vec<Finding>),
    /// The connection could not be made or was not accepted.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The replication connection failed, or the server sent something unexpected.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The journal could not be read or written, or the run is not ours to execute.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No consistent point (slot and snapshot) could be made.
    #[error(transparent)]
    Point(#[from] PointError),
    /// A chunk could not be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The stream of changes could not be applied to green.
    #[error(transparent)]
    Feed(FeedError),
    /// Blue and green could not be compared.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Other sessions could not be examined.
    #[error(transparent)]
    Activity(#[from] ActivityError),
    /// The catalog could not be read, or its answer was not understood.
    #[error(transparent)]
    Catalog(#[from] hangs_on::Error),
    /// The plan's partitions cannot be made for this data.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The server rejected a statement, or the connection was lost.
    #[error("{doing}: {}", pg::describe(source))]
    Postgres {
        /// What the statement was for, as a present participle: "dropping the slot".
        doing: String,
        /// The error of the server or of the driver.
        source: tokio_postgres::Error,
    },
    /// Blue's definition is no longer the one that green was made from.
    #[error("{table} was changed by DDL since the run began: {}", some(what))]
    SourceChanged {
        /// The table's name, as a plan writes it.
        table: String,
        /// What changed; one sentence each.
        what: Vec<String>,
    },
    /// Changes of blue may be missing from the stream, and so from green.
    #[error("the stream no longer carries every change of {table}: {}", some(what))]
    NotStreamed {
        /// The table's name, as a plan writes it.
        table: String,
        /// Why it does not; one sentence each.
        what: Vec<String>,
    },
    /// Verification found rows that differ between blue and green.
    #[error("verification found {}; nothing was swapped", differing(.0))]
    Differences(Differences),
    /// A table of keys does not have those of the live table.
    #[error(transparent)]
    Keys(#[from] KeysDiffer),
    /// The keys of encrypted columns could not be had.
    #[error(transparent)]
    Keyring(#[from] KeysError),
    /// A unique index cannot be built on green: rows have equal keys.
    #[error(
        "unique index {index} of {table} cannot be built on green: several rows have the same key (SQLSTATE 23505)"
    )]
    NotUnique {
        /// The table's name, as a plan writes it.
        table: String,
        /// The index's name.
        index: String,
        /// How to repair blue's own index, where that is what is damaged; `None` if the plan makes the keys equal.
        hint: Option<String>,
    },
    /// No attempt to swap succeeded within its budget; blue is live.
    #[error("the swap did not succeed in {attempts} attempts; the last one: {why}")]
    SwapBudget {
        /// How many attempts were made.
        attempts: u32,
        /// Why the last one was rolled back.
        why: String,
        /// The sessions that were in its way.
        in_the_way: Vec<String>,
    },
    /// A gate of the plan does not pass.
    #[error("gate `{gate}` does not pass: {why}")]
    Gate {
        /// Its name.
        gate: String,
        /// Why it does not.
        why: String,
    },
    /// A step of the plan failed, and nothing of it is left unless it is not one transaction.
    #[error("{} failed at {place}: {why}", match way { Way::Up => format!("step `{step}`"), Way::Down => format!("undoing step `{step}`") })]
    Step {
        /// Its name.
        step: String,
        /// Where in its script, with line and column.
        place: String,
        /// The server's error.
        why: String,
        /// Whether it was executed or undone.
        way: Way,
        /// What to do about this very error, if that is known.
        hint: Option<String>,
    },
    /// A command on another terminal asks to end the run, or a gate in the soak. Inside a session only: the session then does so.
    #[error("asked to {} by {}", .0.ask.name(), .0.by)]
    Asked(Request),
    /// The command on another terminal was carried out by the process that holds the run, and failed.
    #[error("{why}")]
    Answered {
        /// The exit code of that process.
        code: u8,
        /// Its error.
        why: String,
    },
    /// The process that holds the run does not answer.
    #[error("the process that holds the run does not answer: {holder}")]
    Unanswered {
        /// Its host, process id and start time.
        holder: String,
    },
    /// The slot can no longer be kept. Inside a session only: the session then aborts the run ([`Self::GivenUp`]).
    #[error("the slot cannot be kept: {0}")]
    Slot(String),
    /// The run was aborted, because its slot cannot be kept.
    #[error("the run was given up, because its slot cannot be kept: {why}{}", kept.as_ref().map(|kept| format!("; {kept}")).unwrap_or_default())]
    GivenUp {
        /// Why the slot cannot be kept.
        why: String,
        /// Why the slot could not be dropped; `None` if it no longer exists.
        kept: Option<String>,
    },
    /// The table that is not live does not follow the live one any more.
    #[error(
        "green is live, but blue no longer follows it, so that there is no way back as long as that lasts: {}",
        .0.what()
    )]
    WayBroken(Box<Error>),
    /// A swap can no longer be undone, because a slot cannot be kept.
    #[error("green is live, and the way back is lost, because a slot cannot be kept: {why}{}", kept.as_ref().map(|kept| format!("; {kept}")).unwrap_or_default())]
    WayBackLost {
        /// Why the slot cannot be kept.
        why: String,
        /// Why a slot could not be dropped; `None` if none exists any longer.
        kept: Option<String>,
    },
    /// A live table is gone, and the run has the only copy of its rows, which no command drops.
    #[error("{}{what}", if *refused { "nothing was dropped: " } else { "" })]
    LastCopy {
        /// What is gone, and what is left, in a sentence.
        what: String,
        /// The statements that bring it back, and the command that then ends the run.
        way_out: String,
        /// Whether the command was asked to drop it.
        refused: bool,
    },
    /// Some work after the swap failed; all the rest of it was done.
    #[error("the swap is done, but some work after it could not be: {}", some(&.0.iter().map(Undone::to_string).collect::<Vec<_>>()))]
    Unsettled(Vec<Undone>),
    /// An assumption of the program does not hold.
    #[error("{0}: this is a bug in projh-bluegreen; please report it")]
    Bug(&'static str),
    /// A signal asked the command to stop.
    #[error("interrupted")]
    Interrupted,
    /// The user was asked for confirmation and declined.
    #[error("{0}, as you answered")]
    Declined(&'static str),
}

/// A step after the swap that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// The step, and why it failed.
    pub what: String,
    /// The command that repairs it.
    pub hint: String,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

/// Adds to a failed statement what it was for.
pub(crate) trait Doing<T> {
    /// `what` is a present participle with its object: "dropping the slot".
    ///
    /// # Errors
    /// [`Error::Postgres`] if `self` is an error.
    fn doing(self, what: impl Into<String>) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, tokio_postgres::Error> {
    fn doing(self, what: impl Into<String>) -> Result<T, Error> {
        self.map_err(|source| Error::Postgres { doing: what.into(), source })
    }
}

impl From<FeedError> for Error {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Replication(gone @ ReplicationError::SlotGone { .. }) => Self::Slot(gone.to_string()),
            error => Self::Feed(error),
        }
    }
}

impl Error {
    /// Whether a new session may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Replication(error) => error.is_transient(),
            Self::Journal(error) => error.is_transient(),
            Self::Point(error) => error.is_transient(),
            Self::Copy(error) => error.is_transient(),
            Self::Feed(error) => error.is_transient(),
            Self::Compare(error) => error.is_transient(),
            Self::Activity(error) => error.is_transient(),
            Self::Catalog(error) => error.is_transient(),
            Self::Keyring(error) => error.is_transient(),
            Self::Postgres { source, .. } => pg::is_transient(source),
            Self::Plan(_)
            | Self::Usage(_)
            | Self::Refused(_)
            | Self::Partition(_)
            | Self::SourceChanged { .. }
            | Self::NotStreamed { .. }
            | Self::Differences(_)
            | Self::Keys(_)
            | Self::NotUnique { .. }
            | Self::SwapBudget { .. }
            | Self::Gate { .. }
            | Self::Step { .. }
            | Self::Asked(_)
            | Self::Answered { .. }
            | Self::Unanswered { .. }
            | Self::Slot(_)
            | Self::GivenUp { .. }
            | Self::WayBroken(_)
            | Self::WayBackLost { .. }
            | Self::LastCopy { .. }
            | Self::Unsettled(_)
            | Self::Bug(_)
            | Self::Interrupted
            | Self::Declined(_) => false,
        }
    }

    /// Whether resuming would fail the same way again, whatever is done about it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::GivenUp { .. }
            | Self::Differences(_)
            | Self::Keys(_)
            | Self::NotUnique { hint: Some(_), .. } => true,
            Self::Feed(_) => self.sqlstate().is_some_and(is_about_data),
            _ => false,
        }
    }

    /// The exit code of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Connect(error) | Self::Journal(JournalError::Connect(error)) => match error {
                ConnectError::Setting { .. } => ExitCode::Usage,
                // Nothing was changed, and through a pooler nothing can be.
                ConnectError::Pooler { .. } => ExitCode::Refused,
                _ => ExitCode::Failed,
            },
            Self::Plan(_) | Self::Usage(_) => ExitCode::Usage,
            Self::Journal(JournalError::NoRun(_) | JournalError::Ended { .. }) => ExitCode::Usage,
            Self::Refused(_)
            | Self::LastCopy { refused: true, .. }
            | Self::Keyring(KeysError::NotCovered(_))
            | Self::Journal(
                JournalError::PlanChanged { .. }
                | JournalError::OnlyRollback { .. }
                | JournalError::Newer { .. }
                | JournalError::Stranger { .. },
            ) => ExitCode::Refused,
            Self::Differences(_) | Self::Keys(_) => ExitCode::Differences,
            Self::WayBroken(error) => error.exit_code(),
            Self::SwapBudget { .. } | Self::Gate { .. } => ExitCode::NotSwapped,
            Self::Interrupted | Self::Declined(_) => ExitCode::Interrupted,
            Self::Answered { code, .. } => ExitCode::of(*code),
            Self::Unanswered { .. } => ExitCode::Held,
            Self::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }) => ExitCode::Held,
            Self::Journal(
                JournalError::Postgres { .. }
                | JournalError::Unreadable { .. }
                | JournalError::Unwritable { .. }
                | JournalError::Illegal(_),
            )
            | Self::Replication(_)
            | Self::Point(_)
            | Self::Copy(_)
            | Self::Feed(_)
            | Self::Compare(_)
            | Self::Activity(_)
            | Self::Catalog(_)
            | Self::Keyring(_)
            | Self::Partition(_)
            | Self::Postgres { .. }
            | Self::SourceChanged { .. }
            | Self::NotStreamed { .. }
            | Self::NotUnique { .. }
            | Self::Step { .. }
            | Self::Asked(_)
            | Self::Slot(_)
            | Self::GivenUp { .. }
            | Self::WayBackLost { .. }
            | Self::LastCopy { .. }
            | Self::Unsettled(_)
            | Self::Bug(_) => ExitCode::Failed,
        }
    }

    /// The rows that differ, if that is what it is about.
    #[must_use]
    pub fn differences(&self) -> Option<&Differences> {
        match self {
            Self::Differences(differences) => Some(differences),
            Self::WayBroken(error) => error.differences(),
            _ => None,
        }
    }

    /// The server's SQLSTATE, if the server rejected something.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        let mut cause: Option<&dyn std::error::Error> = Some(self);
        while let Some(error) = cause {
            if let Some(postgres) = error.downcast_ref::<tokio_postgres::Error>() {
                return postgres.code();
            }
            cause = error.source();
        }
        None
    }
}

/// Whether a value cannot be computed or cast, or violates a constraint of green.
fn is_about_data(code: &SqlState) -> bool {
    code.code().starts_with("22") || code.code().starts_with("23")
}
