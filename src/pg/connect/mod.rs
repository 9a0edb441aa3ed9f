//! Connections: one resolver of libpq's settings and one way to open a socket, for SQL sessions and for
//! the replication client alike.
//!
//! Invariant: every connection has the same settings ([`startup::base_settings`]) and the same protection,
//! and no password is ever shown.

mod attempt;
mod cancel;
mod conninfo;
mod error;
mod keywords;
mod passfile;
mod resolve;
mod service;
mod session;
mod stalled;
mod startup;
mod target;
mod tls;
mod wire;

pub use cancel::Canceller;
pub use error::ConnectError;
pub use session::Session;
pub use target::Target;

// Shared with the replication client.
pub(crate) use attempt::{each, in_time};
pub(crate) use cancel::CancelKey;
pub(crate) use stalled::unless_stalled;
pub(crate) use startup::{
    AS_CONFIGURED, SERVING_PROCESS, after_login, base_settings, check_direct, check_role, options,
    server_version_num, values_in_log,
};
pub(crate) use target::{ChannelBinding, Endpoint};
pub(crate) use wire::{Encryption, Wire};
