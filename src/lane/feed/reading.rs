//! The stream as the feed reads it: all the time, or in bursts while nobody waits for it.
//!
//! A walsender that waits for changes is woken by every commit of the server's clients, which costs them more than the
//! changes do; so there is none between two bursts.
//!
//! Invariant: a burst ends only where everything that it brought was acknowledged, and the next one begins there, on the
//! same server. Another one that has taken over may lack some of it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::MESSAGE_PREFIX;
use crate::pg::Lsn;
use crate::pg::connect::Target;
use crate::replication::{Received, ReplicationError, Server, Start, Stream, Walsender};

/// A stream that has brought fewer messages is kept: whoever has few commits need not be spared.
const BURST_MESSAGES: u32 = 1_000;
/// A stream is closed for so many times what it takes to open it.
const REST_TIMES: u32 = 20;
/// The bounds of a rest. A stream that takes too long to be opened for the longest one is kept.
const REST: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30);
/// How long a stream that could not be opened stays closed.
const PUT_OFF: Duration = Duration::from_secs(10);
/// The most rests in a row at whose end the stream could not be opened.
const FAILURES_MAX: u32 = 3;

/// How long a stream that took so long to open is closed at a time.
pub(super) fn rest(took: Duration, bounds: &RangeInclusive<Duration>) -> Duration {
    (took * REST_TIMES).clamp(*bounds.start(), *bounds.end())
}

/// Which stream to read.
#[derive(Clone)]
pub struct Read {
    /// The `application_name` of its connections.
    pub role: String,
    /// Slot and publication of the tables, and from where on to read.
    pub start: Start,
    /// The server whose journal says so. Another one that has taken over may lack some of what was applied.
    pub server: Server,
}

/// A stream that is open, or is not for a while.
pub(super) struct Reading {
    target: Arc<Target>,
    read: Read,
    now: Now,
    /// Ends the stream of the last burst, so that its slot is free.
    ending: Option<JoinHandle<()>>,
    /// The server's process of that stream. If it could not be ended regularly, the server may still have it.
    last: Option<i32>,
    /// How long it took to open the stream last.
    took: Duration,
    /// How often it could not be opened since then.
    failures: u32,
    messages: u32,
    /// The server had nothing more after the last message.
    is_at_end: bool,
    /// Whether to end the stream when it has brought enough.
    in_bursts: bool,
    /// The stream is kept until then.
    kept_until: Instant,
}

enum Now {
    Open(Stream),
    Opening(JoinHandle<Result<Opened, ReplicationError>>),
    Resting(Instant),
}

/// A stream whose first change is there.
struct Opened {
    stream: Stream,
    first: Received,
    took: Duration,
}

impl Reading {
    /// Opens the stream.
    ///
    /// # Errors
    /// As [`Walsender::connect`] and [`Walsender::start`].
    pub(super) async fn open(target: Arc<Target>, read: Read) -> Result<Self, ReplicationError> {
        let begun = Instant::now();
        let stream = stream(&target, read.clone(), None).await?;
        tracing::info!(slot = read.start.slot, from = %read.start.from, "stream begun");
        Ok(Self {
            target,
            read,
            now: Now::Opening(tokio::spawn(first(stream, begun))),
            ending: None,
            last: None,
            took: Duration::ZERO,
            failures: 0,
            messages: 0,
            is_at_end: false,
            in_bursts: false,
            kept_until: begun,
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
                Now::Opening(task) => match task.await.unwrap_or(Err(ReplicationError::Ended)) {
                    Ok(Opened { stream, first, took }) => {
                        self.now = Now::Open(stream);
                        (self.took, self.failures) = (took, 0);
                        return Ok(self.seen(first));
                    }
                    Err(error) => self.put_off(error)?,
                },
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

    /// Whether to read in bursts from now on, while nobody waits for the stream; otherwise a rest is over. Who waits for it
    /// once may do so again soon.
    pub(super) fn read_in_bursts(&mut self, in_bursts: bool, is_awaited: bool) {
        self.in_bursts = in_bursts && !is_awaited;
        if is_awaited {
            self.keep(*REST.start());
        }
        if !self.in_bursts && matches!(self.now, Now::Resting(_)) {
            self.wake();
        }
    }

    /// Does not end a burst for so long.
    pub(super) fn keep(&mut self, time: Duration) {
        self.kept_until = self.kept_until.max(Instant::now() + time);
    }

    /// When this burst is over, if it has brought all that there is.
    pub(super) fn over_at(&self) -> Option<Instant> {
        let has_all = self.in_bursts && self.is_at_end && self.messages >= BURST_MESSAGES;
        has_all.then_some(self.kept_until)
    }

    /// Whether this burst is over.
    pub(super) fn is_over(&self) -> bool {
        self.over_at().is_some_and(|at| Instant::now() >= at)
    }

    /// If it took too long to open the stream: the slot, and from where on. The server may have to decode again what lies
    /// before that until the slot's restart position is beyond it.
    pub(super) fn took_long(&self) -> Option<(&str, Lsn)> {
        let is_long = self.took * REST_TIMES > *REST.end();
        is_long.then_some((&self.read.start.slot, self.read.start.from))
    }

    /// Ends a burst; the next one begins at `from`, up to which everything was acknowledged.
    pub(super) fn rest(&mut self, from: Lsn) {
        let until = Instant::now() + rest(self.took, &REST);
        self.read.start.from = from;
        (self.messages, self.is_at_end) = (0, false);
        if let Now::Open(stream) = std::mem::replace(&mut self.now, Now::Resting(until)) {
            self.last = Some(stream.process_id());
            self.ending = Some(tokio::spawn(async move {
                // Whatever is wrong, the next burst meets it.
                if let Err(error) = stream.stop().await {
                    tracing::debug!(%error, "stream not ended regularly");
                }
            }));
        }
    }

    fn wake(&mut self) {
        let (target, read, last) = (Arc::clone(&self.target), self.read.clone(), self.last);
        let ending = self.ending.take();
        self.now = Now::Opening(tokio::spawn(async move {
            if let Some(ending) = ending {
                let _ = ending.await;
            }
            let begun = Instant::now();
            first(stream(&target, read, last).await?, begun).await
        }));
    }

    /// Rests once more after an error that passes, unless somebody waits for the stream.
    fn put_off(&mut self, error: ReplicationError) -> Result<(), ReplicationError> {
        let passes = error.is_transient() && !matches!(error, ReplicationError::OtherServer { .. });
        if !passes || !self.in_bursts || self.failures == FAILURES_MAX {
            return Err(error);
        }
        self.failures += 1;
        tracing::debug!(%error, "stream not opened yet");
        self.now = Now::Resting(Instant::now() + PUT_OFF);
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Now::Opening(task) = &self.now {
            task.abort();
        }
        if let Some(ending) = &self.ending {
            ending.abort();
        }
    }
}

/// Opens a connection for a stream to the known server, and begins the stream, in which there is at least a message of our
/// own. `last` is the server's process of an earlier one.
async fn stream(target: &Target, read: Read, last: Option<i32>) -> Result<Stream, ReplicationError> {
    // No standby is waited for.
    let settings = [("synchronous_commit", "local")];
    let mut walsender = Walsender::connect(target, &read.role, &settings).await?;
    walsender.must_be(&read.server).await?;
    if let Some(last) = last {
        walsender.end(&read.start.slot, last).await?;
    }
    walsender.emit(MESSAGE_PREFIX, "").await?;
    walsender.start(read.start).await
}

/// Waits for the first change. Before that the server decodes again what lies before the slot's restart position, and only
/// says that it is there.
async fn first(mut stream: Stream, begun: Instant) -> Result<Opened, ReplicationError> {
    loop {
        let first = stream.next().await?;
        if let Received::Message(_) = first {
            return Ok(Opened { stream, first, took: begun.elapsed() });
        }
    }
}
