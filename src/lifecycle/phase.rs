//! The list of phases.

/// A phase. `Check` to `Soak` lead forward, in this order; `Rollback` or `Finish` ends a run.
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
    /// Create the run's schemas, green and the publication.
    Prepare,
    /// Copy every row that existed at a consistent point.
    Copy,
    /// Apply the stream until its lag is small.
    CatchUp,
    /// Build green's indexes.
    Index,
    /// Compare blue and green at one point in time.
    Verify,
    /// Exchange blue and green.
    Swap,
    /// Validate foreign keys; without a way back, drop the slot and the publication.
    Settle,
    /// Apply green's changes to blue, for as long as the plan's `soak` lasts.
    Soak,
    /// Before the swap: drop what the run created. During the soak: exchange blue and green again.
    #[value(skip)]
    Rollback,
    /// After the swap: drop blue.
    #[value(skip)]
    Finish,
}

impl Phase {
    /// The phases that lead forward, in the order in which they are executed.
    pub const FORWARD: [Self; 9] = [
        Self::Check,
        Self::Prepare,
        Self::Copy,
        Self::CatchUp,
        Self::Index,
        Self::Verify,
        Self::Swap,
        Self::Settle,
        Self::Soak,
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
            Self::Soak => "soak",
            Self::Rollback => "rollback",
            Self::Finish => "finish",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_variants_is_that_of_the_journey() {
        assert!(Phase::FORWARD.is_sorted());
        assert!(Phase::FORWARD.iter().all(|phase| *phase < Phase::Rollback && *phase < Phase::Finish));
    }
}
