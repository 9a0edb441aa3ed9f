//! Blue-green migration of live PostgreSQL tables.
//!
//! A plan names tables and what they are to become: partitions, a wider key, indexes, columns. A run
//! creates a shadow ("green") of each live table ("blue"), copies every row at a consistent point
//! of the write-ahead log, applies the changes made since from a logical replication slot, builds the
//! indexes, compares both tables row for row while clients write, and exchanges them in one
//! transaction under one short lock.
//!
//! Where to find what:
//!
//! - [`plan`]: the validated plan; [`check`]: what in the database does not allow it, as [`finding`]s.
//! - [`engine`]: the only loop, over the [`phase`]s, each of which advances a [`run`]; [`context`]: what a command was
//!   given. [`lifecycle`]: the facts of a run, and their fold.
//! - [`journal`]: the only place where effects become durable, and from which a run is resumed.
//! - [`lane`]: one directed pair of tables: copy, feed, apply, compare.
//! - [`hangs_on`]: what a table's definition consists of, one file a kind; [`green`]: the design of the new table, and
//!   the scripts that create and exchange it.
//! - [`pace`]: the limits of a run; [`rest`]: its pauses on a busy server; [`slot`]: its slot as the server sees it.
//! - [`status`]: the state of a run, as any other process can query it.
//! - [`replication`]: the streaming client. [`pg`]: connections, names, positions, SQL text.
//! - [`preview`]: what a run would do, without doing it.
//! - [`event`] and [`error`]: what is reported, and what went wrong; [`meter`]: rates and the time left. [`cli`]: the
//!   only layer that prints.
//!
//! Only [`cli`] is for others; `pub` below it means no more than its module says, so that the compiler finds what nobody
//! uses. What tests and benches need besides is named in [`testing`].

mod check;
pub mod cli;
mod context;
mod engine;
mod error;
mod event;
mod finding;
mod green;
mod hangs_on;
mod journal;
mod lane;
mod lifecycle;
mod meter;
mod pace;
mod pg;
mod phase;
mod plan;
mod preview;
mod replication;
mod rest;
mod run;
mod slot;
mod status;
mod waits;

#[expect(missing_docs, reason = "its modules are those of the crate")]
pub mod testing;
