//! Findings: what prevents a plan from being executed, or should be known before it is.

use serde::Serialize;

use crate::hangs_on::{Blocker, Conflict, NoKey};
use crate::pg::QName;

/// Which check found it: a stable word for machines.
///
/// The text of each says what holds if it finds nothing. Most are run by `check`; the last ones are found by the
/// commands that they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckId {
    /// The server's version is supported.
    Version,
    /// The server is not a standby.
    Primary,
    /// `wal_level` allows logical decoding.
    WalLevel,
    /// The database has an encoding.
    Encoding,
    /// Transactions may write.
    ReadOnly,
    /// Replication slots and WAL senders are free, and a run's own slot is there.
    Slots,
    /// The role may create a logical slot with `pgoutput`.
    Replication,
    /// Connections are free: on the server, for the database, for the role.
    Connections,
    /// The role has the rights that a run needs.
    Rights,
    /// No value of a row gets into the server's log.
    ServerLog,
    /// The keys of encrypted columns are there, and the database is in UTF8; a note says which blind indexes and tags are kept.
    Encryption,
    /// `settings.throttle.query` can be executed and gives a boolean.
    Throttle,
    /// The plan's gates can be asked.
    Gates,
    /// Indexes can be built in place where the plan says so; a note says where it could.
    InPlace,
    /// The server can parse the plan's steps.
    Steps,
    /// Synchronous standbys are connected, and set by name.
    Standbys,
    /// A note names the event triggers that fire for the DDL of a run.
    EventTriggers,
    /// The plan's table exists, and is an ordinary table.
    Table,
    /// No DDL or other statement with a strong lock is under way on the table.
    UnderWay,
    /// Functions that are called for a row work without a client's `search_path`.
    Functions,
    /// Every row can be read.
    RowSecurity,
    /// The plan fits the table.
    PlanFitsTable,
    /// The table has a key by which the stream knows its rows.
    Key,
    /// The partitions can be created, and hold the rows.
    Partitions,
    /// The server's lock table has room for the partitions and their indexes.
    Locks,
    /// The rows can be read and written with the rights of the table's owner.
    OwnersRights,
    /// The statements of a run can be written for the table's columns.
    Statements,
    /// UPDATE and DELETE work while the table is published.
    ReplicaIdentity,
    /// No other run migrates the table, or one that a foreign key connects with it.
    AnotherRun,
    /// The table has no property with which green could not even be made.
    Definition,
    /// Nothing hangs on the table that this version does not carry through a swap.
    Unsupported,
    /// What depends on the table fits green; a note says what becomes of each, and which roles cannot use a view of the old shape.
    Dependents,
    /// The role may create the table's triggers on green; notes say what becomes of them.
    Triggers,
    /// The plan's policies come into force, and open nothing; its triggers have names of their own.
    Policies,
    /// Values of the columns' types can be streamed and compared exactly.
    Types,
    /// Names that green needs are free.
    Names,
    /// The old table can be moved to the schema of `settings.archive`.
    Archive,
    /// A run's statements work, tried in a transaction that is rolled back.
    Rehearsal,
    /// Nothing of green names blue by its OID.
    NamesItself,
    /// Every row has the rows that its foreign keys point at, and so have those of tables that reference it.
    ForeignKeys,
    /// The stream has every value that an expression of the plan reads.
    UnchangedValues,
    /// Identity sequences are not near their end.
    Sequences,
    /// `using` depends on nothing but the row.
    Using,
    /// The plan's soak is possible: every value comes back to blue after the swap.
    WayBack,
    /// Every row satisfies the constraints of green, and has a value for each of its columns.
    Rows,
    /// XML values come back as they were sent.
    Xml,
    /// Generated columns hold what their expression gives.
    GeneratedValues,
    /// No key of a unique index has several rows.
    UniqueIndexes,
    /// No transaction has been open for long.
    OpenTransactions,
    /// No transaction is prepared.
    PreparedTransactions,
    /// The disk has room for green, its indexes and the WAL.
    Disk,
    /// `execute`: no DDL changed the tables while green was made.
    TablesAtRest,
    /// `rollback`: no object made by others depends on green.
    DependentsOfGreen,
    /// `partitions`: the table is partitioned as the plan says, and what is to be done can be done.
    Upkeep,
    /// `finish`: no session is older than the swap.
    OldSessions,
}

/// Whether a finding prevents the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The plan cannot be executed as things are.
    Refusal,
    /// The plan can be executed, but this should be known.
    Note,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// The check that found it.
    pub check: CheckId,
    /// Whether it prevents the run.
    pub severity: Severity,
    /// The table, as `schema.table`, or `server`.
    pub place: String,
    /// What was found, for people.
    pub what: String,
    /// What to type, or do, about it.
    pub hint: String,
}

impl Finding {
    /// A refusal that concerns a table.
    #[must_use]
    pub fn table(check: CheckId, table: &QName, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Refusal,
            place: table.plain(),
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// A refusal that concerns the server.
    #[must_use]
    pub fn server(check: CheckId, what: impl Into<String>, hint: impl Into<String>) -> Self {
        let place = "server".to_owned();
        Self { check, severity: Severity::Refusal, place, what: what.into(), hint: hint.into() }
    }

    /// The same, as a note.
    #[must_use]
    pub fn into_note(self) -> Self {
        Self { severity: Severity::Note, ..self }
    }

    /// Whether it prevents the run.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.severity == Severity::Refusal
    }

    /// Refusals for a plan and a table that do not fit together, each once.
    #[must_use]
    pub fn of_conflicts(table: &QName, conflicts: Vec<Conflict>) -> Vec<Self> {
        let mut findings: Vec<Self> = Vec::new();
        for conflict in conflicts {
            let finding = Self::table(CheckId::PlanFitsTable, table, conflict.what, conflict.hint);
            // An unknown column that the plan names twice is reported once.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        findings
    }

    /// Refusals for objects that depend on a table and are not carried over.
    #[must_use]
    pub fn of_blockers(table: &QName, blockers: Vec<Blocker>) -> Vec<Self> {
        let finding = |blocker: Blocker| match blocker.run() {
            Some(run) => {
                let what = format!("run {run} of another plan, or one that was left behind, migrates it");
                let hint = format!("end that run first: projh-bluegreen rollback {run}");
                Self::table(CheckId::AnotherRun, table, what, hint)
            }
            None => {
                let check =
                    if blocker.kind.stops_green() { CheckId::Definition } else { CheckId::Unsupported };
                let what = format!("{}: {}", blocker.kind, blocker.object);
                Self::table(check, table, what, blocker.hint)
            }
        };
        blockers.into_iter().map(finding).collect()
    }

    /// The refusal of a table without a usable key.
    #[must_use]
    pub fn of_no_key(table: &QName, none: &NoKey) -> Self {
        Self::table(CheckId::Key, table, none.why.clone(), none.hint.clone())
    }
}
