//! What a dry run tells: the steps that a run would take, what the swap would change, what clients
//! would notice, and all of it in one line.

use schemars::JsonSchema;
use serde::Serialize;

use crate::lifecycle::Phase;

/// What waits behind a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// Only DDL and VACUUM; clients read and write.
    Ddl,
    /// Writes wait, reads go on.
    Writes,
    /// Everything waits.
    ReadsAndWrites,
}

/// A lock on a relation that clients can see.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewLock {
    /// The relation, `schema.name`.
    pub relation: String,
    /// PostgreSQL's name of the mode: ACCESS EXCLUSIVE.
    pub mode: &'static str,
    /// What waits behind it.
    pub blocks: Blocks,
    /// For about how long it is held.
    pub seconds: f64,
}

/// A step that the run would take.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewStep {
    /// When.
    pub phase: Phase,
    /// The live table that it is for; none where it is for all of them.
    pub table: Option<String>,
    /// The relation that it works on, where it is about one: a partition, say.
    pub relation: Option<String>,
    /// What it does, in words.
    pub what: String,
    /// The statements that are executed, separated by `;` and a line break. `$1` is a parameter, and
    /// `<...>` stands for what is known at run time only.
    pub sql: String,
    /// How often it is executed; none: as often as there is something to do for it.
    pub times: Option<u64>,
    /// The locks that clients can meet.
    pub locks: Vec<PreviewLock>,
    /// About how long all of its executions take; work that connections share counts once.
    pub seconds: f64,
    /// About how much disk it takes for good.
    pub bytes: u64,
    /// About how much WAL it writes.
    pub wal_bytes: u64,
}

/// Something that the swap changes in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewChange {
    /// The live table.
    pub table: String,
    /// `+` comes, `-` goes, `~` changes, `=` stays.
    pub sign: char,
    /// What kind of object: table, column, primary key, index, ...
    pub object: &'static str,
    /// Its name and what becomes of it.
    pub text: String,
}

/// Something that clients will notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewNotice {
    /// A stable word for it: `stall`, `on_conflict`, `group_by`, ...
    pub topic: &'static str,
    /// The live table; none where it concerns all of them.
    pub table: Option<String>,
    /// What, and what to do about it.
    pub text: String,
    /// Statements of this kind that `pg_stat_statements` has seen. Never their text.
    pub statements: Vec<PreviewStatement>,
}

/// A statement that `pg_stat_statements` has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewStatement {
    /// Its `queryid`: `select query from pg_stat_statements where queryid = ...` shows it.
    pub queryid: String,
    /// How often it was executed since the statistics were reset.
    pub calls: u64,
}

/// The preview in one line.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewSummary {
    /// The run that is under way; none where a new one would begin, whose id `<run>` stands for.
    pub run: Option<String>,
    /// Tables that are exchanged.
    pub tables: usize,
    /// Partitions that are created.
    pub partitions: usize,
    /// Indexes that are built, on a partitioned table counted once.
    pub indexes: usize,
    /// About how long the run takes, up to the end of settle.
    pub seconds: f64,
    /// About how much disk green takes.
    pub bytes: u64,
    /// About how much WAL is written.
    pub wal_bytes: u64,
    /// About how long writes wait once, in the swap.
    pub stall_seconds: f64,
    /// The stall that the plan allows an attempt; past it the attempt is undone.
    pub stall_seconds_max: f64,
    /// What the estimates are based on.
    pub basis: Vec<String>,
}
