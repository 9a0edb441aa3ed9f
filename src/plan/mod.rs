//! The plan: what a release engineer wrote in YAML, proven before anything else sees it.
//!
//! Invariant: a [`Plan`] cannot exist invalid as far as its own text can tell. What only the
//! database can tell (does the column exist?) is `check`'s.

mod changes;
mod column;
mod connection;
mod environment;
mod file;
mod keys;
pub mod partition;
mod partition_by;
mod period;
mod problem;
mod schema;
mod settings;
mod shape;
mod sql;
mod table;
mod template;
mod value;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::pg::{Ident, QName};

pub use changes::changes;
pub use connection::Connection;
pub use environment::Env;
pub use problem::{Problem, Problems};
pub use schema::json_schema;

use problem::Found;
use yaml::Node;

/// A proven plan. Serialized (without the connection), it is what the journal keeps and
/// what a resumed run is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Identifies the migration across runs: `execute` resumes the unfinished run of this name.
    pub name: String,
    /// Where to connect.
    #[serde(skip)]
    pub connection: Connection,
    /// How to go about it. May change between a run and its resumption.
    #[serde(skip)]
    pub settings: Settings,
    /// What to migrate; all of these swap in one transaction.
    pub tables: Vec<TablePlan>,
}

impl Plan {
    /// Reads the plan in the file at `path`; `env` looks up what `${NAME}` stands for.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Problems> {
        let (label, text) = file::read(path)?;
        Self::parse(&label, &text, env)
    }

    /// Reads the plan in `text`; `file` is what problems call it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn parse(file: &str, text: &str, env: Env<'_>) -> Result<Self, Problems> {
        let mut found = Found::default();
        let plan = yaml::read(text, env, &mut found).map(|root| {
            shape::check(&root, &keys::PLAN, "the plan", &mut found);
            let connection = Connection::read(&root, file, text);
            Self::prove(&root, connection, &mut found)
        });
        match (found.into_problems(file, text), plan) {
            (Some(problems), _) => Err(problems),
            (None, Some(plan)) => Ok(plan),
            (None, None) => Err(Problems::of_file(file, "has no content".to_owned(), None)),
        }
    }

    /// The plan in a tree of the right shape; incomplete only where `found` says why.
    fn prove(root: &Node, connection: Connection, found: &mut Found) -> Self {
        Self {
            name: root.get("name").map_or_else(String::new, |node| name(node, found)),
            connection,
            settings: settings::read(root, found),
            tables: table::read_all(root, found),
        }
    }
}

/// Whether this could be a plan's name, or the short id of a run.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

fn name(node: &Node, found: &mut Found) -> String {
    let Some(scalar) = node.scalar() else { return String::new() };
    let name = scalar.text.as_str();
    if !is_name(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 40 {
        let hint = "1 to 40 of a-z, 0-9, `_` and `-`, a letter first".to_owned();
        found.add_with_hint(node.at, format!("`name: {}` is not a plan's name", scalar.shown()), hint);
    }
    name.to_owned()
}

/// How to go about it; every field has a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Connections that copy, index and verify side by side.
    pub workers: usize,
    /// Heap bytes of blue that one transaction copies.
    pub chunk_size_bytes: u64,
    /// A round of the copy ends when its snapshot is older than this.
    pub max_snapshot_age: Duration,
    /// WAL that the run's slot may hold back before the run throttles and finally aborts.
    pub wal_budget_bytes: u64,
    /// How long a server that went away, or refuses in passing, is tried again.
    pub reconnect_for: Duration,
    /// When to let copy and apply wait.
    pub throttle: Throttle,
    /// How to swap.
    pub swap: SwapSettings,
    /// What a preview may do.
    pub preview: PreviewSettings,
    /// How long blue is meant to be kept after the swap.
    pub soak: Duration,
}

/// What a preview may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreviewSettings {
    /// Measure the server's pace with a few rows in temporary tables.
    pub sample: bool,
}

/// Conditions under which copy and apply wait; `None` never waits for that one.
#[derive(Clone, Debug, PartialEq)]
pub struct Throttle {
    /// Greatest replay lag of a physical standby.
    pub max_replica_lag: Option<Duration>,
    /// Greatest number of active client sessions, not counting ours.
    pub max_active_sessions: Option<u32>,
    /// How long a worker of the copy rests after a chunk while other sessions are active, in percent of
    /// the chunk's time.
    pub rest_percent: u32,
    /// SQL whose first column, a boolean, asks to wait while it is true.
    pub query: Option<String>,
}

/// How to swap.
#[derive(Clone, Debug, PartialEq)]
pub struct SwapSettings {
    /// How long one attempt waits for its locks.
    pub lock_timeout: Duration,
    /// From the lock to the commit; past it the attempt is rolled back.
    pub max_write_stall: Duration,
    /// Attempts before the run gives up with exit code 5.
    pub attempts: u32,
    /// Only swap inside this window of the day.
    pub window: Option<Window>,
    /// Which sessions in the way may be ended.
    pub terminate_blockers: TerminateBlockers,
}

/// A window of the day, in UTC or a named time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// First minute that is inside.
    pub from: jiff::civil::Time,
    /// First minute that is outside again; may be before `from` (the window spans midnight).
    pub to: jiff::civil::Time,
    /// IANA name, or `UTC`.
    pub time_zone: String,
}

/// Which sessions that hold up the swap may be ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TerminateBlockers {
    /// None, ever.
    #[default]
    Never,
    /// Those that sit idle in an open transaction.
    IdleInTransaction,
    /// Any.
    All,
}

/// What becomes of one table.
#[derive(Clone, Debug, Serialize)]
pub struct TablePlan {
    /// The live table's name.
    pub table: QName,
    /// How green is partitioned; `None` makes it a plain table.
    pub partition_by: Option<PartitionBy>,
    /// Green's primary key, where it differs from blue's.
    pub primary_key: Option<Vec<Ident>>,
    /// `replica_identity: full` for the duration of the run.
    pub replica_identity_full: bool,
    /// Columns that change, by blue's name.
    pub columns: BTreeMap<Ident, ColumnChange>,
    /// Columns that only green has.
    pub add_columns: Vec<AddColumn>,
    /// Indexes that only green has.
    pub indexes: Vec<NewIndex>,
    /// Indexes (or unique constraints) of blue that green shall not have.
    pub drop_indexes: Vec<Ident>,
}

/// What becomes of a column of blue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnChange {
    /// Green does not have it.
    Drop,
    /// Another name, another type, or both.
    Change {
        /// Green's name for it; `None` keeps blue's.
        rename: Option<Ident>,
        /// Green's type, as SQL text; `None` keeps blue's.
        data_type: Option<String>,
        /// SQL over blue's columns that gives green's value; `None` casts.
        using: Option<String>,
        /// SQL over green's columns that gives blue's value back; `None` casts.
        back: Option<String>,
        /// The plan accepts that a way back after the swap loses this column's new values.
        one_way: bool,
        /// Green's default, as SQL text; `None` takes blue's through `using`, or the cast.
        #[serde(skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
}

/// A column that only green has: `follow_up boolean not null default false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddColumn {
    /// Its name.
    pub name: Ident,
    /// Everything after the name, as SQL text.
    pub definition: String,
}

/// An index that only green has, taken apart just far enough to be built on any relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewIndex {
    /// Its name.
    pub name: Ident,
    /// `CREATE UNIQUE INDEX`.
    pub unique: bool,
    /// Everything after the table's name: `USING ... (...) INCLUDE ... WHERE ...`.
    pub rest: String,
}

/// How green is partitioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionBy {
    /// The partition key, by green's name for the column.
    pub column: Ident,
    /// Into what.
    pub into: Partitions,
    /// Also a partition for rows that fit nowhere else (never with hash).
    pub default: bool,
    /// The schema the partitions end up in; `None` is the table's own.
    pub schema: Option<Ident>,
    /// The template of a partition's name; `None` is the default of its kind.
    pub name: Option<String>,
    /// The IANA name of the zone in which days begin, for a key with a time zone; `None` is UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// Into what a table is partitioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitions {
    /// Ranges of equal length in time.
    Every {
        /// How many of `unit` a partition spans.
        count: u32,
        /// The unit.
        unit: Unit,
        /// First lower bound; `None` takes it from the data.
        from: Option<jiff::civil::Date>,
        /// Last upper bound; `None` takes it from the data, the present day and `ahead`.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<jiff::civil::Date>,
        /// Partitions past the one that holds the present day (or the latest row, if later).
        ahead: u32,
    },
    /// Ranges between neighbouring bounds, as SQL literals' text, ascending.
    Bounds(Vec<String>),
    /// Named lists of values, as literals' text; `None` is NULL.
    List(Vec<(String, Vec<Option<String>>)>),
    /// By the key's hash, this many.
    Hash(u32),
}

/// A unit of time a range may span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A calendar day.
    Day,
    /// Monday to Monday.
    Week,
    /// A calendar month.
    Month,
    /// A calendar quarter.
    Quarter,
    /// A calendar year.
    Year,
}

#[cfg(test)]
mod tests;
