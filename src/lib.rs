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

pub mod check;
pub mod cli;
pub mod context;
pub mod engine;
pub mod error;
pub mod event;
pub mod finding;
pub mod green;
pub mod hangs_on;
pub mod journal;
pub mod lane;
pub mod lifecycle;
pub mod meter;
pub mod pace;
pub mod pg;
pub mod phase;
pub mod plan;
pub mod preview;
pub mod replication;
pub mod rest;
pub mod run;
pub mod slot;
pub mod status;
mod waits;
