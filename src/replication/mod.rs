//! Logical replication: our own client for the replication protocol, and pgoutput decoded.
//!
//! Invariants: what the consumer has not acknowledged is sent again after a reconnect; status updates never wait for
//! the consumer; received messages are held in bounded memory. This module knows nothing of lanes.

mod buffer;
mod delivery;
mod error;
mod link;
mod login;
pub mod pgoutput;
mod receiver;
mod server;
mod stream;
mod walsender;

pub use delivery::Received;
pub use error::ReplicationError;
pub use server::Server;
pub use stream::Stream;
pub use walsender::{Start, Walsender};
pub(crate) use walsender::{create_slot, start_replication};

/// PostgreSQL counts microseconds from 2000-01-01, Unix from 1970-01-01.
const UNIX_TO_POSTGRES_MICROS: i64 = 946_684_800 * 1_000_000;
