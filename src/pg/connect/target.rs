//! Where to connect, as which role, and with what protection.
//!
//! Invariant: `Debug` and `Display` of everything here show no password.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Directories that a password file calls `localhost`; libpq knows the one that it was built with.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A resolved connection target: made by [`Target::resolve`], used by [`Target::connect`] and
/// by the replication client.
#[derive(Clone, Debug)]
pub struct Target {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) tls: TlsSettings,
    pub(crate) channel_binding: ChannelBinding,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Option<Keepalive>,
    /// How long the kernel may wait for the acknowledgement of what was sent (libpq's `tcp_user_timeout`).
    pub(super) user_timeout: Option<Duration>,
    /// `options` of the connection string, or PGOPTIONS; ours follow and win.
    pub(crate) options: Option<String>,
    /// Which servers are skipped.
    pub(super) wanted: Wanted,
    /// For errors: where the password was read from, and why a password file was not used.
    pub(super) password_origin: String,
    pub(super) password_note: String,
}

impl Target {
    /// `host:port/database`, without secrets; the first host, if there are several.
    #[must_use]
    pub fn label(&self) -> String {
        self.endpoints
            .first()
            .map_or_else(|| format!("/{}", self.database), |first| format!("{first}/{}", self.database))
    }

    /// After how long without an answer a connection counts as lost: when the last keepalive probe would have failed.
    /// `None` if the user has turned the probes off.
    #[must_use]
    pub fn silence_limit(&self) -> Option<Duration> {
        self.keepalive.map(Keepalive::total)
    }

    /// The role to log in as.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The database to connect to.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

/// One server of the list.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(super) host: Host,
    /// The address to connect to instead of asking DNS; TLS still checks the host name.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(crate) password: Option<Secret>,
}

/// A host name or address, or a directory with a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Tcp(String),
    Unix(PathBuf),
}

impl Endpoint {
    #[cfg(test)]
    pub(super) fn tcp(host: &str, port: u16) -> Self {
        Self { host: Host::Tcp(host.to_owned()), address: None, port, password: None }
    }

    /// The names under which a password file may list this server.
    pub(super) fn names_in_passfile(&self) -> Vec<String> {
        match &self.host {
            Host::Tcp(name) => vec![name.clone()],
            Host::Unix(directory) => {
                let directory = directory.display().to_string();
                let local = SOCKET_DIRECTORIES.contains(&directory.as_str());
                let mut names = vec![directory];
                if local {
                    names.push("localhost".to_owned());
                }
                names
            }
        }
    }

    /// The path of the socket, for a Unix host; `@` stands for the abstract namespace, which has no files.
    pub(super) fn socket_path(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(directory) => Some(directory.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// The first of the usual socket directories that has a socket for `port`.
pub(super) fn local_socket_directory(port: u16) -> Option<PathBuf> {
    SOCKET_DIRECTORIES
        .iter()
        .map(PathBuf::from)
        .find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists())
}

/// How TLS is used (libpq's `sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// The settings of TLS.
#[derive(Clone, Debug)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    /// PEM file of trusted certificates; `None` uses the system's.
    pub(super) roots: Option<PathBuf>,
    /// Client certificate and key (PEM files), for a server that asks for one.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Whether the password exchange is bound to the TLS channel (libpq's `channel_binding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// Which server of several is wanted (libpq's `target_session_attrs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    /// A server that is not a standby.
    Primary,
    /// A server that accepts writes.
    ReadWrite,
}

/// TCP keepalive probes (libpq's `keepalives_*`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
}

impl Keepalive {
    /// When the last probe has failed.
    pub(super) fn total(self) -> Duration {
        self.idle + self.interval.saturating_mul(self.count)
    }
}

impl Default for Keepalive {
    /// A dead peer is noticed after about a minute; the kernel's own default is two hours.
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 3 }
    }
}

/// A password; its `Debug` shows only that there is one.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
