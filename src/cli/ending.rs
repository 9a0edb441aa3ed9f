//! After every end, good or bad: the state that the tables are in, and the next command.
//!
//! Invariant: the state is what the journal says once no transaction of ours is on its way any more; a
//! COMMIT whose answer nobody waited for is not guessed about.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shell;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::journal::{self, JournalError, Summary};
use crate::lifecycle::{Progress, Standing};
use crate::pg::ConnectionRole;
use crate::pg::connect::Target;
use crate::pg::standbys::{self, Standbys};
use crate::plan;

/// How long the server is asked for the state.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state that the tables of a run are in, and what to type next.
pub(super) fn state(progress: &Progress, run: &str, plan: &str) -> (String, Option<String>) {
    let standing = Standing::of(progress, run, plan);
    (standing.state, standing.next)
}

/// The plan's file, as far as it is known: where it lies is not in the journal.
pub(super) fn file_of(named: Option<&str>, plan_name: &str) -> String {
    match named.filter(|named| !plan::is_name(named)) {
        Some(file) => file.to_owned(),
        None => format!("<the file of plan {plan_name}>"),
    }
}

/// Tells the end of a command on a run that went well.
pub(super) async fn tell(shell: &Shell<'_>, target: &Target, run_or_plan: &str, plan: &str) {
    let (state, next) = match read(target, run_or_plan, true).await {
        Ok(Some(run)) => state(&run.progress, &run.found.run, plan),
        Ok(None) => ("no run has been made of this plan; nothing was changed".to_owned(), None),
        Err(Unknown) => unknown(&format!("projh-bluegreen execute {plan}")),
    };
    shell.tell(&Event::End { code: ExitCode::Done, state, next });
}

/// Tells the end of a command that did not go well.
pub(super) async fn tell_failure(shell: &Shell<'_>, error: &Error) {
    let (state, next) = after(shell, error).await;
    shell.tell(&Event::End { code: error.exit_code(), state, next });
}

async fn after(shell: &Shell<'_>, error: &Error) -> (String, Option<String>) {
    let untouched = "nothing was changed".to_owned();
    let Some(named) = shell.cli.command.plan_or_run() else {
        return (untouched, None);
    };
    if let Error::Plan(_) = error {
        return (untouched, Some(format!("correct the plan, then projh-bluegreen check {named}")));
    }
    let Ok((run_or_plan, target)) = shell.run_and_target(&named) else {
        return (untouched, None);
    };
    if shell.has_begun.load(Ordering::Acquire)
        && let Some(standbys) = waited_for(&target).await
    {
        let state = format!(
            "a commit of this program waits for a synchronous standby ({standbys}); what it did is visible once one answers"
        );
        return (state, Some(format!("{}; then projh-bluegreen status", Standbys::HINT)));
    }
    let ours = !matches!(error, Error::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }));
    match read(&target, &run_or_plan, ours).await {
        Ok(Some(run)) if run.found.under_way || shell.cli.command.is_about_a_run() => {
            let plan = file_of(Some(&named), &run.found.plan_name);
            let (state, next) = state(&run.progress, &run.found.run, &plan);
            (state, after_error(error, &run, &plan).or(next))
        }
        Ok(_) if matches!(error, Error::Refused(_)) => {
            (untouched, Some(format!("correct what stands in the way, then projh-bluegreen check {named}")))
        }
        Ok(None) if shell.cli.command.is_about_a_run() => (
            format!("there is no run of that plan or id; {untouched}"),
            Some("projh-bluegreen status".to_owned()),
        ),
        Ok(_) => (format!("there is no run under way; {untouched}"), Some(shell.cli.command.again(&named))),
        Err(Unknown) if !shell.has_begun.load(Ordering::Acquire) && !shell.cli.command.is_about_a_run() => {
            (untouched, Some(shell.cli.command.again(&named)))
        }
        Err(Unknown) => unknown(&shell.cli.command.again(&named)),
    }
}

/// Where an error asks for something else than the state does.
fn after_error(error: &Error, run: &Summary, plan: &str) -> Option<String> {
    let rollback = format!("projh-bluegreen rollback {}", run.found.run);
    match error {
        Error::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }) => {
            Some(format!("projh-bluegreen status {} --watch", run.found.run))
        }
        Error::Differences(_) if run.progress.swapped.is_none() => Some(rollback),
        // The stream would come to the same change again.
        Error::Feed(_) if error.is_final() => Some(rollback),
        Error::Unsettled(_) => Some(format!(
            "projh-bluegreen execute {plan} once the cause is gone, or projh-bluegreen finish {} --as-is",
            run.found.run
        )),
        // Of a run that has passed the checks.
        Error::Refused(_) if run.progress.prepared.is_some() && run.progress.swapped.is_none() => {
            Some(rollback)
        }
        Error::Journal(JournalError::PlanChanged { .. }) => {
            let finish = format!("projh-bluegreen finish {}", run.found.run);
            let end = if run.progress.swapped.is_some() { finish } else { rollback };
            Some(format!("projh-bluegreen execute {plan} with the plan as it was, or {end}"))
        }
        _ => None,
    }
}

fn unknown(again: &str) -> (String, Option<String>) {
    let state = "the server cannot be asked for the state of the tables: the journal has it, and the run can be resumed";
    (state.to_owned(), Some(format!("{again}, as soon as the server can be reached")))
}

/// The server did not answer, whatever the reason.
struct Unknown;

/// The latest run; of ours, once nothing is on its way any more. A COMMIT may be on its way for as long as a
/// synchronous standby is gone: then what is visible by now is told, and that there may be more.
async fn read(target: &Target, run_or_plan: &str, ours: bool) -> Result<Option<Summary>, Unknown> {
    let asked = async {
        // Its own lock on the run's row is a commit, too.
        let settings = &[("lock_timeout", "5s"), ("synchronous_commit", "local")];
        let session =
            target.connect(ConnectionRole::of_command("status"), settings).await.map_err(|_| Unknown)?;
        let found = match journal::latest(&session, run_or_plan, ours).await {
            Err(error) if ours && error.is_lock_timeout() => {
                journal::latest(&session, run_or_plan, false).await
            }
            found => found,
        };
        found.map_err(|_| Unknown)
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Unknown))
}

/// The standbys that a COMMIT of this program waits for.
async fn waited_for(target: &Target) -> Option<Standbys> {
    let asked = async {
        let session = target.connect(ConnectionRole::of_command("status"), &[]).await.ok()?;
        standbys::waited_for(&session).await.ok()?
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}
