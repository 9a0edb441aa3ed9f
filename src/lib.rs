//! Blue-green migration of live PostgreSQL tables.

pub mod hangs_on;
pub mod pg;
pub mod plan;
pub mod replication;
