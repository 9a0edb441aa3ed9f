//! Check: the plan against the database, before anything is changed.

use crate::check;
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::finding::Finding;
use crate::journal;
use crate::pg::ConnectionRole;
use crate::plan::Plan;

/// Runs the checks and reports their notes; refusals are returned as the error.
///
/// # Errors
/// [`Error::Refused`] with the refusals, or the error that stopped the checks.
pub(crate) async fn run(cx: &Context, plan: &Plan) -> Result<(), Error> {
    if is_done(cx, plan).await? {
        let text = "a run of this plan is under way: `projh-bluegreen execute` resumes it. Its checks have passed, and are \
                    not made again: they would refuse what the run has made"
            .to_owned();
        cx.tell(&Event::Notice { text });
        cx.tell(&Event::Checked { notes: 0 });
        return Ok(());
    }
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

/// The checks before a run. Another process may begin the run meanwhile, and its objects would be refused: the run has
/// passed the checks in that case, and the journal reports who holds it.
///
/// # Errors
/// As [`run`].
pub(crate) async fn before_run(cx: &Context, plan: &Plan) -> Result<(), Error> {
    match run(cx, plan).await {
        Err(Error::Refused(_)) if is_done(cx, plan).await? => Ok(()),
        outcome => outcome,
    }
}

/// Whether the plan's run has made green, or begun to build indexes in place: it has passed the checks then, which would
/// now refuse what it has made.
///
/// # Errors
/// If the journal cannot be read, except for a missing right, which the checks report.
pub(crate) async fn is_done(cx: &Context, plan: &Plan) -> Result<bool, Error> {
    let session = cx.target.connect(ConnectionRole::of_command("check"), &[]).await?;
    match journal::latest(&session, &plan.name, false).await {
        Err(error) if error.is_forbidden() => Ok(false),
        run => Ok(run?.is_some_and(|run| {
            let has_made = run.progress.prepared.is_some() || !run.progress.in_place.is_empty();
            run.found.under_way && has_made
        })),
    }
}
