//! What can end a replication command or a stream, and whether reconnecting helps.

use std::io;

use tokio_postgres::error::SqlState;

use super::pgoutput::Malformed;
use crate::pg::connect::ConnectError;

/// Why a replication command or stream failed.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused the command, or ended the stream with an error.
    #[error("{message} ({})", sqlstate.code())]
    Server {
        /// The server's SQLSTATE.
        sqlstate: SqlState,
        /// The server's message, or a substitute where it could hold row values.
        message: String,
    },
    /// The slot does not exist (42704) or was invalidated (55000): only a new copy helps.
    #[error("replication slot `{slot}` cannot be used: {message} ({})", sqlstate.code())]
    SlotGone {
        /// The name of the slot.
        slot: String,
        /// The server's SQLSTATE.
        sqlstate: SqlState,
        /// The server's message.
        message: String,
    },
    /// The connection was lost.
    #[error("the replication connection was lost ({0})")]
    Lost(#[source] io::Error),
    /// The server ended the stream regularly, as it does when it shuts down; also returned by a stream that has already
    /// returned why it ended.
    #[error("the replication stream has ended")]
    Ended,
    /// Another server answers: what was applied is a position of the known one, and only the journal of this one says what
    /// it has.
    #[error("another server has taken over ({now}; before: {known})")]
    OtherServer {
        /// The server of the first connection.
        known: String,
        /// The one that answers now.
        now: String,
    },
    /// The stream violates protocol version 1.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server sent a message that is not expected at this point.
    #[error("the server's answer violates the replication protocol: {0}")]
    Protocol(&'static str),
    /// An earlier command on this connection was abandoned half-way.
    #[error("an earlier command on this replication connection was abandoned; open another one")]
    Interrupted,
}

impl ReplicationError {
    /// Whether a new session may continue from the position that the journal holds.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_transient(),
            Self::Server { sqlstate, .. } => match *sqlstate {
                // 55006: the slot's last walsender has not yet noticed that its client is gone.
                SqlState::OBJECT_IN_USE
                | SqlState::LOCK_NOT_AVAILABLE
                | SqlState::QUERY_CANCELED
                | SqlState::TOO_MANY_CONNECTIONS
                | SqlState::ADMIN_SHUTDOWN
                | SqlState::CRASH_SHUTDOWN
                | SqlState::CANNOT_CONNECT_NOW => true,
                _ => sqlstate.code().starts_with("08"),
            },
            Self::Lost(_) | Self::Ended | Self::Interrupted | Self::OtherServer { .. } => true,
            Self::SlotGone { .. } | Self::Malformed(_) | Self::Protocol(_) => false,
        }
    }

    /// The server's SQLSTATE, if the server rejected the command.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Connect(error) => error.sqlstate(),
            Self::Server { sqlstate, .. } | Self::SlotGone { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    /// An error of the server. Messages of classes 22 (data) and 23 (constraints) may quote row values, so they are
    /// dropped here, where not even `Debug` can show them.
    pub(super) fn server(sqlstate: SqlState, message: String) -> Self {
        let message = match sqlstate.code().get(..2) {
            Some("22" | "23") => "the server failed on a value".to_owned(),
            _ => message,
        };
        Self::Server { sqlstate, message }
    }

    /// The same error for a command that uses `slot`.
    pub(super) fn of_slot(self, slot: &str) -> Self {
        match self {
            Self::Server { sqlstate, message }
                if matches!(
                    sqlstate,
                    SqlState::UNDEFINED_OBJECT | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
                ) =>
            {
                Self::SlotGone { slot: slot.to_owned(), sqlstate, message }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: SqlState) -> ReplicationError {
        ReplicationError::server(code, "Ann Miller".to_owned())
    }

    #[test]
    fn a_lost_slot_is_definite_and_a_lost_connection_is_not() {
        assert!(ReplicationError::Lost(io::ErrorKind::UnexpectedEof.into()).is_transient());
        assert!(server(SqlState::ADMIN_SHUTDOWN).is_transient());
        let gone = server(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE).of_slot("s");
        assert!(matches!(gone, ReplicationError::SlotGone { .. }) && !gone.is_transient());
        let busy = server(SqlState::OBJECT_IN_USE).of_slot("s");
        assert!(matches!(busy, ReplicationError::Server { .. }) && busy.is_transient());
    }

    #[test]
    fn messages_that_may_hold_values_are_not_shown() {
        let error = server(SqlState::INVALID_TEXT_REPRESENTATION);
        assert!(!format!("{error} {error:?}").contains("Ann"));
        assert!(server(SqlState::OBJECT_IN_USE).to_string().contains("Ann"));
    }
}
