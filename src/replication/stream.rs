//! The consumer's side of a replication stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::buffer::Shared;
use super::delivery::{Delivery, Received};
use super::error::ReplicationError;
use super::link::Link;
use super::receiver::Receiver;
use crate::pg::Lsn;

/// How long [`Stream::stop`] waits for the server to end its side. The server may be in the middle of a large
/// transaction, which it sends to the end first.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A running replication stream. A background task reads, decodes and sends status updates; dropping the
/// stream closes the connection.
pub struct Stream {
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Delivery>,
    stop: Option<oneshot::Sender<()>>,
    receiver: JoinHandle<Result<(), ReplicationError>>,
    process_id: i32,
}

impl Stream {
    pub(super) fn spawn(
        link: Link,
        from: Lsn,
        buffer_bytes: usize,
        silence: Option<Duration>,
        process_id: i32,
    ) -> Self {
        let shared = Arc::new(Shared::new(from, buffer_bytes));
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let receiver = Receiver::new(link, Arc::clone(&shared), outbox, silence);
        let receiver = tokio::spawn(receiver.run(stopped));
        Self { shared, inbox, stop: Some(stop), receiver, process_id }
    }

    /// The process ID of the server's side.
    pub(crate) fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Waits for the next message. Cancel-safe.
    ///
    /// # Errors
    /// The reason why the stream ended, after everything received before it; then always [`ReplicationError::Ended`].
    pub async fn next(&mut self) -> Result<Received, ReplicationError> {
        match self.inbox.recv().await {
            Some(delivery) => self.accept(delivery),
            None => Err(ReplicationError::Ended),
        }
    }

    /// The next message if it has already arrived; `None` if the stream is idle now.
    pub fn try_next(&mut self) -> Option<Result<Received, ReplicationError>> {
        match self.inbox.try_recv() {
            Ok(delivery) => Some(self.accept(delivery)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => Some(Err(ReplicationError::Ended)),
        }
    }

    fn accept(&self, delivery: Delivery) -> Result<Received, ReplicationError> {
        self.shared.take(delivery.bytes);
        delivery.received
    }

    /// Tells the server that everything up to `lsn` is durably applied and need not be sent again. It is reported
    /// within 100 ms. An earlier position has no effect.
    pub fn acknowledge(&self, lsn: Lsn) {
        self.shared.acknowledge(lsn);
    }

    /// Reports the last acknowledgement and ends the stream regularly: on return the slot is free. Messages not taken
    /// yet are dropped, and are sent again by the next start.
    ///
    /// # Errors
    /// [`ReplicationError::Lost`] if the server did not end its side in time. The connection is then closed, and the
    /// slot becomes free when the server notices.
    pub async fn stop(mut self) -> Result<(), ReplicationError> {
        if let Some(stop) = self.stop.take() {
            // A receiver that has ended has said why through the stream.
            let _ = stop.send(());
        }
        match tokio::time::timeout(STOP_PATIENCE, &mut self.receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ReplicationError::Ended),
            Err(_) => Err(ReplicationError::Lost(std::io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("acknowledged", &self.shared.acknowledged()).finish_non_exhaustive()
    }
}
