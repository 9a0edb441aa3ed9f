//! The plan: what a release engineer wrote in YAML, validated before anything else sees it.
//!
//! Invariant: a [`Plan`] is valid as far as its own text can show. What only the database can show (does the column
//! exist?) is left to `check`.

mod adorned;
mod changes;
mod column;
mod connection;
mod environment;
mod excerpt;
mod file;
mod gates;
mod in_place;
mod keys;
pub mod partition;
mod partition_by;
mod period;
mod phi;
mod problem;
mod retention;
mod schema;
pub mod set;
mod settings;
mod shape;
mod sql;
mod steps;
mod table;
mod template;
mod value;
mod widened;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::pg::{Ident, QName};
use crate::phi::KeysPlan;

pub(crate) use adorned::Adornment;
pub use changes::changes;
pub use column::ColumnChange;
pub use connection::Connection;
pub use environment::Env;
pub(crate) use excerpt::Section;
pub use gates::{Compare, Gate, GateAsk};
pub use problem::{Problem, Problems};
pub use retention::{Archive, Retention, Then};
pub use schema::json_schema;
pub use set::{Changes, SettingChange};
pub use steps::{OF_COMPATIBILITY, Script, ScriptStatement, Step, StepTime};
pub use widened::{InboundForeignKeys, Uniqueness};

use problem::Collected;
use yaml::Node;

/// A valid plan. Serialized (without connection and settings), it is what the journal keeps and what a resumed
/// run is compared with.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Identifies the migration across runs: `execute` resumes the unfinished run of this name.
    pub name: String,
    /// Where to connect, if the plan says so.
    #[serde(skip)]
    pub connection: Connection,
    /// How to execute the plan. May change between a run and its resumption.
    #[serde(skip)]
    pub settings: Settings,
    /// What must hold before the swap and during the soak. May change between a run and its resumption.
    #[serde(skip)]
    pub gates: Vec<Gate>,
    /// Programs with their arguments, which are told of the end of each phase. May change, too.
    #[serde(skip)]
    pub hooks: Vec<Vec<String>>,
    /// The keys of encrypted columns. Where they come from may change, too; the keys' ids are in the columns.
    #[serde(skip)]
    pub keys: Option<KeysPlan>,
    /// The tables to migrate; all of them swap in one transaction.
    pub tables: Vec<TablePlan>,
    /// The tables that get indexes as they are, without a copy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub in_place: Vec<TablePlan>,
    /// SQL around the swap, in the order in which it is executed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Plan {
    /// Reads the plan in the file at `path`; `env` looks up the variable of each `${NAME}`.
    ///
    /// # Errors
    ///
    /// Every problem of the plan, at once.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, Problems> {
        let (label, text) = file::read(path)?;
        Self::parse(&label, &text, env)
    }

    /// Reads the plan in `text`; `file` is its name in problems.
    ///
    /// # Errors
    ///
    /// Every problem of the plan, at once.
    pub fn parse(file: &str, text: &str, env: Env<'_>) -> Result<Self, Problems> {
        let mut found = Collected::default();
        let plan = yaml::read(text, env, &mut found).map(|root| {
            shape::check(&root, &keys::PLAN, "the plan", &mut found);
            let connection = Connection::read(&root, file, text);
            Self::prove(&root, connection, file, &mut found)
        });
        match (found.into_problems(file, text), plan) {
            (Some(problems), _) => Err(problems),
            (None, Some(plan)) => Ok(plan),
            (None, None) => Err(Problems::of_file(file, "has no content".to_owned(), None)),
        }
    }

    /// A plan of which no more than the name and the settings are known: what was designed is in the journal.
    #[must_use]
    pub fn named(name: String, settings: Settings) -> Self {
        Self {
            name,
            connection: Connection::default(),
            settings,
            gates: Vec::new(),
            hooks: Vec::new(),
            keys: None,
            tables: Vec::new(),
            in_place: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Builds the plan from a tree whose shape was checked; it is incomplete only if `found` says why.
    fn prove(root: &Node, connection: Connection, file: &str, found: &mut Collected) -> Self {
        let keys = phi::read(root, file, found);
        let tables = table::read_all(root, keys.as_ref(), found);
        let (in_place, tables): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.in_place);
        let plan = Self {
            name: root.get("name").map_or_else(String::new, |node| name(node, found)),
            connection,
            settings: settings::read(root, found),
            gates: gates::read_all(root, found),
            hooks: root.get("hooks").map_or(&[][..], Node::items).iter().map(gates::words).collect(),
            tables,
            in_place,
            steps: steps::read_all(root, file, found),
            keys,
        };
        if plan.is_in_place() {
            in_place::check_around(root, &plan.steps, &plan.gates, found);
        }
        plan
    }

    /// Whether no table is copied: all that the plan does to tables is done in place.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.tables.is_empty() && !self.in_place.is_empty()
    }
}

/// Whether `text` has only characters of a plan's name, as the short id of a run has too.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

fn name(node: &Node, found: &mut Collected) -> String {
    let Some(scalar) = node.scalar() else { return String::new() };
    let name = scalar.text.as_str();
    if !is_name(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.len() > 40 {
        let hint = "1 to 40 of a-z, 0-9, `_` and `-`, a letter first".to_owned();
        found.add_with_hint(node.at, format!("`name: {}` is not a plan's name", scalar.shown()), hint);
    }
    name.to_owned()
}

/// How to execute the plan; every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Connections that copy, build indexes and verify in parallel.
    pub workers: usize,
    /// Bytes of blue's heap that one transaction copies.
    pub chunk_size_bytes: u64,
    /// A round of the copy ends when its snapshot is older than this.
    pub max_snapshot_age: Duration,
    /// Bytes of WAL that the run's slot may hold back. At half of it the copy's round ends, at all of it
    /// the run is aborted.
    pub wal_budget_bytes: u64,
    /// How long to retry when the server is down or refuses connections transiently.
    pub reconnect_for: Duration,
    /// When copy and apply have to wait.
    pub throttle: Throttle,
    /// Limits of the swap.
    pub swap: SwapSettings,
    /// What a preview is allowed to do.
    pub preview: PreviewSettings,
    /// How often all rows are compared again during the soak; `None` if only what changes is.
    pub verify_every: Option<Duration>,
    /// Whether to finish the run when the soak is over.
    pub finishes_after_soak: bool,
    /// Where blue is moved when the run is finished; `None` if it is dropped.
    pub archive: Option<Archive>,
    /// How long green's changes are applied to blue after the swap, so that it can be undone; zero if not at all.
    pub soak: Duration,
}

/// What a preview is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct PreviewSettings {
    /// Whether it may measure the server's pace on a few rows in temporary tables.
    pub sample: bool,
}

/// Conditions under which copy and apply wait; `None` never waits for that one.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct Throttle {
    /// Greatest replay lag of a physical standby.
    pub max_replica_lag: Option<Duration>,
    /// Greatest number of active client sessions, ours not counted.
    pub max_active_sessions: Option<u32>,
    /// While more other sessions are active than the run has workers, all workers together use the share of one worker
    /// that rests this percentage of the time it works; 0 never rests.
    pub rest_percent: u32,
    /// SQL whose first column, a boolean, is true while the run has to wait.
    pub query: Option<String>,
}

/// Limits of the swap.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct SwapSettings {
    /// How long one attempt waits for its locks.
    pub lock_timeout: Duration,
    /// Longest time from the lock to the commit; past it the attempt is rolled back.
    pub max_write_stall: Duration,
    /// Attempts before the command ends with exit code 5.
    pub attempts: u32,
    /// Swap only within this window of the day.
    pub window: Option<Window>,
    /// Which blocking sessions may be terminated.
    pub terminate_blockers: TerminateBlockers,
}

/// A window of the day, in UTC or a named time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Window {
    /// First minute inside the window.
    pub from: jiff::civil::Time,
    /// First minute outside again; may be before `from`, if the window spans midnight.
    pub to: jiff::civil::Time,
    /// IANA name, or `UTC`.
    pub time_zone: String,
}

/// Which sessions that block the swap may be terminated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum TerminateBlockers {
    /// No session is terminated.
    #[default]
    Never,
    /// Sessions that are idle in a transaction.
    IdleInTransaction,
    /// Any session of a client.
    All,
}

/// The migration of one table.
#[derive(Clone, Debug, Serialize)]
pub struct TablePlan {
    /// The live table, schema-qualified.
    pub table: QName,
    /// How green is partitioned; `None` makes it a plain table.
    pub partition_by: Option<PartitionBy>,
    /// Green's primary key; `None` if it is blue's.
    pub primary_key: Option<Vec<Ident>>,
    /// REPLICA IDENTITY FULL during the run.
    pub replica_identity_full: bool,
    /// Columns that change, by blue's name.
    pub columns: BTreeMap<Ident, ColumnChange>,
    /// Columns that only green has.
    pub add_columns: Vec<AddColumn>,
    /// Indexes that only green has.
    pub indexes: Vec<NewIndex>,
    /// The schema of a view of the old shape, from the swap until `finish`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<Ident>,
    /// Indexes (or unique constraints) of blue that green does not get.
    pub drop_indexes: Vec<Ident>,
    /// What becomes of foreign keys whose referenced key is widened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbound_foreign_keys: Option<InboundForeignKeys>,
    /// Whether the old primary key stays unique where the new one is wider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniqueness: Option<Uniqueness>,
    /// Whether its indexes are built on the table itself.
    #[serde(skip)]
    pub in_place: bool,
}

/// A column that only green has: `follow_up boolean not null default false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AddColumn {
    /// The column's name.
    pub name: Ident,
    /// Everything after the name, as SQL text.
    pub definition: String,
}

/// An index that only green has, parsed just far enough to be built on any relation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewIndex {
    /// The index's name.
    pub name: Ident,
    /// CREATE UNIQUE INDEX instead of CREATE INDEX.
    pub unique: bool,
    /// Everything after the table's name: `USING ... (...) INCLUDE ... WHERE ...`.
    pub rest: String,
}

/// How green is partitioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionBy {
    /// The partition key, by green's name for the column.
    pub column: Ident,
    /// How the key's values are divided.
    pub into: Partitions,
    /// Whether there is a default partition, for rows that no other one takes (never with hash).
    pub default: bool,
    /// The schema that the partitions end up in; `None` is the table's own.
    pub schema: Option<Ident>,
    /// The template of a partition's name; `None` uses the default of its kind.
    pub name: Option<String>,
    /// IANA name of the time zone in which days begin, for a key with a time zone; `None` is UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What `partitions` does with old partitions; nothing if `None`. A run does not depend on it, so it may change
    /// during one.
    #[serde(skip)]
    pub retention: Option<Retention>,
}

/// How a table is divided into partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitions {
    /// Ranges of equal length in time.
    Every {
        /// How many of `unit` one partition spans.
        count: u32,
        /// The unit that `count` counts.
        unit: Unit,
        /// First lower bound; `None` takes it from the data.
        from: Option<jiff::civil::Date>,
        /// Last upper bound; `None` takes it from the data, the present day and `ahead`.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<jiff::civil::Date>,
        /// Partitions past the one that contains today (or the latest row, if that is later).
        ahead: u32,
    },
    /// Ranges between neighbouring bounds, which are the text of SQL literals, ascending.
    Bounds(Vec<String>),
    /// Named lists of values, as the text of literals; `None` is NULL.
    List(Vec<(String, Vec<Option<String>>)>),
    /// The number of hash partitions.
    Hash(u32),
}

/// A unit of time that a range may span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first of a month on.
    Month,
    /// From the first of January, April, July or October on.
    Quarter,
    /// From the first of January on.
    Year,
}

#[cfg(test)]
mod tests;
