//! Why a connection could not be made, and what to do about it.
//!
//! Invariant: no variant holds a password, and none is built from text that could hold one.

use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// A connection that could not be described or made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting has a value that cannot be used. `place` says where it was read.
    #[error("{place}: {problem}; {hint}")]
    Setting {
        /// Where the value came from: a variable's name, a file and line, the connection string.
        place: String,
        /// What is wrong with it.
        problem: String,
        /// What to type instead.
        hint: String,
    },
    /// The host's name has no address.
    #[error(
        "cannot find the address of host `{host}` ({}); check the spelling of the host, and DNS",
        words(source)
    )]
    Lookup {
        /// The name that was looked up.
        host: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// Nobody answered at the address.
    #[error(
        "cannot reach PostgreSQL at {address} ({}); check that the server runs and listens there ({})",
        words(source), if address.contains('/') { "unix_socket_directories, port" } else { "listen_addresses, port, firewall" }
    )]
    Unreachable {
        /// `host:port` or the socket's path.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error(
        "no answer from {address} within {} s; check the network and the server's load, or raise \
         PGCONNECT_TIMEOUT", after.as_secs()
    )]
    Timeout {
        /// `host:port` or the socket's path.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection broke while it was being set up.
    #[error(
        "the connection to {address} broke during its set-up ({}); look into the server's log",
        words(source)
    )]
    Broken {
        /// `host:port` or the socket's path.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// TLS is demanded here and not offered there.
    #[error(
        "{address} does not offer TLS, and sslmode={mode} demands it; turn on `ssl` on the server, or set \
         sslmode=prefer if the network is trusted"
    )]
    TlsRefused {
        /// `host:port`.
        address: String,
        /// The mode asked for.
        mode: &'static str,
    },
    /// The server's certificate has no chain to a trusted root, or is out of date.
    #[error(
        "the certificate of {address} is not trusted ({reason}); point sslrootcert (PGSSLROOTCERT) at the \
         certificate of the authority that signed it"
    )]
    Untrusted {
        /// `host:port`.
        address: String,
        /// The verifier's words.
        reason: String,
    },
    /// The certificate is for another host.
    #[error(
        "the certificate of {address} is for another host ({reason}); connect under a name of its \
         subjectAltName, or use sslmode=verify-ca to check the authority alone"
    )]
    WrongHost {
        /// `host:port`.
        address: String,
        /// The verifier's words.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error(
        "the TLS handshake with {address} failed ({source}); compare ssl_min_protocol_version and ssl_ciphers"
    )]
    Tls {
        /// `host:port`.
        address: String,
        /// What happened.
        source: io::Error,
    },
    /// The server wants a password and there is none.
    #[error("{address} wants a password for role `{user}`; set PGPASSWORD, or add a line to ~/.pgpass{note}")]
    PasswordMissing {
        /// `host:port` or the socket's path.
        address: String,
        /// The role.
        user: String,
        /// Why a password file that is there was not used; empty otherwise.
        note: String,
    },
    /// The password is wrong, or the role does not exist (28P01).
    #[error(
        "{address} refused the password of role `{user}`, which was read from {origin}; correct one of the two"
    )]
    Password {
        /// `host:port` or the socket's path.
        address: String,
        /// The role.
        user: String,
        /// Where the password was read from.
        origin: String,
    },
    /// `channel_binding=require`, and the login was not bound to the TLS session.
    #[error(
        "{address} does not bind the login to TLS, and channel_binding=require demands it; use \
         sslmode=require with a SCRAM password, or channel_binding=prefer"
    )]
    NotBound {
        /// `host:port` or the socket's path.
        address: String,
    },
    /// The role lacks a right (42501).
    #[error(
        "{address} does not let role `{user}` do this: {message}; grant it (replication: ALTER ROLE ... \
         REPLICATION)"
    )]
    Privilege {
        /// `host:port` or the socket's path.
        address: String,
        /// The role.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The role may not log in, or pg_hba.conf has no line for it (28000).
    #[error("{address} does not let role `{user}` in: {message}; check the role (\\du) and pg_hba.conf")]
    Role {
        /// `host:port` or the socket's path.
        address: String,
        /// The role.
        user: String,
        /// The server's words.
        message: String,
    },
    /// The database does not exist (3D000).
    #[error("{address} has no database `{database}`; `psql -l` lists what there is")]
    Database {
        /// `host:port` or the socket's path.
        address: String,
        /// The database asked for.
        database: String,
    },
    /// All connections are taken (53300).
    #[error(
        "{address} has no connection left: {message}; end idle sessions, or raise max_connections \
         (for replication: max_wal_senders)"
    )]
    TooMany {
        /// `host:port` or the socket's path.
        address: String,
        /// The server's words.
        message: String,
    },
    /// The server is starting up, shutting down or recovering (57P0x).
    #[error("{address} does not take connections now: {message}; try again when it has started")]
    NotNow {
        /// `host:port` or the socket's path.
        address: String,
        /// The condition's code.
        sqlstate: SqlState,
        /// The server's words.
        message: String,
    },
    /// A standby, where a server that takes writes was asked for.
    #[error("{address} takes no writes (it is a standby, or read-only); connect to the primary")]
    Standby {
        /// `host:port` or the socket's path.
        address: String,
    },
    /// A pooler between us and the server.
    #[error(
        "at {address} listens a connection pooler such as PgBouncer, not PostgreSQL itself ({why}); connect to the \
         server directly, under its own host and port: replication and the settings of a session do not pass \
         through a pooler"
    )]
    Pooler {
        /// `host:port` or the socket's path.
        address: String,
        /// How it is known.
        why: String,
    },
    /// Any other refusal by the server.
    #[error("{address} refused the connection: {message} ({})", sqlstate.code())]
    Refused {
        /// `host:port` or the socket's path.
        address: String,
        /// The condition's code.
        sqlstate: SqlState,
        /// The server's words.
        message: String,
    },
    /// The other side does not speak PostgreSQL's protocol as we know it.
    #[error("{address} answered unexpectedly ({problem}); check that PostgreSQL listens there")]
    Protocol {
        /// `host:port` or the socket's path.
        address: String,
        /// What was unexpected.
        problem: String,
    },
}

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

impl ConnectError {
    /// Whether the same call may succeed a little later without anybody changing a setting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lookup { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. }
            | Self::TooMany { .. }
            | Self::NotNow { .. }
            | Self::Standby { .. } => true,
            Self::Setting { .. }
            | Self::TlsRefused { .. }
            | Self::Untrusted { .. }
            | Self::WrongHost { .. }
            | Self::Tls { .. }
            | Self::PasswordMissing { .. }
            | Self::Password { .. }
            | Self::NotBound { .. }
            | Self::Privilege { .. }
            | Self::Role { .. }
            | Self::Database { .. }
            | Self::Pooler { .. }
            | Self::Refused { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// The server's code, where it was the server that refused.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self {
            Self::Password { .. } => Some(&SqlState::INVALID_PASSWORD),
            Self::Privilege { .. } => Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            Self::Role { .. } => Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
            Self::Database { .. } => Some(&SqlState::INVALID_CATALOG_NAME),
            Self::TooMany { .. } => Some(&SqlState::TOO_MANY_CONNECTIONS),
            Self::Pooler { .. } => Some(&SqlState::PROTOCOL_VIOLATION),
            Self::NotNow { sqlstate, .. } | Self::Refused { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    pub(super) fn setting(
        place: impl Into<String>,
        problem: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Setting { place: place.into(), problem: problem.into(), hint: hint.into() }
    }
}
