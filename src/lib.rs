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
//! - [`phi`]: keys, and the formats in which single values are encrypted; knows no table.
//! - [`coverage`]: how much of what a plan encrypts is encrypted, and where plaintext remains.
//! - [`rekey`]: values under other keys, encrypted again in place.
//! - [`watchdog`]: the limits of a run, its lag, and who it waits for; [`in_force`]: its settings; [`throttle`]: its rests on a busy server.
//! - [`group`]: commands of the plan: gates and hooks.
//! - [`left`]: what a command that was killed has left; [`lost`]: live tables that are gone.
//! - [`status`]: the state of a run, as any other process can query it.
//! - [`replication`]: the streaming client. [`pg`]: connections, names, positions, SQL text.
//! - [`preview`]: what a run would do, without doing it.
//! - [`crash`]: instants at which a test may end the program.
//! - [`event`] and [`error`]: what is reported, and what went wrong; [`meter`]: rates and the time left. [`cli`]: the
//!   only layer that prints.
//!
//! Only [`cli`] is for others; `pub` below it means no more than its module says, so that the compiler finds what nobody
//! uses. What tests and benches need besides is named in [`testing`].

mod check;
pub mod cli;
mod context;
mod coverage;
mod crash;
mod crypto;
mod engine;
mod error;
mod event;
mod finding;
mod green;
mod group;
mod hangs_on;
mod in_force;
mod journal;
mod lane;
mod left;
mod lifecycle;
mod lost;
mod meter;
mod pg;
mod phase;
mod phi;
mod plan;
mod preview;
mod rekey;
mod replication;
mod run;
mod status;
mod throttle;
mod upkeep;
mod watchdog;

#[expect(missing_docs, reason = "its modules are those of the crate")]
pub mod testing;
