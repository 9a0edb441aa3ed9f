//! Blue-green migration of live PostgreSQL tables.
//!
//! A plan names tables and what shall become of them: partitions, a wider key, indexes, columns. A run
//! makes a shadow ("green") of each live table ("blue"), copies every row at a consistent point
//! of the write-ahead log, applies the changes that happened since from a logical replication
//! slot, builds the indexes, compares both tables row for row with writes going on, and
//! exchanges them in one transaction under one short lock.
//!
//! The journey, and where each part of it is told:
//!
//! - [`plan`]: what the user wrote, proven; [`check`]: what the database has to say to it, in
//!   [`finding`]s.
//! - [`engine`]: the only loop, over the [`phase`]s, each of which takes a [`run`] further; [`context`]: what it was given. [`lifecycle`]: the facts of a run, and their fold.
//! - [`journal`]: the one door through which effects become durable, and from which a run is resumed.
//! - [`lane`]: one directed pair of tables: copy, feed, apply, compare.
//! - [`hangs_on`]: what a table's definition is made of, a file a kind; [`green`]: the table to be, and the scripts
//!   that make it and exchange it.
//! - [`status`]: where a run stands, as any other process can ask.
//! - [`replication`]: the streaming client. [`pg`]: connections, names, positions.
//! - [`preview`]: what a run would do and mean, without doing it.
//! - [`event`] and [`error`]: what is told, and what went wrong; [`meter`]: how fast it goes. [`cli`]: the only
//!   layer that prints.
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
