//! What went wrong: one error for the whole program, which knows whether trying again helps, which
//! exit code it means, and what a person does next.

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
                CopyError::Journal(error) => journal_is_transient(error),
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

    /// What to do about it, where there is more to say than the error itself.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let text = match self {
            Self::Differences(_) | Self::Feed(FeedError::Apply(ApplyError::Diverged { .. })) => {
                "keep green for an investigation (`projh-bluegreen find` finds a row by its key digest), or \
                 `projh-bluegreen rollback` and begin again"
            }
            Self::SourceChanged { .. } | Self::Feed(FeedError::SourceChanged { .. }) => {
                "undo the DDL and execute again, or `projh-bluegreen rollback` and begin again with a plan for the new shape"
            }
            Self::Feed(FeedError::Foreign { .. }) => {
                "the stream cannot pass by it: `projh-bluegreen rollback` and begin again; add no table to a publication \
                 whose name begins with projh_bg_"
            }
            Self::Copy(CopyError::NoKey { .. }) => "`projh-bluegreen rollback` and begin again",
            Self::NotStreamed { .. } => {
                "what was written meanwhile cannot be known: `projh-bluegreen rollback`, and begin again"
            }
            Self::SwapBudget { .. } => {
                "execute again at a quieter time, or raise settings.swap.max_write_stall"
            }
            Self::Journal(JournalError::PlanChanged { .. }) => {
                "execute the plan as it was; or end the run first (`rollback` before its swap, `finish` after it)"
            }
            Self::Journal(JournalError::Stranger { .. }) => {
                "connect as the role that made the journal; or look at what is in schema projh_bluegreen, and drop it if it is not a journal"
            }
            Self::Journal(JournalError::NoRun(_)) => {
                "`projh-bluegreen status` lists the runs of a database; is it the right one (--database-url, PGDATABASE)?"
            }
            Self::Activity(error) | Self::Point(PointError::Activity(error)) => {
                return error.mend().map(|grant| format!("{grant}; and execute again"));
            }
            Self::GivenUp { kept: None, .. } => {
                "the slot is gone: `projh-bluegreen rollback` and begin again; free disk space or raise settings.wal_budget first, if that is why"
            }
            Self::GivenUp { kept: Some(_), .. } => {
                "the slot still keeps WAL: `projh-bluegreen rollback` drops it, or select pg_drop_replication_slot('<slot>') by a role that may"
            }
            Self::Unsettled(undone) => {
                let mends: Vec<String> = undone.iter().map(|undone| undone.mend.clone()).collect();
                return Some(format!(
                    "{}; then execute again, or `projh-bluegreen finish --as-is` leaves it as it is",
                    some(&mends)
                ));
            }
            Self::Journal(JournalError::OnlyRollback { .. }) => {
                "`projh-bluegreen rollback`, and begin again; its copy cannot be used any more"
            }
            Self::Journal(JournalError::Held { backend, .. }) => {
                let end =
                    backend.map_or_else(String::new, |pid| format!(": select pg_terminate_backend({pid})"));
                return Some(format!(
                    "wait for it, or end that process; the run can be resumed at once after it is gone. If its host \
                     is gone, the server notices within a minute, or end its session there{end}"
                ));
            }
            Self::NotUnique { index, mend: Some(mend), .. } => {
                return Some(format!(
                    "blue itself has several rows under one key of {index}: its index is damaged. \
                     `projh-bluegreen rollback`, {mend}; and begin again"
                ));
            }
            Self::NotUnique { .. } => {
                "the plan makes one key of several: change such rows and execute again, or `projh-bluegreen rollback`, \
                 change the plan, and begin again"
            }
            _ => return self.advice_on_rows().map(str::to_owned),
        };
        Some(text.to_owned())
    }

    /// What to do where the server could not read, write or store a row.
    fn advice_on_rows(&self) -> Option<&'static str> {
        let code = self.sqlstate()?;
        let is_about_copied = matches!(self, Self::Copy(_)) && is_about_data(code);
        Some(match code.code() {
            "53100" => {
                "make room on the server's disk and execute again, or `projh-bluegreen rollback`, which frees what green takes"
            }
            "XX001" | "XX002" => {
                "the server could not read a row or an index: it is damaged. Its log and pg_amcheck name what is; \
                 `projh-bluegreen rollback`, repair it, and begin again"
            }
            "23505" if is_about_copied => {
                "several rows of blue get one key: the index of its own key is damaged, or the plan makes one key of \
                 several. `projh-bluegreen rollback`, change the rows or the plan, and begin again; `projh-bluegreen \
                 check` counts such keys in a table of up to 256 MB"
            }
            _ if matches!(self, Self::Feed(_)) && is_about_data(code) => {
                "a change of blue does not become what the plan makes of it, and the stream cannot pass by it: \
                 `projh-bluegreen rollback`, change the plan or such rows, and begin again"
            }
            _ if is_about_copied => {
                "a row does not become what the plan makes of it: change such rows and execute again, or \
                 `projh-bluegreen rollback`, change the plan, and begin again"
            }
            _ => return None,
        })
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
