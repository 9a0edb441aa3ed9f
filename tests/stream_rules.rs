//! The rules of the stream, one by one: for each a test that fails when the rule is taken out.
//!
//! `bench` has a run right after its copy with its feed in the test's own hands, so that a situation
//! is made, not waited for; `runs` has what only whole runs of the program show.

pub mod bench;
mod bursts;
mod changes;
mod copying;
mod order;
mod runs;
mod stops;
