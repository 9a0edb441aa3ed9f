//! The exit codes, which scripts and pipelines rely on. Codes are added, never changed.

use serde::{Serialize, Serializer};

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// The command did what it was asked to.
    Done = 0,
    /// An unexpected failure; a run that was under way can be resumed.
    Failed = 1,
    /// The command line, a setting or the plan is not valid.
    Usage = 2,
    /// Refused before anything was changed, or the plan changed since the run began.
    Refused = 3,
    /// Verification found a difference: nothing was swapped, or in the soak there is no way back as long as it lasts.
    Differences = 4,
    /// The swap did not fit into its budget; blue is live, and the run can be resumed.
    NotSwapped = 5,
    /// The run was rolled back; blue is as it was.
    RolledBack = 6,
    /// Interrupted, or the user declined a confirmation; the run can be resumed.
    Interrupted = 7,
    /// Another orchestrator holds the run's lock.
    Held = 8,
}

impl ExitCode {
    /// The code of this number; `Failed` if there is none.
    #[must_use]
    pub fn of(number: u8) -> Self {
        const ALL: [ExitCode; 9] = [
            ExitCode::Done,
            ExitCode::Failed,
            ExitCode::Usage,
            ExitCode::Refused,
            ExitCode::Differences,
            ExitCode::NotSwapped,
            ExitCode::RolledBack,
            ExitCode::Interrupted,
            ExitCode::Held,
        ];
        ALL.into_iter().find(|code| u8::from(*code) == number).unwrap_or(Self::Failed)
    }
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
