//! What the engine tells while it works. Reporters turn it into lines for a person or for a machine.
//!
//! Invariant: no event holds a row's value. Events are a public interface under `--json`: their
//! names and fields are only ever added to.

mod preview;

use serde::Serialize;

use crate::check::Finding;
use crate::error::Error;
use crate::lifecycle::{Phase, RoundEnd, SwapTimes, Verification};
use crate::pg::Lsn;

pub use preview::{
    Blocks, PreviewChange, PreviewLock, PreviewNotice, PreviewStatement, PreviewStep, PreviewSummary, Stage,
};

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
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
    },
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
        /// Rows per second since the copy began in this session.
        rows_per_s: f64,
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
    /// How far green is behind.
    Lag {
        /// WAL between the end of the log and what was applied.
        lag_bytes: u64,
        /// Changes applied in this session.
        applied: u64,
    },
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
    /// The command ends.
    End {
        /// The exit code.
        code: u8,
        /// The state the tables are in.
        state: String,
        /// What to type next.
        next: Option<String>,
    },
}

/// Where events go.
pub trait Reporter: Send + Sync {
    /// Takes one event. Called from many tasks; must be quick.
    fn tell(&self, event: &Event);

    /// Takes the error that a command ends with.
    fn failed(&self, error: &Error);
}
