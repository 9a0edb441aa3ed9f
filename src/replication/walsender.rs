//! A replication connection that is not streaming: it creates and drops slots, and starts a stream.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

use super::error::ReplicationError;
use super::link::{Incoming, Link, error_fields};
use super::login::{self, LoggedIn};
use super::server::Server;
use super::stream::Stream;
use crate::pg::connect::unless_stalled;
use crate::pg::connect::{self, CancelKey, Canceller, ConnectError, Encryption, Endpoint, Target, Wire};
use crate::pg::{AS_STORED, Ident, Literal, Lsn};

/// A connection to the server's walsender.
///
/// It holds the snapshot that [`Walsender::create_slot`] exported: the next command on it, or its drop, ends that
/// snapshot (transactions that have imported it keep it).
///
/// A command fails if its answer is lost: a proxy can keep a single connection open in which nothing gets through any more.
pub struct Walsender {
    link: Link,
    process_id: i32,
    canceller: Canceller,
    server_version_num: u32,
    /// A command was sent and its answer not read to the end.
    busy: bool,
    /// How long an open connection may be silent.
    silence: Option<Duration>,
}

/// The consistent point that creating a slot gives: `snapshot` sees exactly the commits before `lsn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentPoint {
    /// The slot's stream has every transaction whose commit record begins here or later.
    pub lsn: Lsn,
    /// For `SET TRANSACTION SNAPSHOT`, while the walsender is idle and connected.
    pub snapshot: String,
}

/// What to stream, from where, and how much of it may wait in memory.
#[derive(Clone, Debug)]
pub struct Start {
    /// The slot's name.
    pub slot: String,
    /// The publication's name, unquoted.
    pub publication: String,
    /// Transactions that end after this are sent; 0 continues from the last acknowledged position.
    pub from: Lsn,
    /// Bytes of received messages that may wait for the consumer. A single larger message is let through.
    pub buffer_bytes: usize,
}

impl Walsender {
    /// Opens a replication connection to the target's database, with the settings of [`Target::connect`].
    ///
    /// # Errors
    /// [`ReplicationError::Connect`]. The role needs REPLICATION.
    pub async fn connect(
        target: &Target,
        application_name: &str,
        settings: &[(&str, &str)],
    ) -> Result<Self, ReplicationError> {
        let options = connect::options(target.options.as_deref(), settings);
        let options = options.as_str();
        let mut walsender = connect::each(target, |endpoint, encryption| {
            open(target, endpoint, encryption, application_name, options)
        })
        .await?;
        if let Some(statement) = connect::after_login(walsender.server_version_num) {
            walsender.command(&statement).await?;
        }
        Ok(walsender)
    }

    /// The server's version in the form of `server_version_num`: 150018 is 15.18.
    #[must_use]
    pub fn server_version_num(&self) -> u32 {
        self.server_version_num
    }

    /// A handle that cancels the running command from elsewhere: a slot's creation that waits for other transactions
    /// continues in the server even if this connection is dropped.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Creates a logical slot for pgoutput and exports its snapshot. Waits for every running transaction of the cluster
    /// that has an xid; `lock_timeout` in the settings bounds that.
    ///
    /// # Errors
    /// 55P03 if `lock_timeout` ended the wait, 42710 if the name is taken, 53400 if no slot is free, 55000 if
    /// `wal_level` is not logical.
    pub async fn create_slot(
        &mut self,
        name: &str,
        temporary: bool,
    ) -> Result<ConsistentPoint, ReplicationError> {
        let row = self.command(&create_slot(name, temporary, self.server_version_num)).await?;
        tracing::info!(slot = name, lsn = row.get(1).and_then(Option::as_deref), "slot made");
        match row.as_slice() {
            [_, Some(lsn), Some(snapshot), ..] => Ok(ConsistentPoint {
                lsn: lsn.parse().map_err(|_| ReplicationError::Protocol("the consistent point is no LSN"))?,
                snapshot: snapshot.clone(),
            }),
            _ => Err(ReplicationError::Protocol("a slot was created without a consistent point")),
        }
    }

    /// Drops a slot. Does not wait for a slot that is in use.
    ///
    /// # Errors
    /// [`ReplicationError::SlotGone`] if there is none, 55006 if a connection uses it.
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), ReplicationError> {
        let command = format!("DROP_REPLICATION_SLOT {}", Ident::from(name));
        self.command(&command).await.map(drop).map_err(|error| error.of_slot(name))
    }

    /// Writes a transactional logical message.
    ///
    /// # Errors
    /// If the server rejected the statement, or the connection was lost.
    pub async fn emit(&mut self, prefix: &str, content: &str) -> Result<(), ReplicationError> {
        let (prefix, content) = (Literal(prefix), Literal(content));
        let sql = format!("SELECT pg_catalog.pg_logical_emit_message(true, {prefix}, {content})");
        self.command(&sql).await.map(drop)
    }

    /// Checks that the server is this one.
    ///
    /// # Errors
    /// [`ReplicationError::OtherServer`]; or if the connection was lost.
    pub async fn must_be(&mut self, known: &Server) -> Result<(), ReplicationError> {
        let row = self.command("IDENTIFY_SYSTEM").await?;
        let [Some(system), Some(timeline), ..] = row.as_slice() else {
            return Err(ReplicationError::Protocol("it does not say which server it is"));
        };
        let now = Server { system: Some(system.clone()), timeline: timeline.clone() };
        if known.is(&now) {
            return Ok(());
        }
        Err(ReplicationError::OtherServer { known: known.to_string(), now: now.to_string() })
    }

    /// Ends an earlier connection of ours that the server still has on a slot, because it does not know that it is lost.
    ///
    /// # Errors
    /// If the server rejected the statement, or the connection was lost.
    pub async fn end(&mut self, slot: &str, process_id: i32) -> Result<(), ReplicationError> {
        let sql = format!(
            "SELECT pg_catalog.pg_terminate_backend(active_pid, 10000) FROM pg_catalog.pg_replication_slots \
             WHERE slot_name = {} AND active_pid = {process_id}",
            Literal(slot)
        );
        self.command(&sql).await.map(drop)
    }

    /// Turns the connection into a stream of `start.slot`'s changes, with text in the database's encoding.
    ///
    /// # Errors
    /// [`ReplicationError::SlotGone`] if the slot does not exist or was invalidated; 55006 (transient) while another
    /// connection streams from it.
    pub async fn start(mut self, start: Start) -> Result<Stream, ReplicationError> {
        self.command(AS_STORED).await?;
        self.begin(&start).await?;
        tracing::debug!(slot = start.slot, from = %start.from, "stream begun");
        Ok(Stream::spawn(self.link, start.from, start.buffer_bytes, self.silence, self.process_id))
    }

    /// The server answers before it decodes anything; and is at work from then on, so that it cannot be asked.
    async fn begin(&mut self, start: &Start) -> Result<(), ReplicationError> {
        self.send(&start_replication(&start.slot, &start.publication, start.from)).await?;
        let incoming = match self.silence {
            Some(limit) => tokio::time::timeout(limit * 2, self.link.next()).await.unwrap_or_else(|_| {
                let text = format!("no stream has begun within {} s", (limit * 2).as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }),
            None => self.link.next().await,
        };
        match incoming.map_err(ReplicationError::Lost)? {
            Incoming::CopyBoth => Ok(()),
            Incoming::Message(Message::ErrorResponse(body)) => {
                let (sqlstate, message) = error_fields(&body);
                Err(ReplicationError::server(sqlstate, message).of_slot(&start.slot))
            }
            Incoming::Message(_) => Err(ReplicationError::Protocol("no stream where one was asked for")),
        }
    }

    /// Sends Terminate, so that the server drops temporary slots at once.
    pub async fn close(mut self) {
        // If the server cannot be reached, there is nothing to tell it.
        let _ = self.link.close().await;
    }

    async fn send(&mut self, command: &str) -> Result<(), ReplicationError> {
        if self.busy {
            return Err(ReplicationError::Interrupted);
        }
        let mut out = BytesMut::new();
        frontend::query(command, &mut out).map_err(ReplicationError::Lost)?;
        self.busy = true;
        self.link.send(&out).await.map_err(ReplicationError::Lost)
    }

    /// Runs one command and returns its last row, if it has any.
    async fn command(&mut self, command: &str) -> Result<Vec<Option<String>>, ReplicationError> {
        let target = self.canceller.target().clone();
        unless_stalled(&target, self.process_id, self.answer(command)).await
    }

    async fn answer(&mut self, command: &str) -> Result<Vec<Option<String>>, ReplicationError> {
        self.send(command).await?;
        let (mut row, mut failure) = (Vec::new(), None);
        loop {
            let incoming = match self.link.next().await {
                Ok(incoming) => incoming,
                // After a fatal error the server closes the connection: the error says more than that.
                Err(source) => return Err(failure.unwrap_or(ReplicationError::Lost(source))),
            };
            match incoming {
                Incoming::Message(Message::DataRow(body)) => row = texts(&body)?,
                Incoming::Message(Message::ErrorResponse(body)) => {
                    let (sqlstate, message) = error_fields(&body);
                    failure = Some(ReplicationError::server(sqlstate, message));
                }
                Incoming::Message(Message::ReadyForQuery(_)) => break,
                Incoming::Message(_) => {}
                Incoming::CopyBoth => {
                    return Err(ReplicationError::Protocol("a stream where none was asked for"));
                }
            }
        }
        self.busy = false;
        failure.map_or(Ok(row), Err)
    }
}

impl fmt::Debug for Walsender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walsender")
            .field("server_version_num", &self.server_version_num)
            .field("busy", &self.busy)
            .finish_non_exhaustive()
    }
}

async fn open(
    target: &Target,
    endpoint: &Endpoint,
    encryption: Encryption,
    application_name: &str,
    options: &str,
) -> Result<Walsender, ConnectError> {
    let address = endpoint.to_string();
    let wire = Wire::open(target, endpoint, encryption).await?;
    let encrypted = wire.is_encrypted();
    let login = login::log_in(target, endpoint, wire, application_name, options);
    let LoggedIn { link, process_id, secret_key, server_version } =
        connect::in_time(target, &address, login).await?;
    let server_version_num = connect::server_version_num(server_version.as_deref(), &address)?;
    let key = CancelKey::Replication { process_id, secret_key };
    let canceller = Canceller::new(target, endpoint, encrypted, key);
    let mut walsender = Walsender {
        link,
        process_id,
        canceller,
        server_version_num,
        busy: false,
        silence: target.silence_limit(),
    };
    let serving = walsender.command(connect::SERVING_PROCESS).await;
    let serving = serving.map_err(|error| not_connected(error, target, &address))?;
    let serving = serving.first().and_then(|pid| pid.as_deref()?.parse().ok());
    connect::check_direct(&address, process_id, serving)?;
    Ok(walsender)
}

/// What an error of the first command means: that command belongs to connecting.
fn not_connected(error: ReplicationError, target: &Target, address: &str) -> ConnectError {
    let owned = address.to_owned();
    match error {
        ReplicationError::Connect(error) => error,
        ReplicationError::Server { sqlstate, message } => target.refused(address, &sqlstate, &message),
        ReplicationError::Lost(source) => ConnectError::Broken { address: owned, source },
        ReplicationError::SlotGone { .. }
        | ReplicationError::Ended
        | ReplicationError::Malformed(_)
        | ReplicationError::Protocol(_)
        | ReplicationError::Interrupted
        | ReplicationError::OtherServer { .. } => {
            ConnectError::Protocol { address: owned, problem: error.to_string() }
        }
    }
}

fn texts(body: &DataRowBody) -> Result<Vec<Option<String>>, ReplicationError> {
    use fallible_iterator::FallibleIterator;
    body.ranges()
        .map(|range| {
            let bytes = range.and_then(|range| body.buffer().get(range));
            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        })
        .collect()
        .map_err(ReplicationError::Lost)
}

/// The command that creates a slot on a server of this `server_version_num`: from version 17 on one that is copied to standbys
/// with `sync_replication_slots`, so that a run survives a failover to one of them.
pub(crate) fn create_slot(name: &str, temporary: bool, version: u32) -> String {
    let name = Ident::from(name);
    match temporary {
        true => format!("CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"),
        false if version >= 170_000 => {
            format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput (SNAPSHOT 'export', FAILOVER true)")
        }
        false => format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput EXPORT_SNAPSHOT"),
    }
}

/// The command that starts to stream at `from`.
pub(crate) fn start_replication(slot: &str, publication: &str, from: impl fmt::Display) -> String {
    let publication = quoted(&Ident::from(publication).to_string());
    format!(
        "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names {publication}, \
         binary 'true', messages 'true')",
        Ident::from(slot),
    )
}

/// A string literal of the replication grammar, which has no `E''`: a backslash is a backslash.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use tokio_postgres::error::SqlState;

    use super::*;

    #[test]
    fn a_server_that_goes_down_while_we_connect_is_tried_again() {
        let target = Target::resolve(Some("postgres://u@h/d"), &|_| None).unwrap();
        let went_down = |sqlstate| ReplicationError::Server { sqlstate, message: "going".to_owned() };
        for error in [
            went_down(SqlState::ADMIN_SHUTDOWN),
            went_down(SqlState::CRASH_SHUTDOWN),
            ReplicationError::Lost(io::ErrorKind::ConnectionReset.into()),
        ] {
            assert!(not_connected(error, &target, "h:5432").is_transient());
        }
        let strange = not_connected(ReplicationError::Protocol("a row"), &target, "h:5432");
        assert!(!strange.is_transient() && strange.to_string().contains("a row"), "{strange}");
    }
}
