//! Cancels a running statement from outside its connection.

use std::fmt;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::CancelToken;

use super::target::{Endpoint, Target};
use super::wire::{Encryption, Settled, Wire};
use super::{ConnectError, attempt};

/// Cancels whatever statement its connection runs. Cheap to clone.
#[derive(Clone)]
pub struct Canceller {
    target: Target,
    endpoint: Endpoint,
    encryption: Encryption,
    key: CancelKey,
}

/// The process id and secret that the server gave the connection.
#[derive(Clone)]
pub(crate) enum CancelKey {
    Sql(CancelToken),
    Replication { process_id: i32, secret_key: i32 },
}

impl Canceller {
    pub(crate) fn new(target: &Target, endpoint: &Endpoint, encrypted: bool, key: CancelKey) -> Self {
        let encryption = if encrypted { Encryption::Always } else { Encryption::Never };
        Self { target: target.clone(), endpoint: endpoint.clone(), encryption, key }
    }

    /// Asks the server to cancel the running statement, which then fails with 57014. Has no effect if none runs.
    ///
    /// # Errors
    /// If no connection for the request can be made.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let address = self.endpoint.to_string();
        let mut wire = Wire::open(&self.target, &self.endpoint, self.encryption).await?;
        attempt::in_time(&self.target, &address, async {
            match &self.key {
                CancelKey::Sql(token) => token
                    .cancel_query_raw(wire, Settled)
                    .await
                    .map_err(|error| attempt::refusal(&error, &self.target, &address)),
                CancelKey::Replication { process_id, secret_key } => {
                    let mut request = BytesMut::new();
                    frontend::cancel_request(*process_id, *secret_key, &mut request);
                    let broken = |source| ConnectError::Broken { address: address.clone(), source };
                    wire.write_all(&request).await.map_err(broken)?;
                    wire.flush().await.map_err(broken)?;
                    // The server closes the connection once it has sent the signal.
                    let _ = wire.read_u8().await;
                    Ok(())
                }
            }
        })
        .await
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// The process that the server announced for the connection. The driver only reveals it in a cancel request, which is
/// read here instead of being sent.
pub(super) async fn announced_process(token: &CancelToken) -> std::io::Result<i32> {
    let (mut request, wire) = tokio::net::UnixStream::pair()?;
    token.cancel_query_raw(Wire::Unix(wire), Settled).await.map_err(std::io::Error::other)?;
    // Length and request code; then the process id, and its secret, which is not read.
    let (_, _) = (request.read_i32().await?, request.read_i32().await?);
    request.read_i32().await
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("target", &self.target.label()).finish_non_exhaustive()
    }
}
