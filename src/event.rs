//! What the engine tells while it works. Reporters turn it into lines for a person or for a machine.
//!
//! Invariant: no event holds a row's value. Events are a public interface under `--json`: their
//! names and fields are only ever added to.

pub(crate) mod line;
mod preview;
pub mod schema;

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::{Error, ExitCode};
use crate::finding::Finding;
use crate::lane::compare::Difference;
use crate::lane::find::RowFound;
use crate::lifecycle::{Phase, RoundEnd, SwapTimes, Verification};
use crate::meter::Reached;
use crate::pg::Lsn;
use crate::plan::Problem;
use crate::status::Status;

pub use preview::{
    Blocks, PreviewChange, PreviewLock, PreviewNotice, PreviewStatement, PreviewStep, PreviewSummary,
};

/// One thing that happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A run begins, or goes on.
    Run {
        /// Its short id.
        run: String,
        /// The plan's name.
        plan: String,
        /// It had begun before.
        resumed: bool,
        /// The phases that are done already.
        done: Vec<Phase>,
        /// The phase after which this command stops; none if it goes to the end.
        until: Option<Phase>,
    },
    /// Nothing stands in the way.
    Checked {
        /// Findings that are notes.
        notes: usize,
    },
    /// What is wrong with the plan's text.
    Problem(Problem),
    /// A check had something to say.
    Finding(Finding),
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// A phase is done.
    PhaseDone {
        /// Which.
        phase: Phase,
        /// How long it took in this session.
        seconds: f64,
    },
    /// Copying began at a consistent point.
    Round {
        /// The round's number, from 1.
        round: u32,
        /// The consistent point.
        lsn: Lsn,
        /// Chunks that are missing.
        chunks: usize,
    },
    /// A round ended.
    RoundEnded {
        /// The round's number.
        round: u32,
        /// Why.
        why: RoundEnd,
    },
    /// How far the copy is.
    CopyProgress {
        /// The table.
        table: String,
        /// Rows of green so far.
        rows: u64,
        /// Rows of blue as PostgreSQL estimates them.
        rows_estimated: u64,
        /// Rows per second, lately.
        rows_per_s: f64,
        /// The part of blue that has been read.
        #[serde(flatten)]
        reached: Reached,
    },
    /// One statement among many of a phase is done.
    Step {
        /// The phase.
        phase: Phase,
        /// What was done.
        what: String,
        /// How many are done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// How far green is behind. Told about once a second as long as there is a slot.
    Lag {
        /// WAL between the end of the log and what was applied.
        lag_bytes: u64,
        /// Changes applied in this session.
        applied: u64,
        /// Changes applied per second, lately.
        applied_per_s: f64,
        /// WAL that the slot keeps the server from reusing.
        retained_bytes: u64,
        /// What the server says of that: `reserved`, `extended`, `unreserved` or `lost`.
        wal_status: String,
    },
    /// How far the verification is.
    VerifyProgress {
        /// The table.
        table: String,
        /// Rows compared, of blue and of green together.
        rows: u64,
        /// Rows per second, lately.
        rows_per_s: f64,
        /// The part of blue and green that has been read.
        #[serde(flatten)]
        reached: Reached,
    },
    /// After every row was compared: the keys that changed meanwhile were compared too.
    DeltaVerified {
        /// The step's number, from 1.
        step: u32,
        /// How many keys.
        keys: u64,
    },
    /// A row that is not the same in blue and green.
    Difference(Difference),
    /// Blue and green were equal.
    Verified {
        /// What was covered.
        #[serde(flatten)]
        verification: Verification,
    },
    /// An attempt to swap did not go through; blue is live, and clients went on.
    SwapPostponed {
        /// The attempt's number, from 1.
        attempt: u32,
        /// Why.
        why: String,
        /// Sessions in the way: pid, user, age of the transaction, state.
        blockers: Vec<String>,
    },
    /// The tables were exchanged.
    Swapped {
        /// The attempt's number.
        attempt: u32,
        /// Keys compared under the lock.
        compared: u64,
        /// The stall's parts.
        #[serde(flatten)]
        times: SwapTimes,
        /// The commit of the exchange.
        commit_ms: f64,
        /// From the first lock to the commit: what a client can have noticed.
        stall_ms: f64,
    },
    /// Copy and apply wait, or go on.
    Throttled {
        /// Why; none when going on.
        why: Option<String>,
    },
    /// The session with the server was lost or refused in passing; it is tried again.
    Retry {
        /// What happened.
        why: String,
        /// When the next try comes.
        seconds: f64,
    },
    /// The run waits for something that others have to end, or that has its time.
    Waiting {
        /// For what.
        cause: WaitCause,
        /// Who is in the way and what ends the wait.
        text: String,
    },
    /// What a phase had done is void, and it begins again.
    BegunAgain {
        /// The phase.
        phase: Phase,
        /// Why.
        why: String,
    },
    /// A session that was in the way of the swap was ended, as the plan's `terminate_blockers` allows.
    BackendTerminated {
        /// Process, user, `application_name`, state and age of its transaction.
        backend: String,
    },
    /// Anything else a person should know.
    Notice {
        /// The text.
        text: String,
    },
    /// A dry run: a step that the run would take.
    PreviewStep(PreviewStep),
    /// A dry run: something that the swap would change in the catalog.
    PreviewChange(PreviewChange),
    /// A dry run: something that clients will notice.
    PreviewNotice(PreviewNotice),
    /// A dry run in one line.
    PreviewSummary(PreviewSummary),
    /// A row that a key digest stands for.
    RowFound(RowFound),
    /// Where a run stands.
    Status(Box<Status>),
    /// What a command ends with when it does not end well. Findings, problems and differences come before it.
    Error {
        /// What went wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// The exit code.
        #[schemars(with = "u8")]
        code: ExitCode,
    },
    /// The command ends.
    End {
        /// The exit code.
        #[schemars(with = "u8")]
        code: ExitCode,
        /// The state the tables are in.
        state: String,
        /// What to type next.
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
    /// The lag of the stream.
    Lag,
    /// The plan's window for the swap.
    Window,
    /// A synchronous standby, which has to confirm a commit.
    Standby,
    /// A statement that rewrites a table.
    Rewrite,
    /// Sessions that may have cached a row type of blue.
    RowType,
}

/// Where events go.
pub trait Reporter: Send + Sync {
    /// Takes one event. Called from many tasks; must be quick.
    fn tell(&self, event: &Event);

    /// Takes the error that a command ends with.
    fn failed(&self, error: &Error);
}
