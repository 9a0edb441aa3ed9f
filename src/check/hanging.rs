//! What hangs on a table and is not carried over by this version: each thing by name.

use super::Finding;
use crate::hangs_on::{Blocker, BlockerKind};
use crate::pg::QName;

/// Each blocker as a refusal.
pub(super) fn findings(table: &QName, blockers: Vec<Blocker>) -> Vec<Finding> {
    let finding = |blocker: Blocker| match run_of(&blocker) {
        Some(run) => {
            let what = format!("run {run} of another plan, or one that was left behind, migrates it");
            let mend = format!("end that run first: projh-bluegreen rollback {run}");
            Finding::table("another run", table, what, mend)
        }
        None => {
            let what = format!("{}: {}", blocker.kind, blocker.object);
            Finding::table("what hangs on it", table, what, blocker.mend)
        }
    };
    blockers.into_iter().map(finding).collect()
}

/// Whether green cannot even be rehearsed while this is there.
pub(super) fn spoils_rehearsal(blocker: &Blocker) -> bool {
    use BlockerKind as Kind;
    matches!(
        blocker.kind,
        Kind::ExclusionConstraint | Kind::DeferrableKey | Kind::NotPlainTable | Kind::UnvalidatedNotNull
    )
}

/// Whether it says that a run of ours is at work on the table.
pub(super) fn is_of_a_run(blocker: &Blocker) -> bool {
    run_of(blocker).is_some()
}

/// The run to which a publication belongs, if it is one of ours.
fn run_of(blocker: &Blocker) -> Option<&str> {
    let name = blocker.object.strip_prefix("projh_bg_");
    name.filter(|_| blocker.kind == BlockerKind::Publication)
}
