//! The phases: the one list of them.

/// A phase. `Check` to `Settle` lead forward, in this order; `Rollback` and `Finish` are the two ways to end a run.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    clap::ValueEnum,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Phase {
    /// Check the plan against the database; changes nothing.
    #[value(skip)]
    Check,
    /// Create green's schema, green and the publication.
    Prepare,
    /// Copy every row that was there at a consistent point.
    Copy,
    /// Apply the stream until its lag is small.
    CatchUp,
    /// Build green's indexes.
    Index,
    /// Compare blue and green at one point in time.
    Verify,
    /// Exchange blue and green.
    Swap,
    /// Validate foreign keys, drop the slot and the publication.
    Settle,
    /// Drop what the run made, before the swap.
    #[value(skip)]
    Rollback,
    /// Drop blue, after the swap.
    #[value(skip)]
    Finish,
}

impl Phase {
    /// The phases that lead forward, in their order.
    pub const FORWARD: [Self; 8] = [
        Self::Check,
        Self::Prepare,
        Self::Copy,
        Self::CatchUp,
        Self::Index,
        Self::Verify,
        Self::Swap,
        Self::Settle,
    ];
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Prepare => "prepare",
            Self::Copy => "copy",
            Self::CatchUp => "catch up",
            Self::Index => "index",
            Self::Verify => "verify",
            Self::Swap => "swap",
            Self::Settle => "settle",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
        })
    }
}
