//! What can stop a feed.

use std::time::Duration;

use crate::journal::JournalError;
use crate::lane::apply::{ApplyError, digests};
use crate::lane::coalesce::Impossible;
use crate::pg::connect::ConnectError;
use crate::replication::ReplicationError;

/// What stopped the feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Applying failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The stream failed.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// A connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another process has taken over the run, or the position could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The server rejected a statement, or the connection was lost.
    #[error("the stream could not be applied: {}", crate::pg::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Changes of the stream contradict each other.
    #[error("the stream of {table} contradicts itself: {source}{}", digests(keys))]
    Impossible {
        /// The table, as `schema.table`.
        table: String,
        /// Digests of the keys that it is about, if they are known.
        keys: Vec<String>,
        /// The contradiction.
        source: Impossible,
    },
    /// Somebody changed the definition of the source.
    #[error("{table} was changed by DDL while the run was under way: {what}")]
    SourceChanged {
        /// The table, as `schema.table`.
        table: String,
        /// What is different about it.
        what: String,
    },
    /// A table that the plan does not name is in the run's publication.
    #[error(
        "the stream carries changes of {what}, which is not a table of the plan: it was added to the run's publication"
    )]
    Foreign {
        /// The table's name, or its OID if the server has not sent the name.
        what: String,
    },
    /// Somebody else than the program has written to a table that is not live.
    #[error("{table} is not the live table, and somebody else than projh-bluegreen has written to it")]
    Written {
        /// The table's name, or its OID if the server has not sent the name.
        table: String,
    },
    /// A change came without its key.
    #[error("a change of {table} came without its key")]
    NoKey {
        /// The table, as `schema.table`.
        table: String,
    },
    /// The source was truncated before its copy was over.
    #[error("{table} was truncated before its copy was over")]
    Truncated {
        /// The table, as `schema.table`.
        table: String,
        /// The lane's number in the plan.
        lane: usize,
    },
    /// Nobody has asked the feed to remember which keys change.
    #[error("the keys that have changed since the tables were compared are not known")]
    Unremembered,
    /// More keys changed at once than are remembered.
    #[error(
        "more rows were changed in one transaction than are compared by their keys: all rows have to be compared"
    )]
    Forgotten,
    /// The feed did not reach a position within this time.
    #[error("the stream did not reach the position within {} ms", .0.as_millis())]
    Late(Duration),
    /// The feed has ended, and its error was returned by an earlier call.
    #[error("the stream has ended")]
    Ended,
}

impl FeedError {
    /// The table and the digests of the keys that it is about, as far as they are known.
    #[must_use]
    pub fn keys(&self) -> Option<(&str, &[String])> {
        match self {
            Self::Apply(ApplyError::Postgres { table, keys, .. }) | Self::Impossible { table, keys, .. } => {
                Some((table, keys))
            }
            _ => None,
        }
    }

    /// Whether the type of a column was changed, it seems, so that values of the stream are none any more.
    #[must_use]
    pub fn is_of_altered_type(&self) -> bool {
        matches!(self, Self::Apply(ApplyError::Postgres { altered, .. }) if !altered.is_empty())
    }

    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Apply(error) => error.is_transient(),
            Self::Replication(error) => error.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Journal(error) => error.is_transient(),
            Self::Postgres(error) => crate::pg::is_transient(error),
            Self::Late(_) | Self::Forgotten => true,
            Self::Impossible { .. }
            | Self::SourceChanged { .. }
            | Self::Foreign { .. }
            | Self::Written { .. }
            | Self::NoKey { .. }
            | Self::Truncated { .. }
            | Self::Unremembered
            | Self::Ended => false,
        }
    }
}
