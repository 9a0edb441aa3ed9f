//! Check: the plan against the database, before anything is changed.

use crate::check;
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::finding::Finding;
use crate::journal;
use crate::pg::ConnectionRole;
use crate::plan::Plan;

/// Tells the notes; what stands in the way is the error.
///
/// # Errors
/// [`Error::Refused`] with what stands in the way, or whatever stopped the checks.
pub(crate) async fn run(cx: &Context, plan: &Plan) -> Result<(), Error> {
    let findings = check::run(cx, plan).await?;
    let (refusals, notes): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(Finding::is_refusal);
    let count = notes.len();
    for note in notes {
        cx.tell(&Event::Finding(note));
    }
    if !refusals.is_empty() {
        return Err(Error::Refused(refusals));
    }
    cx.tell(&Event::Checked { notes: count });
    Ok(())
}

/// The same before a run. Somebody else may begin the run meanwhile, and what it makes be in the way: it has passed the
/// checks then, and who holds it is told by the journal.
///
/// # Errors
/// As [`run`].
pub(crate) async fn before_run(cx: &Context, plan: &Plan) -> Result<(), Error> {
    match run(cx, plan).await {
        Err(Error::Refused(_)) if is_done(cx, plan).await? => Ok(()),
        outcome => outcome,
    }
}

/// A run that has made green has passed the checks; its publication would now be in their way.
///
/// # Errors
/// If the journal cannot be read for another reason than a missing right, of which the checks tell.
pub(crate) async fn is_done(cx: &Context, plan: &Plan) -> Result<bool, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("check"), &[]).await?;
    let runs = match journal::list(&session).await {
        Err(error) if error.is_forbidden() => return Ok(false),
        runs => runs?,
    };
    let ours = runs.iter().find(|run| run.found.plan_name == plan.name && run.found.under_way);
    Ok(ours.is_some_and(|run| run.progress.prepared.is_some()))
}
