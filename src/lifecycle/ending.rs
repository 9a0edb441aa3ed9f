//! How a run ends.

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Blue is live; everything that the run created was dropped.
    RolledBack,
    /// Green is live; blue was dropped or archived.
    Finished,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RolledBack => "rolled back",
            Self::Finished => "finished",
        })
    }
}
