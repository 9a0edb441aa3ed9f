//! What every test stands on: throw-away servers, and the built program run against them.

pub mod bluegreen;
pub mod cluster;
pub mod forwarder;
mod install;
pub mod pooler;
mod process;

pub use bluegreen::{Bluegreen, Finished};
pub use cluster::Cluster;
pub use forwarder::Forwarder;
pub use pooler::Pooler;
