//! Tries host after host, with and without TLS, until one accepts the login.

use super::ConnectError;
use super::target::{Endpoint, Target};
use super::wire::Encryption;

/// Runs `log_in` for each host in order, and for each kind of encryption that the mode allows. If no host accepts, the
/// last host's error is returned.
pub(crate) async fn each<'a, T, F, R>(target: &'a Target, log_in: F) -> Result<T, ConnectError>
where
    F: Fn(&'a Endpoint, Encryption) -> R,
    R: Future<Output = Result<T, ConnectError>>,
{
    let mut last = ConnectError::setting("host", "no host is given", "name a host");
    for endpoint in &target.endpoints {
        match one(target, endpoint, &log_in).await {
            Ok(session) => return Ok(session),
            // As libpq does: a wrong password is wrong on every host, and a retry may lock the role.
            Err(error @ (ConnectError::Password { .. } | ConnectError::Setting { .. })) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn one<'a, T, F, R>(target: &'a Target, endpoint: &'a Endpoint, log_in: F) -> Result<T, ConnectError>
where
    F: Fn(&'a Endpoint, Encryption) -> R,
    R: Future<Output = Result<T, ConnectError>>,
{
    let mut first_error = None;
    for encryption in Encryption::attempts(target, endpoint) {
        match log_in(endpoint, *encryption).await {
            Ok(session) => return Ok(session),
            Err(error) if other_encryption_may_help(&error) => first_error = first_error.or(Some(error)),
            Err(error) => return Err(first_error.unwrap_or(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| ConnectError::setting("sslmode", "allows nothing", "correct it")))
}

/// Whether pg_hba.conf may accept only the other kind (28000), or the handshake failed.
fn other_encryption_may_help(error: &ConnectError) -> bool {
    matches!(
        error,
        ConnectError::Role { .. }
            | ConnectError::Tls { .. }
            | ConnectError::Untrusted { .. }
            | ConnectError::TlsRefused { .. }
    )
}

/// Bounds a login by the target's `connect_timeout`.
pub(crate) async fn in_time<T>(
    target: &Target,
    address: &str,
    login: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match target.connect_timeout {
        None => login.await,
        Some(after) => tokio::time::timeout(after, login)
            .await
            .unwrap_or_else(|_| Err(ConnectError::Timeout { address: address.to_owned(), after })),
    }
}

/// Turns the driver's error into a [`ConnectError`].
pub(super) fn refusal(error: &tokio_postgres::Error, target: &Target, address: &str) -> ConnectError {
    if let Some(refused) = error.as_db_error() {
        return target.refused(address, refused.code(), refused.message());
    }
    let cause = std::error::Error::source(error);
    match cause.and_then(|cause| cause.downcast_ref::<std::io::Error>()) {
        Some(io) => ConnectError::Broken {
            address: address.to_owned(),
            source: std::io::Error::new(io.kind(), io.to_string()),
        },
        None if error.is_closed() => ConnectError::Broken {
            address: address.to_owned(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        },
        None if cause.is_some_and(|cause| cause.to_string().contains("channel binding")) => {
            ConnectError::NotBound { address: address.to_owned() }
        }
        None => {
            let problem = cause.map_or_else(|| error.to_string(), ToString::to_string);
            ConnectError::Protocol { address: address.to_owned(), problem }
        }
    }
}
