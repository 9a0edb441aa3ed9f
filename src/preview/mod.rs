//! What a run would do and what it would mean: every step with the SQL that the phases execute, its locks and an
//! estimate; what the swap changes; what clients will notice.
//!
//! Invariant: a preview changes nothing. It reads the journal without creating or locking it, does not raise the epoch,
//! and undoes what it tries; a run in progress does not notice it.

mod changes;
mod estimate;
mod notices;
mod sample;
mod seen;
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

/// The placeholder for the id of a run that has not begun.
pub const NEW_RUN: &str = "<run>";

/// The preview of a new run, or of the rest of one that has begun.
pub struct Preview {
    /// The phase that the run continues with; `None` if it has nothing left to do.
    pub next: Option<Phase>,
    /// An orchestrator is executing the run at this moment.
    pub is_live: bool,
    /// The catalog's changes in the swap.
    pub changes: Vec<PreviewChange>,
    /// What clients will notice of the swap, and after it.
    pub notices: Vec<PreviewNotice>,
    /// The steps that are left, in the order of their execution.
    pub steps: Vec<PreviewStep>,
    /// The totals, for the last line.
    pub summary: PreviewSummary,
}

/// Previews a plan that the checks do not refuse.
///
/// # Errors
/// If the plan is not the one that its run began with, the server rejected a statement, or the connection was lost.
pub async fn preview(cx: &Context, forward: &Forward) -> Result<Preview, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("preview"), &[("lock_timeout", "5s")]).await?;
    let subject = Subject::find(cx, forward, &session).await?;
    let estimate = Estimate::make(&session, &subject).await?;
    let steps = steps::of(&subject, &estimate);
    let before_swap = subject.progress.swapped.is_none();
    let swaps = before_swap && forward.reaches(Phase::Swap);
    let archive = forward.plan.settings.archive.as_ref();
    let (mut changes, mut notices) = if swaps {
        (changes::of(&subject.prepared, archive), notices::of(&session, &subject, &estimate).await?)
    } else {
        (Vec::new(), Vec::new())
    };
    if subject.progress.prepared.is_none() {
        changes.extend(changes::in_place(&forward.plan));
        notices.extend(notices::in_place(&forward.plan));
    }
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
    let of_run: Vec<&PreviewStep> =
        steps.iter().filter(|step| Phase::FORWARD.contains(&step.phase)).collect();
    let has = |phase| of_run.iter().any(|step| step.phase == phase);
    let lanes = &subject.prepared.lanes;
    let partitions = lanes.iter().filter_map(|lane| lane.green.partition.as_ref());
    let swaps = has(Phase::Swap);
    let indexes_in_place = subject.forward.plan.in_place.iter().map(|table| table.indexes.len()).sum();
    PreviewSummary {
        run: subject.run.clone(),
        tables: lanes.len(),
        partitions: if has(Phase::Prepare) { partitions.map(|by| by.leaves.len()).sum() } else { 0 },
        indexes: if has(Phase::Index) { lanes.iter().map(|lane| lane.green.indexes.len()).sum() } else { 0 }
            + if has(Phase::Prepare) { indexes_in_place } else { 0 },
        seconds: of_run.iter().map(|step| step.seconds).sum(),
        bytes: of_run.iter().map(|step| step.bytes).sum(),
        wal_bytes: of_run.iter().map(|step| step.wal_bytes).sum(),
        stall_seconds: if swaps { estimate.stall() } else { 0.0 },
        stall_seconds_max: if swaps {
            subject.forward.settings.now().swap.max_write_stall.as_secs_f64()
        } else {
            0.0
        },
        basis: estimate.basis.clone(),
    }
}
