//! What goes from the connection to the consumer.

use super::error::ReplicationError;
use super::pgoutput::Logical;
use crate::pg::Lsn;

/// One thing received, in the order of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A decoded message.
    Message(Logical),
    /// The server has nothing more up to `wal_end` at this moment. Once all that was received
    /// before is applied, and no transaction is open, `wal_end` may be acknowledged: WAL that holds
    /// no change of ours would be kept for ever otherwise.
    Keepalive {
        /// The server's position.
        wal_end: Lsn,
    },
}

/// What the feed hands over, with the memory it was charged with.
pub(super) struct Delivery {
    pub(super) received: Result<Received, ReplicationError>,
    pub(super) bytes: usize,
}
