//! What the connection delivers to the consumer.

use super::error::ReplicationError;
use super::pgoutput::Logical;
use crate::pg::Lsn;

/// One item, in the order in which the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of pgoutput, decoded.
    Message(Logical),
    /// The server has nothing more up to `wal_end` now. Once everything received before is applied, and no transaction
    /// is open, `wal_end` may be acknowledged; otherwise WAL without changes of ours would be kept forever.
    Keepalive {
        /// The server's position at that moment.
        wal_end: Lsn,
    },
}

/// An item from the receiver, with the bytes that the buffer was charged for it.
pub(super) struct Delivery {
    pub(super) received: Result<Received, ReplicationError>,
    pub(super) bytes: usize,
}
