//! What every test stands on: throw-away servers, and the built program run against them.

#[allow(dead_code, reason = "each behaviour uses a part of it")]
pub mod bluegreen;
pub mod cluster;
mod install;
mod process;

#[allow(unused_imports, reason = "used once the first test runs the program")]
pub use bluegreen::Bluegreen;
pub use cluster::Cluster;
