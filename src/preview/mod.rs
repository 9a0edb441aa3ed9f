//! What a run would do, and what it would mean: every step with the SQL that the phases execute, its
//! locks and an estimate; what the swap changes; what clients will notice.
//!
//! Invariant: a preview changes nothing. It reads the journal without making or locking it, raises no
//! epoch, and undoes what it tries; a run that is under way does not notice it.

mod changes;
mod estimate;
mod notices;
mod sample;
mod steps;
mod subject;
mod trial;

use crate::context::{Context, Forward};
use crate::error::Error;
use crate::event::{PreviewChange, PreviewNotice, PreviewStep, PreviewSummary};
use crate::lifecycle::Phase;
use crate::pg::ConnectionRole;

use estimate::Estimate;
use subject::Subject;

/// What stands for the id of a run that has not begun.
pub const NEW_RUN: &str = "<run>";

/// A preview.
pub struct Preview {
    /// What is left to do of the run; every phase of a new one.
    pub next: Option<Phase>,
    /// The run that is under way is being executed at this moment.
    pub is_live: bool,
    /// What the swap changes.
    pub changes: Vec<PreviewChange>,
    /// What clients will notice.
    pub notices: Vec<PreviewNotice>,
    /// The steps, in the order of their execution.
    pub steps: Vec<PreviewStep>,
    /// All of it in one line.
    pub summary: PreviewSummary,
}

/// Makes the preview of a plan that the checks do not refuse.
///
/// # Errors
/// If the plan is not the one that its run began with, or the server said no.
pub async fn preview(cx: &Context, forward: &Forward) -> Result<Preview, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("preview"), &[("lock_timeout", "5s")]).await?;
    let subject = Subject::find(cx, forward, &session).await?;
    let estimate = Estimate::make(&session, &subject).await?;
    let steps = steps::of(&subject, &estimate);
    let before_swap = subject.progress.swapped.is_none();
    let swaps = before_swap && forward.reaches(Phase::Swap);
    let (changes, notices) = if swaps {
        (changes::of(&subject.prepared), notices::of(&session, &subject, &estimate).await?)
    } else {
        (Vec::new(), Vec::new())
    };
    let summary = summary(&subject, &estimate, &steps);
    Ok(Preview {
        next: subject.progress.next_phase(),
        is_live: subject.is_live,
        changes,
        notices,
        steps,
        summary,
    })
}

fn summary(subject: &Subject<'_>, estimate: &Estimate, steps: &[PreviewStep]) -> PreviewSummary {
    let of_run: Vec<&PreviewStep> = steps.iter().filter(|step| step.phase <= Phase::Settle).collect();
    let has = |phase| of_run.iter().any(|step| step.phase == phase);
    let lanes = &subject.prepared.lanes;
    let partitions = lanes.iter().filter_map(|lane| lane.green.partition.as_ref());
    let swaps = has(Phase::Swap);
    PreviewSummary {
        run: subject.run.clone(),
        tables: lanes.len(),
        partitions: if has(Phase::Prepare) { partitions.map(|by| by.leaves.len()).sum() } else { 0 },
        indexes: if has(Phase::Index) { lanes.iter().map(|lane| lane.green.indexes.len()).sum() } else { 0 },
        seconds: of_run.iter().map(|step| step.seconds).sum(),
        bytes: of_run.iter().map(|step| step.bytes).sum(),
        wal_bytes: of_run.iter().map(|step| step.wal_bytes).sum(),
        stall_seconds: if swaps { estimate.stall() } else { 0.0 },
        stall_seconds_max: if swaps {
            subject.forward.plan.settings.swap.max_write_stall.as_secs_f64()
        } else {
            0.0
        },
        basis: estimate.basis.clone(),
    }
}
