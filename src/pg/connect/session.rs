//! A SQL connection with known settings, its background task, and the server's version.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use tokio::task::JoinHandle;
use tokio_postgres::config::{SslMode as PgSslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage};

use super::cancel::{CancelKey, Canceller};
use super::target::{ChannelBinding, Endpoint, Target};
use super::wire::{Encryption, Settled, Wire};
use super::{ConnectError, attempt, startup};

/// An open connection. It derefs to the client; dropping it closes the connection at once.
pub struct Session {
    client: Client,
    task: JoinHandle<()>,
    end: Arc<OnceLock<SqlState>>,
    canceller: Canceller,
    server_version_num: u32,
}

impl Session {
    /// The server's version in the form of `server_version_num`: 150018 is 15.18.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// The SQLSTATE with which the server ended the connection, if it sent one (57P01: terminated by an administrator,
    /// 25P03: idle in a transaction for too long).
    #[must_use]
    pub fn ended_by(&self) -> Option<&SqlState> {
        self.end.get()
    }

    /// A handle that cancels the running statement from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("target", &self.canceller.target().label())
            .field("server_version_num", &self.server_version_num)
            .field("closed", &self.client.is_closed())
            .finish_non_exhaustive()
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Target {
    /// Opens a connection with [`base_settings`](super::startup::base_settings) and then `settings`, which win;
    /// Refuses a connection pooler.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`].
    pub async fn connect(
        &self,
        application_name: impl fmt::Display,
        settings: &[(&str, &str)],
    ) -> Result<Session, ConnectError> {
        let application_name = application_name.to_string();
        let mut config = Config::new();
        config
            .user(&self.user)
            .dbname(&self.database)
            .application_name(&application_name)
            .options(startup::options(self.options.as_deref(), settings))
            .ssl_mode(PgSslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match self.channel_binding {
                ChannelBinding::Disable => tokio_postgres::config::ChannelBinding::Disable,
                ChannelBinding::Prefer => tokio_postgres::config::ChannelBinding::Prefer,
                ChannelBinding::Require => tokio_postgres::config::ChannelBinding::Require,
            });
        let session = attempt::each(self, |endpoint, encryption| {
            let mut config = config.clone();
            async move { self.log_in(&mut config, endpoint, encryption).await }
        });
        let session =
            session.await.inspect_err(|error| tracing::debug!(application_name, %error, "no connection"))?;
        tracing::debug!(application_name, "connected");
        Ok(session)
    }

    async fn log_in(
        &self,
        config: &mut Config,
        endpoint: &Endpoint,
        encryption: Encryption,
    ) -> Result<Session, ConnectError> {
        let address = endpoint.to_string();
        let wire = Wire::open(self, endpoint, encryption).await?;
        let encrypted = wire.is_encrypted();
        if let Some(password) = &endpoint.password {
            config.password(password.expose());
        }
        let (client, connection) = attempt::in_time(self, &address, async {
            config.connect_raw(wire, Settled).await.map_err(|error| match error.as_db_error() {
                None if endpoint.password.is_none() && wants_password(&error) => {
                    self.password_missing(&address)
                }
                _ => attempt::refusal(&error, self, &address),
            })
        })
        .await?;
        startup::check_role(self, &address, |name| connection.parameter(name))?;
        let server_version_num =
            startup::server_version_num(connection.parameter("server_version"), &address)?;
        let token = client.cancel_token();
        let announced = super::cancel::announced_process(&token)
            .await
            .map_err(|source| ConnectError::Broken { address: address.clone(), source })?;
        let canceller = Canceller::new(self, endpoint, encrypted, CancelKey::Sql(token));
        let end = Arc::new(OnceLock::new());
        let task = tokio::spawn(drive(connection, Arc::clone(&end)));
        let session = Session { client, task, end, canceller, server_version_num };
        attempt::in_time(self, &address, self.settle_in(&session, announced, &address)).await?;
        Ok(session)
    }

    /// The settings that depend on the server's version; and whether the server itself answers.
    async fn settle_in(&self, session: &Session, announced: i32, address: &str) -> Result<(), ConnectError> {
        let refused = |error| attempt::refusal(&error, self, address);
        if let Some(statement) = startup::after_login(session.server_version_num) {
            session.batch_execute(&statement).await.map_err(refused)?;
        }
        // Not a prepared statement: its name may be in use on the session that a pooler hands out.
        let answer = session.simple_query(startup::SERVING_PROCESS).await;
        let answer = answer.map_err(refused)?;
        let serving = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        });
        startup::check_direct(address, announced, serving)
    }
}

/// Drives the connection. Notices are dropped unread: their texts may hold row values.
async fn drive(mut connection: Connection<Wire, Wire>, end: Arc<OnceLock<SqlState>>) {
    while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
        if let Err(error) = message {
            if let Some(code) = error.code() {
                // Set once, here: nobody else has it.
                let _ = end.set(code.clone());
            }
            return;
        }
    }
}

/// tokio-postgres has no error kind for this: the text of its cause is all there is.
fn wants_password(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string() == "password missing")
}
