//! After every end, good or bad: the state that the tables are in, and the next command.
//!
//! Invariant: the state is what the journal says once no transaction of ours is on its way any more; a
//! COMMIT whose answer nobody waited for is not guessed about.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shell;
use crate::error::Error;
use crate::event::Event;
use crate::journal::{self, JournalError, Summary};
use crate::lifecycle::{Ending, Phase, Progress};
use crate::pg::connect::Target;
use crate::plan;

/// How long the server is asked for the state.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state that the tables of a run are in, and what to type next.
pub(super) fn state(progress: &Progress, run: &str, plan: &str) -> (String, Option<String>) {
    match (progress.ended, progress.next_phase()) {
        (Some(Ending::RolledBack), _) => {
            let state = "rolled back: blue is live and as it was; nothing of the run is left but its journal";
            (state.to_owned(), Some(format!("projh-bluegreen execute {plan}")))
        }
        (Some(Ending::Finished), _) => (
            "finished: green is live, blue is gone; nothing of the run is left but its journal".to_owned(),
            None,
        ),
        (None, _) if progress.rolling_back => {
            let state = "blue is live, and clients notice nothing; the run is being rolled back, and can only be that";
            (state.to_owned(), Some(format!("projh-bluegreen rollback {run}")))
        }
        (None, None) => {
            let state = "swapped: green is live; blue is kept, and is not written any more";
            (state.to_owned(), Some(format!("projh-bluegreen finish {run}")))
        }
        (None, Some(Phase::Settle)) => {
            let state = "swapped: green is live; some work after the swap is left";
            (state.to_owned(), Some(format!("projh-bluegreen execute {plan}")))
        }
        (None, Some(phase)) => {
            let mut state =
                format!("blue is live, and clients notice nothing; the run goes on with: {phase}");
            if progress.slot.is_some() {
                state += "; until it does or is rolled back, its slot keeps the server from reusing WAL";
            }
            (state, Some(format!("projh-bluegreen execute {plan}, or projh-bluegreen rollback {run}")))
        }
    }
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
        Err(_) => unknown(&format!("projh-bluegreen execute {plan}")),
    };
    shell.tell(&Event::End { code: 0, state, next });
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
        return (untouched, Some(format!("mend the plan, then projh-bluegreen check {named}")));
    }
    let Ok((run_or_plan, target)) = shell.run_and_target(&named) else {
        return (untouched, None);
    };
    let ours = !matches!(error, Error::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }));
    match read(&target, &run_or_plan, ours).await {
        Ok(Some(run)) if run.found.under_way || shell.cli.command.is_about_a_run() => {
            let plan = file_of(Some(&named), &run.found.plan_name);
            let (state, next) = state(&run.progress, &run.found.run, &plan);
            (state, after_error(error, &run, &plan).or(next))
        }
        Ok(_) if matches!(error, Error::Refused(_)) => {
            (untouched, Some(format!("mend what stands in the way, then projh-bluegreen check {named}")))
        }
        Ok(None) if shell.cli.command.is_about_a_run() => (
            format!("there is no run of that plan or id; {untouched}"),
            Some("projh-bluegreen status".to_owned()),
        ),
        Ok(_) => (format!("there is no run under way; {untouched}"), Some(shell.cli.command.again(&named))),
        Err(_) if !shell.has_begun.load(Ordering::Acquire) && !shell.cli.command.is_about_a_run() => {
            (untouched, Some(shell.cli.command.again(&named)))
        }
        Err(_) => unknown(&shell.cli.command.again(&named)),
    }
}

/// Where an error asks for something else than the state does.
fn after_error(error: &Error, run: &Summary, plan: &str) -> Option<String> {
    let rollback = format!("projh-bluegreen rollback {}", run.found.run);
    match error {
        Error::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }) => {
            Some(format!("projh-bluegreen status {} --watch", run.found.run))
        }
        Error::Differences(_) | Error::Slot(_) if run.progress.swapped.is_none() => Some(rollback),
        // Of a run that has passed the checks.
        Error::Refused(_) if run.progress.prepared.is_some() => Some(rollback),
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

/// The latest run; of ours, once nothing is on its way any more.
async fn read(target: &Target, run_or_plan: &str, ours: bool) -> Result<Option<Summary>, Error> {
    let asked = async {
        let session = target.connect("projh-bluegreen status", &[("lock_timeout", "10s")]).await?;
        Ok(journal::latest(&session, run_or_plan, ours).await?)
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::Interrupted),
    }
}
