//! Why no connection could be made, and what to do about it.
//!
//! Invariant: no variant holds a password, and none is built from text that could hold one.

use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// Why a connection could not be configured or made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting has a value that cannot be used.
    #[error("{place}: {problem}; {hint}")]
    Setting {
        /// Where the value was read: a variable's name, a file and line, the connection string.
        place: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        hint: String,
    },
    /// The host name has no address.
    #[error(
        "cannot find the address of host `{host}` ({}); check the spelling of the host, and DNS",
        words(source)
    )]
    Lookup {
        /// The name that was looked up.
        host: String,
        /// The error of the name resolution.
        source: io::Error,
    },
    /// No server listens at the address, or it cannot be reached.
    #[error(
        "cannot reach PostgreSQL at {address} ({}); check that the server runs and listens there ({}){}",
        words(source), if address.contains('/') { "unix_socket_directories, port" } else { "listen_addresses, port, firewall" },
        if address.starts_with("localhost:5432") { "; that is the default: DATABASE_URL, PGHOST or --database-url give another" } else { "" }
    )]
    Unreachable {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The server did not answer within `connect_timeout`.
    #[error(
        "no answer from {address} within {} s; check the network and the server's load, or raise \
         PGCONNECT_TIMEOUT", after.as_secs()
    )]
    Timeout {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The timeout that has passed.
        after: Duration,
    },
    /// The server did not answer on an open connection for as long as [`super::Target::silence_limit`] allows.
    #[error(
        "{address} has not answered for {} s on an open connection; check the network and the server's load, or raise \
         keepalives_idle", after.as_secs()
    )]
    Silent {
        /// `host:port`, or the path of the socket.
        address: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection was lost before the login had ended.
    #[error(
        "the connection to {address} was lost during the login ({}); check the server's log",
        words(source)
    )]
    Broken {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The error of the socket.
        source: io::Error,
    },
    /// `sslmode` requires TLS, and the server does not offer it.
    #[error(
        "{address} does not offer TLS, and sslmode={mode} demands it; turn on `ssl` on the server, or set \
         sslmode=prefer if the network is trusted"
    )]
    TlsRefused {
        /// The server's address, as `host:port`.
        address: String,
        /// The value of `sslmode`.
        mode: &'static str,
    },
    /// The server's certificate does not lead to a trusted root, or is out of date.
    #[error(
        "the certificate of {address} is not trusted ({reason}); point sslrootcert (PGSSLROOTCERT) at the \
         certificate of the authority that signed it"
    )]
    Untrusted {
        /// The server's address, as `host:port`.
        address: String,
        /// Why the verifier rejected it.
        reason: String,
    },
    /// The certificate was issued for another host name.
    #[error(
        "the certificate of {address} is for another host ({reason}); connect under a name of its \
         subjectAltName, or use sslmode=verify-ca to check the authority alone"
    )]
    WrongHost {
        /// The server's address, as `host:port`.
        address: String,
        /// Why the verifier rejected it.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error(
        "the TLS handshake with {address} failed ({source}); compare ssl_min_protocol_version and ssl_ciphers"
    )]
    Tls {
        /// The server's address, as `host:port`.
        address: String,
        /// The error of the TLS library or of the socket.
        source: io::Error,
    },
    /// The server asks for a password, and none is configured.
    #[error(
        "{address} asks for the password of role `{user}`; set PGPASSWORD, or add a line to ~/.pgpass{note}"
    )]
    PasswordMissing {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The role that tried to log in.
        user: String,
        /// Why an existing password file was not used; otherwise empty.
        note: String,
    },
    /// The password is wrong, or the role does not exist (28P01).
    #[error(
        "{address} rejected the password of role `{user}`, which was read from {origin}; correct one of the two"
    )]
    Password {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The role that tried to log in.
        user: String,
        /// Where the password was read from, without the password.
        origin: String,
    },
    /// `channel_binding=require`, and the login was not bound to the TLS session.
    #[error(
        "{address} does not bind the login to TLS, and channel_binding=require demands it; use \
         sslmode=require with a SCRAM password, or channel_binding=prefer"
    )]
    NotBound {
        /// `host:port`, or the path of the socket.
        address: String,
    },
    /// The role lacks a right (42501).
    #[error(
        "{address} does not let role `{user}` do this: {message}; grant it (replication: ALTER ROLE ... \
         REPLICATION)"
    )]
    Privilege {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The role that tried to log in.
        user: String,
        /// The server's message.
        message: String,
    },
    /// The role may not log in, or pg_hba.conf has no line for it (28000).
    #[error("{address} does not let role `{user}` in: {message}; check the role (\\du) and pg_hba.conf")]
    Role {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The role that tried to log in.
        user: String,
        /// The server's message.
        message: String,
    },
    /// The database does not exist (3D000).
    #[error("{address} has no database `{database}`; `psql -l` lists the databases")]
    Database {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The database that was asked for.
        database: String,
    },
    /// All connections of the server, the database or the role are in use (53300).
    #[error(
        "{address} has no connection left: {message}; end idle sessions, or raise max_connections \
         (for replication: max_wal_senders)"
    )]
    TooMany {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The server's message.
        message: String,
    },
    /// The server is starting up, shutting down or in recovery (57P0x).
    #[error("{address} accepts no connections now: {message}; try again when it has started")]
    NotNow {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The server's SQLSTATE.
        sqlstate: SqlState,
        /// The server's message.
        message: String,
    },
    /// The server is read-only, and one that accepts writes was asked for.
    #[error("{address} accepts no writes (it is a standby, or read-only); connect to the primary")]
    Standby {
        /// `host:port`, or the path of the socket.
        address: String,
    },
    /// A connection pooler stands between the program and the server.
    #[error(
        "at {address} listens a connection pooler such as PgBouncer, not PostgreSQL itself ({why}); connect to the \
         server directly, under its own host and port: replication and the settings of a session do not pass \
         through a pooler"
    )]
    Pooler {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The evidence for a pooler.
        why: String,
    },
    /// The server refused the connection for any other reason.
    #[error("{address} refused the connection: {message} ({})", sqlstate.code())]
    Refused {
        /// `host:port`, or the path of the socket.
        address: String,
        /// The server's SQLSTATE.
        sqlstate: SqlState,
        /// The server's message.
        message: String,
    },
    /// Whatever listens there does not speak PostgreSQL's protocol as this program knows it.
    #[error("{address} answered unexpectedly ({problem}); check that PostgreSQL listens there")]
    Protocol {
        /// `host:port`, or the path of the socket.
        address: String,
        /// What was unexpected in its answer.
        problem: String,
    },
}

/// The operating system's message without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error ").map_or(text.as_str(), |(words, _)| words).to_owned()
}

impl ConnectError {
    /// Whether the same attempt may succeed a little later, with no setting changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lookup { .. }
            | Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Silent { .. }
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

    /// The server's SQLSTATE, if the server refused.
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
