//! What the engine reports while it works. Reporters turn it into lines for a person or for a machine.
//!
//! Invariant: no event holds a row's value. Under `--json` events are a public interface: types and fields are
//! added, never changed or removed.

pub(crate) mod line;
mod partition;
mod preview;
pub mod schema;

use schemars::JsonSchema;
use serde::Serialize;

use crate::coverage::{PhiColumn, PhiPlace};
use crate::error::{Error, ExitCode};
use crate::finding::Finding;
use crate::lane::compare::Difference;
use crate::lane::find::RowFound;
use crate::lifecycle::{Phase, RoundEnd, SwapTimes, Verification};
use crate::meter::Reached;
use crate::pg::Lsn;
use crate::plan::{Problem, SettingChange};
use crate::rekey::told::{RekeyEstimate, Rekeyed};
use crate::status::Status;

pub use partition::{PartitionChange, PartitionChanged};
pub use preview::{
    Blocks, PreviewChange, PreviewLock, PreviewNotice, PreviewStatement, PreviewStep, PreviewSummary,
};

/// One event. Its variant is the `type` of a line of `--json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A run begins or resumes.
    Run {
        /// The run's short id: eight hexadecimal digits.
        run: String,
        /// The plan's name.
        plan: String,
        /// Whether the run began in an earlier session.
        resumed: bool,
        /// The phases that are done already.
        done: Vec<Phase>,
        /// All phases of this command, in their order.
        phases: Vec<Phase>,
        /// The phase after which this command stops; `null` if it runs to the end.
        until: Option<Phase>,
    },
    /// No check refused the plan.
    Checked {
        /// The number of findings that are notes.
        notes: usize,
    },
    /// A mistake in the plan's text.
    Problem(Problem),
    /// A finding of a check.
    Finding(Finding),
    /// A phase began.
    PhaseStarted {
        /// The phase that began.
        phase: Phase,
    },
    /// A phase was completed.
    PhaseDone {
        /// The phase that was completed.
        phase: Phase,
        /// How long it took in this session, in seconds.
        seconds: f64,
    },
    /// A round of the copy began.
    Round {
        /// The round's number, from 1.
        round: u32,
        /// The LSN of its consistent point.
        lsn: Lsn,
        /// The number of chunks that are still to be copied.
        chunks: usize,
    },
    /// A round of the copy ended.
    RoundEnded {
        /// The round's number, from 1.
        round: u32,
        /// Why it ended.
        why: RoundEnd,
    },
    /// Progress of the copy, reported about once a second.
    CopyProgress {
        /// The live table, `schema.name`.
        table: String,
        /// Rows copied so far.
        rows: u64,
        /// Rows of blue as PostgreSQL estimates them.
        rows_estimated: u64,
        /// Recent rate, in rows per second.
        rows_per_s: f64,
        /// The part of blue that has been read.
        #[serde(flatten)]
        reached: Reached,
    },
    /// One of a phase's statements was executed.
    Step {
        /// The phase it belongs to.
        phase: Phase,
        /// What the statement did, in words.
        what: String,
        /// The number of statements executed so far.
        done: usize,
        /// The number of statements in all.
        of: usize,
    },
    /// The lag of green behind blue, reported about once a second while the slot exists.
    Lag {
        /// Bytes of WAL between its end and the position applied to green.
        lag_bytes: u64,
        /// Changes applied in this session.
        applied: u64,
        /// Recent rate, in changes per second.
        applied_per_s: f64,
        /// Bytes of WAL that the server retains for the slot.
        retained_bytes: u64,
        /// `wal_status` of `pg_replication_slots`: `reserved`, `extended`, `unreserved` or `lost`.
        wal_status: String,
    },
    /// Progress of the verification, reported about once a second.
    VerifyProgress {
        /// The live table, `schema.name`.
        table: String,
        /// Rows read so far, those of blue and of green together.
        rows: u64,
        /// Recent rate, in rows per second.
        rows_per_s: f64,
        /// The part of blue and green that has been read.
        #[serde(flatten)]
        reached: Reached,
    },
    /// The keys that changed since the last comparison were compared as well.
    DeltaVerified {
        /// The step's number, from 1.
        step: u32,
        /// The number of keys compared.
        keys: u64,
    },
    /// A row that differs between blue and green.
    Difference(Difference),
    /// Blue and green were equal.
    Verified {
        /// What was compared.
        #[serde(flatten)]
        verification: Verification,
    },
    /// An attempt to swap was rolled back; blue is still live.
    SwapPostponed {
        /// The attempt's number, from 1.
        attempt: u32,
        /// Why it was rolled back.
        why: String,
        /// Sessions in the way: pid, user, age of the transaction, state.
        blockers: Vec<String>,
    },
    /// The tables were exchanged.
    Swapped {
        /// The number of the attempt that succeeded, from 1.
        attempt: u32,
        /// The number of keys compared under the lock.
        compared: u64,
        /// The stall's parts.
        #[serde(flatten)]
        times: SwapTimes,
        /// Time of the COMMIT, in milliseconds.
        commit_ms: f64,
        /// Time from the request for the lock to the end of the COMMIT, in milliseconds: the longest that a client can
        /// have waited.
        stall_ms: f64,
    },
    /// Green is live, and its changes are applied to blue: until the soak is over the swap can be undone.
    Soaking {
        /// Seconds until then.
        seconds: f64,
    },
    /// Copy and apply pause or resume.
    Throttled {
        /// Why they pause; `null` when they resume.
        why: Option<String>,
    },
    /// The connection was lost or failed transiently; it will be opened again.
    Retry {
        /// The error that ended the session.
        why: String,
        /// The delay before the next attempt, in seconds.
        seconds: f64,
    },
    /// The run waits for another session, or for a point in time.
    Waiting {
        /// What it waits for.
        cause: WaitCause,
        /// Who is in the way, and what ends the wait.
        text: String,
    },
    /// The work of a phase became void, and the phase begins again.
    BegunAgain {
        /// The phase that begins again.
        phase: Phase,
        /// Why its work became void.
        why: String,
    },
    /// A session that blocked the swap was terminated, as the plan's `terminate_blockers` allows.
    BackendTerminated {
        /// Its pid, user, `application_name`, state and age of transaction.
        backend: String,
    },
    /// A gate passed before the swap, or did not during the soak.
    Gate {
        /// Its name.
        gate: String,
        /// Why it did not pass; `null` if it did.
        why: Option<String>,
        /// How many times in a row it has not passed.
        failures: u32,
    },
    /// A command on another terminal asks for something of the process that holds the run; both report it.
    Asked {
        /// What is asked for: `rollback`, `finish` with its options, `swap`, `verify`, `pause`, `resume` or `set`.
        ask: String,
        /// Who asks; for the command itself, who is asked.
        who: String,
    },
    /// A setting of the run is another one than before, or than the plan's: `set` has changed it.
    SettingChanged {
        /// What was changed.
        #[serde(flatten)]
        change: SettingChange,
        /// Who has set it.
        who: String,
    },
    /// Any other message for a person.
    Notice {
        /// The message, in one or more sentences.
        text: String,
    },
    /// Dry run: a step that the run would take.
    PreviewStep(PreviewStep),
    /// Dry run: something that the swap would change in the catalog.
    PreviewChange(PreviewChange),
    /// Dry run: something that clients will notice.
    PreviewNotice(PreviewNotice),
    /// Dry run: its totals.
    PreviewSummary(PreviewSummary),
    /// A partition was created, archived or dropped by `partitions`, or would be.
    Partition(PartitionChanged),
    /// `phi coverage`: a column of protected health information.
    PhiColumn(PhiColumn),
    /// `phi coverage`: a place where plaintext remains.
    PhiPlace(PhiPlace),
    /// `phi rekey`: the values of a table that are not under their column's key, and an estimate of the time.
    RekeyEstimate(RekeyEstimate),
    /// `phi rekey`: progress on a table, reported about once a second, and its end.
    Rekeyed(Rekeyed),
    /// A row that a key digest stands for.
    RowFound(RowFound),
    /// The state of a run.
    Status(Box<Status>),
    /// A command failed. Findings, problems and differences are reported before it.
    Error {
        /// What went wrong.
        message: String,
        /// What to do about it, if anything is known.
        hint: Option<String>,
        /// The exit code, as documented in the README.
        #[schemars(with = "u8")]
        code: ExitCode,
    },
    /// The command ends: the last line of each. `status` and `find`, which only show something, have it only if they fail.
    End {
        /// The exit code, as documented in the README.
        #[schemars(with = "u8")]
        code: ExitCode,
        /// The state of the tables, in a sentence.
        state: String,
        /// The command to type next, if there is one.
        next: Option<String>,
    },
}

/// What a run waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitCause {
    /// A lock that another session holds.
    Lock,
    /// A transaction that was open when a consistent point was wanted.
    Transaction,
    /// Snapshots that are older than green's rows, which would find green empty after the swap.
    Snapshot,
    /// The lag of the stream, which has to be smaller.
    Lag,
    /// The time window that the plan allows for the swap.
    Window,
    /// A synchronous standby that has to confirm a commit.
    Standby,
    /// A statement that rewrites a table.
    Rewrite,
    /// Sessions that may have cached a row type of blue.
    RowType,
    /// `projh-bluegreen swap`, which releases a held swap.
    Release,
}

/// Receives events.
pub trait Reporter: Send + Sync {
    /// Takes one event. Called from many tasks, so it must not block.
    fn tell(&self, event: &Event);

    /// Takes the error that a command ends with.
    fn failed(&self, error: &Error);

    /// Takes the short id of the run that all further events are about.
    fn about(&self, run: &str);
}
