//! What every test stands on: throw-away servers, and the built program run against them.

pub mod cluster;
mod install;
mod process;

pub use cluster::Cluster;
