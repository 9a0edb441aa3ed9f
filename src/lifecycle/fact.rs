//! What has happened to a run.
//!
//! Invariant: no fact holds a row's value; keys are digests, rows are counts.

use serde::{Deserialize, Serialize};

use super::{Census, Secret, Span, Way};
use crate::hangs_on::{Fingerprint, Green, Homes, TableKey};
use crate::pg::sql::Statement;
use crate::pg::{Colour, Ident, Lsn, QName};
use crate::phi::KeysPlan;
use crate::plan::Step;

/// A fact of the journal, in the past tense.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// An orchestrator took the run over; the first one did, too.
    Started {
        /// The name of its host.
        host: String,
        /// Its process id on that host.
        pid: u32,
        /// The program's version.
        version: String,
    },
    /// The run's schemas, green and the publication were created.
    Prepared(Box<Prepared>),
    /// A slot was about to be created; if it exists, it belongs to the run.
    SlotIntended,
    /// The slot was created, at the first consistent point of the run.
    SlotCreated {
        /// The LSN of its consistent point.
        lsn: Lsn,
        /// `pg_relation_filenode` of each lane's blue, read before the slot was created.
        filenodes: Vec<u32>,
    },
    /// A round of the copy began at a consistent point.
    RoundBegan {
        /// The LSN of the consistent point.
        lsn: Lsn,
    },
    /// A chunk of blue was copied to green.
    ChunkCopied {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
        /// The heap blocks of the chunk.
        span: Span,
        /// The number of rows that green gained.
        rows: u64,
    },
    /// The index of green's key was built.
    KeyBuilt {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
    },
    /// Rows that the stream could not complete were read again from blue.
    DirtyKeysRead {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
        /// The number of their keys.
        keys: u64,
    },
    /// A round of the copy ended.
    RoundEnded {
        /// Why it ended.
        why: RoundEnd,
    },
    /// Blue was rewritten or truncated during the copy, and what had been copied was discarded.
    CopyRestarted {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
    },
    /// Green holds every row of blue as of the last round's consistent point.
    CopyFinished,
    /// The lag of the stream became small for the first time since the copy.
    CaughtUp {
        /// The next transaction id at that time: an older snapshot may not see all rows of green.
        xid: u64,
    },
    /// A statement of the index phase was executed.
    IndexBuilt {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
        /// The statement's number, from 0, among those of the lane.
        step: usize,
        /// The index and the relation; not written by version 0.1.0.
        #[serde(default)]
        what: String,
    },
    /// Every index was built, and green was analyzed.
    Indexed {
        /// Each lane's green from now until the swap; not written by version 0.1.0.
        #[serde(default)]
        greens: Vec<Fingerprint>,
    },
    /// Blue and green were equal at one point in time.
    Verified(Verification),
    /// The verification became void, for instance by a TRUNCATE, and has to be repeated.
    VerificationVoided,
    /// The way back was about to be opened; what exists of it belongs to the run.
    WayBackIntended,
    /// The way back was opened: green's changes are in a stream of their own from this position on.
    WayBackOpened {
        /// The LSN of the consistent point of its slot.
        lsn: Lsn,
    },
    /// What builds indexes in place was designed, or designed again because there were more partitions.
    InPlace {
        /// All steps of it so far, in their order.
        steps: Vec<Step>,
    },
    /// A step of the plan was executed, or undone: all of its statements, in one transaction with this fact if it is one.
    StepDone {
        /// Its name.
        step: String,
        /// Whether it was executed or undone.
        way: Way,
    },
    /// A statement of a step that is executed outside of a transaction was about to be executed.
    StepIntended {
        /// The step's name.
        step: String,
        /// Whether it is executed or undone.
        way: Way,
        /// The statement's number, from 0.
        statement: usize,
    },
    /// What a gate compares after the swap was measured before it.
    Measured {
        /// The gate's name.
        gate: String,
        /// What was measured, in milliseconds.
        ms: f64,
    },
    /// Blue and green were exchanged.
    Swapped {
        /// The table that is live since then.
        #[serde(default = "green")]
        live: Colour,
        /// The end of the WAL just before the exchange.
        lsn: Lsn,
        /// The number of keys compared under the lock.
        compared: u64,
        /// What the time under the lock was spent on, up to the commit.
        times: SwapTimes,
        /// What the live tables are from then on, if the swap can be undone.
        #[serde(default)]
        arrived: Option<Arrived>,
    },
    /// A statement of `settle` was executed.
    StepSettled {
        /// The lane's number, from 0, in the plan's order.
        lane: usize,
        /// The statement's number, from 0, among those of the lane.
        step: usize,
        /// What the statement did, and on what; not written by version 0.1.0.
        #[serde(default)]
        what: String,
    },
    /// The work after the swap was completed; without a way back, slot and publication were dropped.
    Settled,
    /// Changes of the live table can no longer be applied to the other one, or the two were found to differ.
    WayBroken {
        /// When that was noticed, by the server's clock; ISO 8601.
        since: String,
        /// Why, in a sentence.
        why: String,
        /// The rows that it is about, the first few; empty if it is about none, or they are not known.
        #[serde(default)]
        keys: Vec<KeyDigest>,
    },
    /// The other table is equal to the live one again.
    WayMended,
    /// The way back was about to be closed, because the soak is over or the run is finished: from here on slots and
    /// publications may be missing.
    WayBackClosing,
    /// The soak is over: the way back was closed, and its slots and publications were dropped.
    Soaked,
    /// The way back was lost, because a slot could not be kept; both slots were dropped.
    WayBackLost {
        /// Why the slot could not be kept.
        why: String,
    },
    /// The run's slot could not be kept; the run can only be rolled back.
    GivenUp {
        /// Why the slot could not be kept.
        why: String,
    },
    /// A rollback has dropped some of green's partitions; the run can only be rolled back.
    PartitionsDropped,
    /// Everything that the run created was dropped; blue is as it was.
    RolledBack {
        /// The tables that were not there any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<QName>,
    },
    /// Blue was dropped or archived; nothing else of the run is left but the journal.
    Finished {
        /// Where each blue was moved that was not dropped.
        #[serde(default)]
        archived: Vec<QName>,
        /// The live tables that were not there any more.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lost: Vec<QName>,
    },
}

impl Fact {
    /// The fact's name in the journal, as in its field `fact`.
    #[must_use]
    pub fn name(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json["fact"].as_str().unwrap_or_default().to_owned()
    }

    /// Whether the server must not log it: it has the secrets of digests of confidential keys. It is only written inside of a
    /// transaction.
    #[must_use]
    pub fn is_confidential(&self) -> bool {
        matches!(self, Self::Prepared(prepared) if prepared.keys.is_some())
    }
}

/// A row that is named without its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KeyDigest {
    /// The table, as `schema.table`.
    pub table: String,
    /// The digest of the row's key; `projh-bluegreen find` finds the row.
    pub digest: String,
}

/// The live tables after a swap that can be undone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrived {
    /// The server's time of the swap, in seconds since 1970.
    pub at: i64,
    /// The fingerprint of each lane's live table: DDL on it closes the way.
    pub fingerprints: Vec<Fingerprint>,
    /// The fingerprint of each lane's other table: after DDL on it, it would not come back as it was.
    #[serde(default)]
    pub left: Vec<Fingerprint>,
}

/// A way back that is broken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Broken {
    /// When that was noticed, by the server's clock; ISO 8601.
    pub since: String,
    /// Why, in a sentence.
    pub why: String,
    /// The rows that it is about, the first few.
    pub keys: Vec<KeyDigest>,
}

/// Version 0.1.0 could swap in one direction only.
fn green() -> Colour {
    Colour::Green
}

/// What `prepare` created.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// A lane for each table of the plan, in the plan's order.
    pub lanes: Vec<LaneDesign>,
    /// The name of the slot, and of the publication of all blues.
    pub slot: Ident,
    /// What the program's own transactions on the tables begin with in the stream; version 0.1.0 had none.
    #[serde(default)]
    pub mark: String,
    /// Where the keys of encrypted columns come from; never a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysPlan>,
}

impl Prepared {
    /// Whether the publication of these tables publishes changes of partitions as their root's. That of green does,
    /// for all its tables, partitioned or not.
    #[must_use]
    pub fn via_root(&self, tables: Colour) -> bool {
        tables == Colour::Green || self.lanes.iter().any(|lane| lane.green.blue.table.is_partitioned())
    }

    /// The private schemas of its tables, each pair once.
    #[must_use]
    pub fn homes(&self) -> Vec<&Homes> {
        distinct_homes(&self.lanes)
    }

    /// What is left to do after a swap that made `live` live, each statement with its lane and its position there.
    pub(crate) fn settle(&self, live: Colour) -> Vec<(usize, usize, Statement)> {
        let of_lane = |(lane, design): (usize, &LaneDesign)| {
            design.green.settle(live).into_iter().enumerate().map(move |(number, step)| (lane, number, step))
        };
        // A key between two of these tables is settled by the one whose it is.
        let is_of_another = |lane: usize, step: &Statement| {
            let mut others = self.lanes.iter().enumerate().filter(|(other, _)| *other != lane);
            others.any(|(_, other)| step.on.as_ref() == Some(&other.table))
        };
        let mut steps: Vec<_> = self.lanes.iter().enumerate().flat_map(of_lane).collect();
        steps.retain(|(lane, _, step)| !is_of_another(*lane, step));
        steps
    }

    /// The designs of all green tables.
    #[must_use]
    pub fn greens(&self) -> Vec<&Green> {
        self.lanes.iter().map(|lane| &lane.green).collect()
    }
}

/// The private schemas of these tables, each pair once.
pub(crate) fn distinct_homes(lanes: &[LaneDesign]) -> Vec<&Homes> {
    let mut all: Vec<&Homes> = lanes.iter().map(|lane| &lane.green.homes).collect();
    all.sort();
    all.dedup();
    all
}

/// A pair of tables as designed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneDesign {
    /// The name that clients use.
    pub table: QName,
    /// The columns that identify a row of blue in the stream.
    pub key: TableKey,
    /// The design of green.
    pub green: Green,
    /// The fingerprint of blue's definition when green was designed; DDL on blue changes it.
    pub fingerprint: Fingerprint,
    /// The replica identity to restore, if the plan's `replica_identity: full` changed it for the run.
    pub replica_identity_before: Option<String>,
    /// The secret that seeds row hashes and digests of keys.
    #[serde(default)]
    pub secret: Secret,
    /// The OID of green; earlier versions did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green_oid: Option<u32>,
}

impl LaneDesign {
    /// The OID of one of its tables, if the journal has it.
    #[must_use]
    pub fn oid(&self, colour: Colour) -> Option<u32> {
        match colour {
            Colour::Blue => Some(self.green.blue.table.oid),
            Colour::Green => self.green_oid,
        }
    }
}

/// Why a round of the copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    /// Every chunk had been copied.
    Complete,
    /// The snapshot had reached `max_snapshot_age`.
    SnapshotAge,
    /// The slot retained half of the WAL that `wal_budget` allows.
    WalBudget,
}

/// What a verification covered.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Verification {
    /// The LSN of the consistent point.
    pub lsn: Lsn,
    /// Rows of blue, and as many of green, for each lane.
    pub rows: Vec<u64>,
    /// Columns compared, for each lane.
    pub columns: Vec<usize>,
    /// Number of further comparisons, each of the keys that had changed since the one before.
    pub delta_steps: u32,
    /// Number of keys compared in these.
    pub delta_keys: u64,
    /// The encrypted values of the tables that are not live, all of them, at that point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<Census>,
}

/// The parts of the stall that a swap caused, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SwapTimes {
    /// Waiting for the lock to be granted.
    pub lock_wait_ms: f64,
    /// Applying what had been committed before the lock.
    pub drain_ms: f64,
    /// Comparing what had changed since the verification.
    pub compare_ms: f64,
    /// Exchanging the tables and everything that belongs to them.
    pub exchange_ms: f64,
}
