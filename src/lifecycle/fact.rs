//! What can happen to a run, in the past tense.
//!
//! No fact holds a row's value: a key is a digest, a row is a count.

use serde::{Deserialize, Serialize};

use super::{Secret, Span};
use crate::hangs_on::{Fingerprint, Green, Key};
use crate::pg::{Ident, Lsn, QName};

/// One fact of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// An orchestrator took the run over (the first one, too).
    Started {
        /// Its host's name.
        host: String,
        /// Its process id there.
        pid: u32,
        /// The program's version.
        version: String,
    },
    /// Green, its home and the publication were made.
    Prepared(Box<Prepared>),
    /// A slot was about to be made; if it exists, it is ours.
    SlotIntended,
    /// The slot was made: the first consistent point of the run.
    SlotCreated {
        /// Its consistent point.
        lsn: Lsn,
        /// `pg_relation_filenode` of each lane's blue, noted before the slot was made.
        filenodes: Vec<u32>,
    },
    /// Copying began at a consistent point.
    RoundBegan {
        /// Where.
        lsn: Lsn,
    },
    /// A chunk of blue is in green.
    ChunkCopied {
        /// The lane's number in the plan.
        lane: usize,
        /// Which blocks.
        span: Span,
        /// How many rows green gained.
        rows: u64,
    },
    /// Green's key index was built on one relation.
    KeyBuilt {
        /// The lane's number in the plan.
        lane: usize,
    },
    /// Keys whose rows the stream could not complete were read again from blue.
    DirtyKeysRead {
        /// The lane's number in the plan.
        lane: usize,
        /// How many.
        keys: u64,
    },
    /// A round was over.
    RoundEnded {
        /// Why.
        why: RoundEnd,
    },
    /// Blue was rewritten or truncated under the copy: what had been copied was thrown away.
    CopyRestarted {
        /// The lane's number in the plan.
        lane: usize,
    },
    /// Green holds every row of blue as of the last round's consistent point.
    CopyFinished,
    /// The stream's lag was small, for the first time since the copy.
    CaughtUp {
        /// The next transaction id at that time: a snapshot that is older may miss rows of green.
        xid: u64,
    },
    /// One statement of the index phase was carried out.
    IndexBuilt {
        /// The lane's number in the plan.
        lane: usize,
        /// The statement's number among the lane's.
        step: usize,
        /// The index and the relation; not written by version 0.1.0.
        #[serde(default)]
        what: String,
    },
    /// Every index is there, and green was analyzed.
    Indexed,
    /// Blue and green were equal at one point in time.
    Verified(Verification),
    /// Something (a TRUNCATE) made the verification void; it has to be done again.
    VerificationVoided,
    /// Blue and green were exchanged.
    Swapped {
        /// The end of the WAL just before.
        lsn: Lsn,
        /// Keys compared under the lock.
        compared: u64,
        /// What the lock's time was spent on, up to the commit.
        times: SwapTimes,
    },
    /// One statement of the work after the swap was carried out.
    StepSettled {
        /// The lane's number in the plan.
        lane: usize,
        /// The statement's number among the lane's.
        step: usize,
        /// What was done, on what; not written by version 0.1.0.
        #[serde(default)]
        what: String,
    },
    /// The work after the swap was done, slot and publication dropped.
    Settled,
    /// The run's slot could not be kept: nothing is left to do but to roll back.
    GivenUp {
        /// Why.
        why: String,
    },
    /// Some of green's partitions were dropped: nothing is left to do but to roll back.
    PartitionsDropped,
    /// Everything the run made was dropped; blue is as it was.
    RolledBack,
    /// Blue was dropped; nothing of the run is left but the journal.
    Finished,
}

impl Fact {
    /// Its name in the journal.
    #[must_use]
    pub fn name(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json["fact"].as_str().unwrap_or_default().to_owned()
    }
}

/// What `prepare` made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// One lane a table of the plan, in the plan's order.
    pub lanes: Vec<LaneDesign>,
    /// The schema that blue moves to in the swap.
    pub blue_home: Ident,
    /// The schema that green is made in.
    pub green_home: Ident,
    /// The publication of the blues, and the slot: both have this name.
    pub slot: Ident,
}

/// One pair of tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneDesign {
    /// The name that clients use.
    pub table: QName,
    /// What identifies a row of blue in the stream.
    pub key: Key,
    /// Green's design.
    pub green: Green,
    /// Blue's definition when green was designed; DDL on blue changes it.
    pub fingerprint: Fingerprint,
    /// `replica_identity: full` was set for the run; what to set it back to.
    pub replica_identity_before: Option<String>,
    /// What row hashes and digests of keys start from.
    #[serde(default)]
    pub secret: Secret,
}

/// Why a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundEnd {
    /// Nothing was missing any more.
    Complete,
    /// The snapshot had reached `max_snapshot_age`.
    SnapshotAge,
    /// The slot held back much WAL.
    WalBudget,
}

/// What a verification covered.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Verification {
    /// The consistent point.
    pub lsn: Lsn,
    /// Rows of blue (and as many of green), per lane.
    pub rows: Vec<u64>,
    /// Columns compared, per lane.
    pub columns: Vec<usize>,
    /// Comparisons that followed, of the keys that had changed since the one before.
    pub delta_steps: u32,
    /// Keys compared in those.
    pub delta_keys: u64,
}

/// The parts of the stall that a swap meant for clients, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SwapTimes {
    /// Waiting for the lock.
    pub lock_wait_ms: f64,
    /// Applying what had been committed before the lock.
    pub drain_ms: f64,
    /// Comparing what had changed since the verification.
    pub compare_ms: f64,
    /// Exchanging the tables and what hangs on them.
    pub exchange_ms: f64,
}
