//! What a dry run reports: the steps that a run would take, what the swap would change, what clients
//! would notice, and the totals.

use schemars::JsonSchema;
use serde::Serialize;

use crate::lifecycle::Phase;

/// What waits behind a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// DDL and VACUUM wait; reads and writes do not.
    Ddl,
    /// Writes wait; reads do not.
    Writes,
    /// Reads and writes wait.
    ReadsAndWrites,
}

/// A lock on a relation that clients can see.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewLock {
    /// The relation, `schema.name`.
    pub relation: String,
    /// The lock mode as PostgreSQL names it, such as `ACCESS EXCLUSIVE`.
    pub mode: &'static str,
    /// What waits behind it.
    pub blocks: Blocks,
    /// About how long it is held, in seconds.
    pub seconds: f64,
}

/// A step that the run would take.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewStep {
    /// The phase it belongs to.
    pub phase: Phase,
    /// The live table that it concerns; `null` if it concerns all of them.
    pub table: Option<String>,
    /// The one relation that it works on, such as a partition; `null` if there is no single one.
    pub relation: Option<String>,
    /// What it does, in words.
    pub what: String,
    /// The statements that are executed, separated by `;` and a line break. `$1` is a parameter, and
    /// `<...>` stands for what is only known at run time.
    pub sql: String,
    /// How often it is executed; `null` if as often as there is work for it.
    pub times: Option<u64>,
    /// The locks that clients may have to wait for.
    pub locks: Vec<PreviewLock>,
    /// About how long all its executions take, in seconds; work that several connections share counts once.
    pub seconds: f64,
    /// About how much disk space it takes permanently, in bytes.
    pub bytes: u64,
    /// About how much WAL it writes, in bytes.
    pub wal_bytes: u64,
}

/// Something that the swap changes in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewChange {
    /// The live table.
    pub table: String,
    /// `+` is added, `-` is removed, `~` changes, `=` stays.
    pub sign: char,
    /// The kind of object: table, column, primary key, index, ...
    pub object: &'static str,
    /// Its name and what becomes of it.
    pub text: String,
}

/// Something that clients will notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewNotice {
    /// A stable word for it: `stall`, `on_conflict`, `group_by`, ...
    pub topic: &'static str,
    /// The live table; `null` if it concerns all of them.
    pub table: Option<String>,
    /// What clients will notice, and what to do about it.
    pub text: String,
    /// Statements of this kind in `pg_stat_statements`, without their text.
    pub statements: Vec<PreviewStatement>,
}

/// A statement in `pg_stat_statements`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PreviewStatement {
    /// Its `queryid`: `select query from pg_stat_statements where queryid = ...` shows it.
    pub queryid: String,
    /// How often it was executed since the statistics were last reset.
    pub calls: u64,
}

/// The totals of a preview.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PreviewSummary {
    /// The run under way; `null` if a new one would begin, whose id is shown as `<run>`.
    pub run: Option<String>,
    /// Number of tables that are exchanged.
    pub tables: usize,
    /// Number of partitions that are created.
    pub partitions: usize,
    /// Number of indexes that are built; one on a partitioned table counts once.
    pub indexes: usize,
    /// About how long the run takes up to the end of `settle`, in seconds.
    pub seconds: f64,
    /// About how much disk space green takes, in bytes.
    pub bytes: u64,
    /// About how much WAL is written, in bytes.
    pub wal_bytes: u64,
    /// About how long writes wait in the swap, in seconds.
    pub stall_seconds: f64,
    /// The longest stall that the plan allows an attempt, in seconds; a longer one is rolled back.
    pub stall_seconds_max: f64,
    /// What the estimates are based on, a sentence each.
    pub basis: Vec<String>,
}
