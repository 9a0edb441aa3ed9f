//! The exit codes, which scripts and pipelines go by. They are only ever added to.

use serde::{Serialize, Serializer};

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// An unexpected failure; a run that was under way can be resumed.
    Failed = 1,
    /// The command line, a setting or the plan is not valid.
    Usage = 2,
    /// Refused before anything was changed, or the plan changed since the run began.
    Refused = 3,
    /// Verification found a difference; nothing was swapped.
    Differences = 4,
    /// The swap did not fit into its budget; blue is live, and the run can be resumed.
    NotSwapped = 5,
    /// Rolled back.
    RolledBack = 6,
    /// Interrupted, or somebody was asked and declined; the run can be resumed.
    Interrupted = 7,
    /// Another orchestrator holds the run.
    Held = 8,
}

impl From<ExitCode> for u8 {
    fn from(code: ExitCode) -> Self {
        code as Self
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(u8::from(code))
    }
}

impl Serialize for ExitCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8((*self).into())
    }
}
