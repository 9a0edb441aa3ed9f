//! Connections: one resolver of libpq's settings, one way to open a socket, for SQL sessions and
//! for the replication client alike.
//!
//! Invariant: whoever connects here comes in with the same settings ([`base_settings`]) and the
//! same protection, and no password is ever shown.

mod attempt;
mod conninfo;
mod error;
mod passfile;
mod resolve;
mod service;
mod session;
mod startup;
mod target;
mod tls;
mod wire;

pub use error::ConnectError;
pub use session::{Canceller, Session};
pub use startup::base_settings;
pub use target::Target;
