//! The one integration test crate: behaviour against a real PostgreSQL that each test starts for itself.
//!
//! One module per behaviour; `support` starts servers and runs the built program.
//! Another PostgreSQL than the newest installed one: `PROJH_PG_BIN=/path/to/bin cargo test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod support;

mod harness;
