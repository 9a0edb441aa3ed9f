//! What went wrong: one error for the whole program, which knows whether trying again helps, which
//! exit code it means, and what a person does next.

mod advice;

use std::fmt::Write;

use tokio_postgres::error::SqlState;

use crate::finding::Finding;
use crate::hangs_on;
use crate::journal::JournalError;
use crate::lane::apply::ApplyError;
use crate::lane::compare::{CompareError, Differences};
use crate::lane::copy::CopyError;
use crate::lane::feed::FeedError;
use crate::lane::point::PointError;
use crate::pg;
use crate::pg::activity::ActivityError;
use crate::pg::connect::ConnectError;
use crate::plan::Problems;
use crate::plan::partition::PartitionError;
use crate::replication::ReplicationError;

/// Anything that ends a command other than well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan is not valid.
    #[error("{0}")]
    Plan(#[from] Problems),
    /// The command line asks for something that cannot be.
    #[error("{0}")]
    Usage(String),
    /// Checks refused, before anything was changed.
    #[error("{} thing{} in the way; nothing was changed", .0.len(), if .0.len() == 1 { " stands" } else { "s stand" })]
    Refused(Vec<Finding>),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The replication protocol.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A consistent point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The stream.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A comparison could not be made.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Other sessions.
    #[error(transparent)]
    Activity(#[from] ActivityError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] hangs_on::Error),
    /// The partitions.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A statement.
    #[error("{doing}: {}", pg::describe(source))]
    Postgres {
        /// What was going on.
        doing: String,
        /// The server's or the driver's word.
        source: tokio_postgres::Error,
    },
    /// Blue's definition is not what green was made for.
    #[error("{table} was changed by DDL since the run began: {}", some(what))]
    SourceChanged {
        /// The table.
        table: String,
        /// How; one sentence each.
        what: Vec<String>,
    },
    /// Changes of blue may be missing from the stream, and so from green.
    #[error("the stream does not carry every change of {table} any more: {}", some(what))]
    NotStreamed {
        /// The table.
        table: String,
        /// Why; one sentence each.
        what: Vec<String>,
    },
    /// Green is not equal to blue.
    #[error("verification found {}; nothing was swapped", differing(.0))]
    Differences(Differences),
    /// A unique index of green cannot be built.
    #[error(
        "unique index {index} of {table} cannot be built for green: several rows have one key (SQLSTATE 23505)"
    )]
    NotUnique {
        /// The table.
        table: String,
        /// The index.
        index: String,
        /// What to type where it is blue's own index that is damaged; none where the plan makes the keys.
        mend: Option<String>,
    },
    /// The swap did not go through.
    #[error("the swap did not go through in {attempts} attempts; the last one: {why}")]
    SwapBudget {
        /// How many.
        attempts: u32,
        /// What stopped the last one.
        why: String,
    },
    /// The slot can no longer be kept; within a session, which then gives the run up.
    #[error("the slot cannot be kept: {0}")]
    Slot(String),
    /// The run was given up.
    #[error("the run was given up, for its slot cannot be kept: {why}{}", kept.as_ref().map(|kept| format!("; {kept}")).unwrap_or_default())]
    GivenUp {
        /// Why.
        why: String,
        /// What became of the slot, if it is still there.
        kept: Option<String>,
    },
    /// Work after the swap could not be done; what could be, was.
    #[error("green is live, but some work after the swap could not be done: {}", some(&.0.iter().map(Undone::to_string).collect::<Vec<_>>()))]
    Unsettled(Vec<Undone>),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Somebody was asked, and said no.
    #[error("{0}, as you answered")]
    Declined(&'static str),
}

/// A step after the swap that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Which, and why not.
    pub what: String,
    /// What to type.
    pub mend: String,
}

impl std::fmt::Display for Undone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error {
    /// For a statement that failed.
    pub fn doing(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Postgres { doing, source }
    }

    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Replication(error) => error.is_transient(),
            Self::Journal(error) => journal_is_transient(error),
            Self::Point(error) => match error {
                PointError::Replication(error) => error.is_transient(),
                PointError::Connect(error) => error.is_transient(),
                PointError::Postgres(error) => pg::is_transient(error),
                PointError::Activity(error) => activity_is_transient(error),
            },
            Self::Copy(error) => match error {
                CopyError::Postgres { source, .. } => pg::is_transient(source),
                CopyError::Rewritten { .. } | CopyError::NoKey { .. } => false,
            },
            Self::Feed(error) => feed_is_transient(error),
            Self::Compare(error) => match error {
                CompareError::Postgres { source, .. } => pg::is_transient(source),
                CompareError::Connect(error) => error.is_transient(),
                CompareError::Incomplete { .. } => false,
            },
            Self::Activity(error) => activity_is_transient(error),
            Self::Catalog(hangs_on::Error::Catalog { source, .. }) => pg::is_transient(source),
            Self::Catalog(_) => false,
            Self::Postgres { source, .. } => pg::is_transient(source),
            Self::Plan(_)
            | Self::Usage(_)
            | Self::Refused(_)
            | Self::Partition(_)
            | Self::SourceChanged { .. }
            | Self::NotStreamed { .. }
            | Self::Differences(_)
            | Self::NotUnique { .. }
            | Self::SwapBudget { .. }
            | Self::Slot(_)
            | Self::GivenUp { .. }
            | Self::Unsettled(_)
            | Self::Interrupted
            | Self::Declined(_) => false,
        }
    }

    /// Whether going on would come to the same end again, whatever is done about it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::GivenUp { .. } | Self::Differences(_) | Self::NotUnique { mend: Some(_), .. } => true,
            Self::Feed(_) => self.sqlstate().is_some_and(is_about_data),
            _ => false,
        }
    }

    /// The exit code that this means.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Connect(error) | Self::Journal(JournalError::Connect(error)) => match error {
                ConnectError::Setting { .. } => 2,
                // Nothing was changed, and nothing will be from there.
                ConnectError::Pooler { .. } => 3,
                _ => 1,
            },
            Self::Plan(_) | Self::Usage(_) => 2,
            Self::Journal(JournalError::NoRun(_) | JournalError::Ended { .. }) => 2,
            Self::Refused(_)
            | Self::Journal(
                JournalError::PlanChanged { .. }
                | JournalError::OnlyRollback { .. }
                | JournalError::Stranger { .. },
            ) => 3,
            Self::Differences(_) => 4,
            Self::SwapBudget { .. } => 5,
            Self::Interrupted | Self::Declined(_) => 7,
            Self::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }) => 8,
            _ => 1,
        }
    }

    /// The server's code, where it was the server that refused.
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

/// How many rows differ, and in which columns those that are shown do.
fn differing(differences: &Differences) -> String {
    let (count, shown) = (differences.count, differences.shown.len());
    let mut text = format!("{count} difference{}", if count == 1 { "" } else { "s" });
    let columns: Vec<String> =
        differences.columns().into_iter().map(|(name, rows)| format!("{name} ({rows})")).collect();
    if !columns.is_empty() {
        let _ = write!(text, " in the columns {}", some_of(&columns, ", "));
    }
    if (shown as u64) < count {
        let _ = write!(text, "; {shown} of them are shown");
    }
    text
}

/// The first few of many sentences.
fn some(sentences: &[String]) -> String {
    some_of(sentences, "; ")
}

fn some_of(texts: &[String], between: &str) -> String {
    const MOST: usize = 5;
    let told = texts.iter().take(MOST).cloned().collect::<Vec<_>>().join(between);
    match texts.len().saturating_sub(MOST) {
        0 => told,
        more => format!("{told}{between}and {more} more"),
    }
}

/// A value that cannot be computed or cast, or that a constraint of green forbids.
fn is_about_data(code: &SqlState) -> bool {
    code.code().starts_with("22") || code.code().starts_with("23")
}

fn journal_is_transient(error: &JournalError) -> bool {
    match error {
        JournalError::Postgres { source, .. } => pg::is_transient(source),
        JournalError::Connect(error) => error.is_transient(),
        _ => false,
    }
}

fn activity_is_transient(error: &ActivityError) -> bool {
    matches!(error, ActivityError::Postgres(source) if pg::is_transient(source))
}

fn feed_is_transient(error: &FeedError) -> bool {
    match error {
        FeedError::Apply(ApplyError::Postgres { source, .. }) | FeedError::Postgres(source) => {
            pg::is_transient(source)
        }
        FeedError::Replication(error) => error.is_transient(),
        FeedError::Connect(error) => error.is_transient(),
        FeedError::Journal(error) => journal_is_transient(error),
        FeedError::Late(_) => true,
        _ => false,
    }
}
