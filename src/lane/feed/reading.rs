//! The stream as the feed reads it: all the time, or in bursts while nobody waits for it.
//!
//! A walsender that waits for changes is woken by every commit of the server's clients, which costs them more than the
//! changes do; so there is none between two bursts.
//!
//! Invariant: a burst ends only where everything that it brought was acknowledged, and the next one begins there, on the
//! same server. Another one that has taken over may lack some of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::pg::Lsn;
use crate::pg::connect::Target;
use crate::replication::{Received, ReplicationError, Server, Start, Stream, Walsender};

/// A stream that has brought fewer messages is kept: whoever has few commits need not be spared.
const BURST_MESSAGES: u32 = 1_000;
/// A new walsender decodes again what lies before the slot's restart position. The rest is so many times what that takes,
/// within these bounds.
const REST_TIMES: u32 = 20;
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(10);

/// Which stream to read.
pub struct Read {
    /// The `application_name` of its connections.
    pub role: String,
    /// Slot and publication of the tables, and from where on to read.
    pub start: Start,
}

/// A stream that is open, or is not for a while.
pub(super) struct Reading {
    target: Arc<Target>,
    read: Read,
    /// The server of the first connection.
    server: Option<Server>,
    now: Now,
    /// When the stream was asked for.
    begun: Instant,
    /// How long it took from there to the first message.
    first_after: Option<Duration>,
    messages: u32,
    /// The server had nothing more after the last message.
    is_at_end: bool,
    /// Whether to end the stream when it has brought enough.
    in_bursts: bool,
}

enum Now {
    Open(Stream),
    Opening(JoinHandle<Result<Stream, ReplicationError>>),
    Resting(Instant),
}

impl Reading {
    /// Opens the stream.
    ///
    /// # Errors
    /// As [`Walsender::connect`] and [`Walsender::start`].
    pub(super) async fn open(target: Arc<Target>, read: Read) -> Result<Self, ReplicationError> {
        let begun = Instant::now();
        let mut server = None;
        let now = Now::Open(stream(&target, &read.role, read.start.clone(), &mut server).await?);
        Ok(Self {
            target,
            read,
            server,
            now,
            begun,
            first_after: None,
            messages: 0,
            is_at_end: false,
            in_bursts: false,
        })
    }

    /// Waits for the next message. Cancel-safe.
    ///
    /// # Errors
    /// Why the stream ended, or why it could not be opened again.
    pub(super) async fn next(&mut self) -> Result<Received, ReplicationError> {
        loop {
            match &mut self.now {
                Now::Open(stream) => {
                    let received = stream.next().await?;
                    return Ok(self.seen(received));
                }
                Now::Opening(task) => {
                    let opened = task.await.map_err(|_| ReplicationError::Ended)?;
                    self.now = Now::Open(opened?);
                }
                Now::Resting(until) => {
                    sleep_until(*until).await;
                    self.wake();
                }
            }
        }
    }

    /// The next message if it has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Result<Received, ReplicationError>> {
        let Now::Open(stream) = &mut self.now else { return None };
        let received = stream.try_next()?;
        Some(received.map(|received| self.seen(received)))
    }

    fn seen(&mut self, received: Received) -> Received {
        self.first_after.get_or_insert_with(|| self.begun.elapsed());
        self.is_at_end = matches!(received, Received::Keepalive { .. });
        self.messages = self.messages.saturating_add(1);
        received
    }

    /// Tells the server that everything up to `lsn` is durably applied.
    pub(super) fn acknowledge(&self, lsn: Lsn) {
        if let Now::Open(stream) = &self.now {
            stream.acknowledge(lsn);
        }
    }

    /// Whether to read in bursts from now on; if not, a rest is over.
    pub(super) fn read_in_bursts(&mut self, in_bursts: bool) {
        self.in_bursts = in_bursts;
        if !in_bursts && matches!(self.now, Now::Resting(_)) {
            self.wake();
        }
    }

    /// Whether this burst is over: it has brought all that there is.
    pub(super) fn is_over(&self) -> bool {
        self.in_bursts && self.is_at_end && self.messages >= BURST_MESSAGES
    }

    /// Ends a burst; the next one begins at `from`, up to which everything was acknowledged.
    ///
    /// # Errors
    /// As [`Stream::stop`].
    pub(super) async fn rest(&mut self, from: Lsn) -> Result<(), ReplicationError> {
        let rest = (self.first_after.unwrap_or_default() * REST_TIMES).clamp(REST_MIN, REST_MAX);
        self.read.start.from = from;
        (self.messages, self.is_at_end) = (0, false);
        let ended = std::mem::replace(&mut self.now, Now::Resting(Instant::now() + rest));
        match ended {
            Now::Open(stream) => stream.stop().await,
            Now::Opening(_) | Now::Resting(_) => Ok(()),
        }
    }

    fn wake(&mut self) {
        let (target, role, start) =
            (Arc::clone(&self.target), self.read.role.clone(), self.read.start.clone());
        let mut server = self.server.clone();
        let opening = tokio::spawn(async move { stream(&target, &role, start, &mut server).await });
        self.now = Now::Opening(opening);
        (self.begun, self.first_after) = (Instant::now(), None);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Now::Opening(task) = &self.now {
            task.abort();
        }
    }
}

/// Opens a connection for a stream to the known server, and begins the stream.
async fn stream(
    target: &Target,
    role: &str,
    start: Start,
    server: &mut Option<Server>,
) -> Result<Stream, ReplicationError> {
    let mut walsender = Walsender::connect(target, role, &[]).await?;
    walsender.expect(server).await?;
    walsender.start(start).await
}
