//! What hangs on a table and is not carried over by this version, as far as it hinders the other checks.

use crate::hangs_on::{Blocker, BlockerKind};

/// Whether green cannot even be rehearsed while this is there.
pub(super) fn spoils_rehearsal(blocker: &Blocker) -> bool {
    use BlockerKind as Kind;
    matches!(
        blocker.kind,
        Kind::ExclusionConstraint | Kind::DeferrableKey | Kind::NotPlainTable | Kind::UnvalidatedNotNull
    )
}
