//! The task behind a stream: it owns the socket, decodes messages, and reports positions.
//!
//! Invariant: the server gets a status update at least every [`HEARTBEAT`], even while the buffer is full and nothing
//! is read; otherwise it would end the connection after `wal_sender_timeout`.
//!
//! A stream may be quiet for hours, and a proxy can keep its connection open while nothing gets through it any more, when
//! all others are fine. So a server that has been silent is asked for a reply.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::buffer::Shared;
use super::delivery::{Delivery, Received};
use super::error::ReplicationError;
use super::link::{Incoming, Link, error_fields};
use super::pgoutput::Logical;
use crate::pg::Lsn;

/// The longest time between two status updates.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Acknowledgements are collected for this long.
const REPORT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Receiver {
    link: Link,
    shared: Arc<Shared>,
    outbox: mpsc::UnboundedSender<Delivery>,
    /// The server asked for an immediate reply.
    asked: bool,
    reported_at: Instant,
    /// When the latest acknowledgement has to be reported.
    due: Option<Instant>,
    /// When the server was last heard, or was not listened to.
    heard_at: Instant,
    /// After how long without a word the connection is lost.
    silence: Option<Duration>,
}

/// Why the loop ended, if not with an error.
enum End {
    /// The consumer called [`super::Stream::stop`].
    Stopped,
    /// The consumer dropped the stream.
    Abandoned,
}

impl Receiver {
    /// `silence`: how long an open connection may be silent. A walsender that decodes a large transaction answers late:
    /// it gets twice that time.
    pub(super) fn new(
        link: Link,
        shared: Arc<Shared>,
        outbox: mpsc::UnboundedSender<Delivery>,
        silence: Option<Duration>,
    ) -> Self {
        let now = Instant::now();
        let silence = silence.map(|limit| limit * 2);
        Self { link, shared, outbox, asked: false, reported_at: now, due: None, heard_at: now, silence }
    }

    /// Runs until the consumer stops it or the stream ends. The consumer gets the reason for the end after everything
    /// received before; the result is that of stopping.
    pub(super) async fn run(mut self, stopped: oneshot::Receiver<()>) -> Result<(), ReplicationError> {
        match self.stream(stopped).await {
            Ok(End::Stopped) => self.finish().await,
            Ok(End::Abandoned) => Ok(()),
            Err(error) => {
                // If the consumer has dropped the stream, nobody needs to know.
                let _ = self.outbox.send(Delivery { received: Err(error), bytes: 0 });
                Ok(())
            }
        }
    }

    async fn stream(&mut self, mut stopped: oneshot::Receiver<()>) -> Result<End, ReplicationError> {
        let mut heartbeat = interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.forward()?;
            if self.asked {
                self.report().await?;
            }
            let full = self.shared.is_full();
            let due = self.due;
            tokio::select! {
                biased;
                stop = &mut stopped => return Ok(if stop.is_ok() { End::Stopped } else { End::Abandoned }),
                _ = heartbeat.tick() => {
                    if full {
                        self.heard_at = Instant::now();
                    }
                    self.expect_a_word()?;
                    self.report().await?;
                }
                () = sleep_until(due.unwrap_or(self.reported_at)), if due.is_some() => self.report().await?,
                () = self.shared.news.notified(), if due.is_none() => {
                    self.due = Some(self.reported_at + REPORT_PAUSE);
                }
                () = self.shared.room.notified(), if full => {}
                read = self.link.read(), if !full => {
                    read.map_err(ReplicationError::Lost)?;
                    self.heard_at = Instant::now();
                }
            }
        }
    }

    /// Fails if the server has been silent for too long, although it was asked to reply.
    fn expect_a_word(&self) -> Result<(), ReplicationError> {
        match self.silence.filter(|limit| self.heard_at.elapsed() > *limit) {
            Some(limit) => {
                let text =
                    format!("the server has sent nothing on this connection for {} s", limit.as_secs());
                Err(ReplicationError::Lost(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
            None => Ok(()),
        }
    }

    /// Delivers the complete messages in the inbox while there is room.
    fn forward(&mut self) -> Result<(), ReplicationError> {
        while !self.shared.is_full() {
            match self.link.take().map_err(ReplicationError::Lost)? {
                None => return Ok(()),
                Some(Incoming::Message(Message::CopyData(body))) => self.copy_data(body.into_bytes())?,
                Some(Incoming::Message(Message::ErrorResponse(body))) => {
                    let (sqlstate, message) = error_fields(&body);
                    return Err(ReplicationError::server(sqlstate, message));
                }
                Some(Incoming::Message(Message::CopyDone)) => return Err(ReplicationError::Ended),
                // Notices may hold row values; changed parameters do not matter here.
                Some(Incoming::Message(Message::NoticeResponse(_) | Message::ParameterStatus(_))) => {}
                Some(_) => return Err(ReplicationError::Protocol("a message that is no part of a stream")),
            }
        }
        Ok(())
    }

    fn copy_data(&mut self, mut data: Bytes) -> Result<(), ReplicationError> {
        let bytes = data.len();
        let short = |_| ReplicationError::Protocol("a replication message is cut short");
        match data.try_get_u8().map_err(short)? {
            b'w' => {
                data.try_get_u64().map_err(short)?; // where the message begins in the WAL
                data.try_get_u64().map_err(short)?; // the end of the WAL
                data.try_get_i64().map_err(short)?; // the server's clock
                let message = Logical::decode(data)?;
                let bytes = bytes + message.overhead_bytes();
                self.deliver(Received::Message(message), bytes);
            }
            b'k' => {
                let wal_end = Lsn(data.try_get_u64().map_err(short)?);
                data.try_get_i64().map_err(short)?;
                self.asked |= data.try_get_u8().map_err(short)? == 1;
                self.deliver(Received::Keepalive { wal_end }, bytes);
            }
            _ => return Err(ReplicationError::Protocol("an unknown replication message")),
        }
        Ok(())
    }

    fn deliver(&self, received: Received, bytes: usize) {
        self.shared.put(bytes);
        // A consumer that has dropped the stream has dropped the stop signal too, which ends the loop.
        let _ = self.outbox.send(Delivery { received: Ok(received), bytes });
    }

    /// The standby status update: written, flushed and applied are the same position here.
    async fn report(&mut self) -> Result<(), ReplicationError> {
        let mut update = BytesMut::with_capacity(34);
        update.put_u8(b'r');
        let lsn = self.shared.acknowledged().0;
        update.put_u64(lsn);
        update.put_u64(lsn);
        update.put_u64(lsn);
        update.put_i64(postgres_now());
        let is_silent = self.silence.is_some_and(|limit| self.heard_at.elapsed() > limit / 4);
        update.put_u8(u8::from(is_silent));
        let mut out = BytesMut::with_capacity(39);
        frontend::CopyData::new(update).map_err(ReplicationError::Lost)?.write(&mut out);
        self.link.send(&out).await.map_err(ReplicationError::Lost)?;
        (self.asked, self.due, self.reported_at) = (false, None, Instant::now());
        Ok(())
    }

    /// Ends the COPY on our side and waits for the server to end its own.
    async fn finish(&mut self) -> Result<(), ReplicationError> {
        self.report().await?;
        let mut out = BytesMut::new();
        frontend::copy_done(&mut out);
        self.link.send(&out).await.map_err(ReplicationError::Lost)?;
        loop {
            match self.link.next().await {
                Ok(Incoming::Message(Message::ReadyForQuery(_))) => break,
                Ok(Incoming::Message(Message::ErrorResponse(body))) => {
                    let (sqlstate, message) = error_fields(&body);
                    return Err(ReplicationError::server(sqlstate, message));
                }
                Ok(_) => {}
                // Closed by the server, so the slot is free as well.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(ReplicationError::Lost(error)),
            }
        }
        // The slot is free; whether the Terminate message arrives does not matter.
        let _ = self.link.close().await;
        Ok(())
    }
}

/// Now, in microseconds since 2000-01-01.
fn postgres_now() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_micros()).unwrap_or(i64::MAX) - super::UNIX_TO_POSTGRES_MICROS
}
