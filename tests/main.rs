//! The one integration test crate: behaviour against a real PostgreSQL that each test starts for itself.
//!
//! One module per behaviour; `support` starts servers and runs the built program.
//! Another PostgreSQL than the newest installed one: `PROJH_PG_BIN=/path/to/bin cargo test`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::too_many_lines,
    missing_docs,
    unreachable_pub
)]

#[allow(dead_code, reason = "`examples/try_database.rs` uses the rest")]
mod databases;
#[allow(dead_code, reason = "`examples/workload.rs` uses the rest")]
mod oracle;
mod support;

mod at_the_lock;
mod broken;
mod chaos;
mod check_counts;
mod connections;
mod constraints;
mod control;
mod crashes;
mod encodings;
mod events;
mod every_type;
mod exchanges;
mod exit_codes;
mod faults;
mod functions;
mod gates;
mod golden_runs;
mod guarded;
mod harness;
mod in_place;
mod in_the_way;
mod inbound;
mod keyless;
mod last_copy;
mod logs;
mod long_waits;
mod materialized;
mod members;
mod mistakes;
mod names;
mod oracle_is_honest;
mod oracle_sees_swaps;
mod owners_functions;
mod partition_days;
mod phi;
mod plans;
mod plans_policies;
mod preview;
mod publications;
mod refusals;
mod repartitioned;
mod replication;
mod resume;
mod retyped;
mod rollback;
mod row_functions;
mod row_types;
mod rules;
mod sequences;
mod session_settings;
mod shop_window;
mod signals;
mod soak;
mod steps;
mod stream_rules;
mod swap_under_load;
mod terminal;
mod throttle;
mod together;
mod triggers;
mod under_way;
mod upkeep;
mod verification;
mod views;
mod way_back;
mod ways_on;
mod what_a_swap_keeps;
mod whole_databases;
