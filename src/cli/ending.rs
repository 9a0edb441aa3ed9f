//! The last lines of every command, whether it succeeds or fails: the state of the tables, and the next command.
//!
//! Invariant: the state is read from the journal once no transaction of ours is in flight any more; the outcome of a
//! COMMIT whose answer was lost is never guessed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Shell;
use super::command::Command;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::journal::{self, JournalError, Summary, requests};
use crate::lane::feed::FeedError;
use crate::lifecycle::{Lost, Standing, shell_word};
use crate::lost;
use crate::pg::ConnectionRole;
use crate::pg::connect::Target;
use crate::pg::standbys::{self, Standbys};
use crate::plan;

/// How long to try to read the state from the server.
const PATIENCE: Duration = Duration::from_secs(15);

/// The state of a run's tables, and the command to type next.
fn state(now: &Now, plan: &str) -> (String, Option<String>) {
    let Summary { found, progress, .. } = &now.run;
    let standing = Standing::known(progress, &found.run, plan, &now.lost);
    (standing.state, standing.next)
}

/// The plan's file as the command named it, or a placeholder: the journal does not hold its path.
pub(super) fn file_of(named: Option<&str>, plan_name: &str) -> String {
    match named.filter(|named| !plan::is_name(named)) {
        Some(file) => shell_word(file).into_owned(),
        None => format!("<the file of plan {plan_name}>"),
    }
}

/// Reports the end of a command on a run that succeeded, and returns the exit code: whoever executes a plan does not take a
/// swap that cannot be undone for one that can.
pub(super) async fn tell(
    shell: &Shell<'_>,
    target: &Target,
    run_or_plan: &str,
    named: Option<&str>,
    mut code: ExitCode,
) -> ExitCode {
    let (state, next) = match read(target, run_or_plan, true).await {
        Ok(Some(now)) => {
            let run = &now.run;
            let executes = matches!(shell.cli.command, Command::Execute { .. });
            if executes && code == ExitCode::Done && run.progress.broken.is_some() {
                code = ExitCode::Failed;
            }
            let (state, next) = state(&now, &file_of(named, &run.found.plan_name));
            // Who has rolled it back is about to end.
            let next = if code == ExitCode::RolledBack { next } else { now.next(next) };
            (state, next.filter(|_| run.found.under_way))
        }
        Ok(None) => ("this plan has no run; nothing was changed".to_owned(), None),
        Err(Unknown) => unknown(&format!("projh-bluegreen status {run_or_plan}")),
    };
    shell.tell(&Event::End { code, state, next });
    code
}

/// Reports the end of a command that failed.
pub(super) async fn tell_failure(shell: &Shell<'_>, error: &Error) {
    let (state, next) = after(shell, error).await;
    shell.tell(&Event::End { code: error.exit_code(), state, next });
}

async fn after(shell: &Shell<'_>, error: &Error) -> (String, Option<String>) {
    let untouched = "nothing was changed".to_owned();
    let Some(named) = shell.cli.command.plan_or_run() else {
        return (untouched, None);
    };
    if let Error::Journal(JournalError::Newer { .. }) = error {
        let state =
            format!("{untouched}; how the tables stand is known to the version that made the journal");
        return (state, None);
    }
    if let Error::Plan(_) = error {
        return (untouched, Some(format!("correct the plan, then projh-bluegreen check {named}")));
    }
    if let Command::Partitions { .. } | Command::Phi(_) = shell.cli.command {
        let is_untouched = matches!(error, Error::Refused(_) | Error::Usage(_) | Error::Declined(_));
        let partly = "what was reported is done, and nothing else was changed".to_owned();
        return (if is_untouched { untouched } else { partly }, Some(shell.cli.command.again(&named)));
    }
    let Ok((run_or_plan, target)) = shell.run_and_target(&named) else {
        return (untouched, None);
    };
    if shell.has_begun.load(Ordering::Acquire)
        && let Some(standbys) = waited_for(&target).await
    {
        let state = format!(
            "a commit of this program waits for a synchronous standby ({standbys}); it becomes visible once one confirms it"
        );
        return (state, Some(format!("{}; then projh-bluegreen status", Standbys::HINT)));
    }
    let ours = !is_about_another_process(error);
    match read(&target, &run_or_plan, ours).await {
        Ok(Some(now)) if now.run.found.under_way || shell.cli.command.is_about_a_run() => {
            let run = &now.run;
            shell.reporter.about(&run.found.run);
            let plan = file_of(Some(&named), &run.found.plan_name);
            let (state, next) = state(&now, &plan);
            let next = if shell.cli.command.leaves_the_run(error) { now.next(next) } else { next };
            let called_for = after_error(error, run, &plan);
            let called_for = called_for.filter(|_| now.lost.is_empty() || is_about_another_process(error));
            (state, called_for.or(next))
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

/// Whether another process executes the run.
fn is_about_another_process(error: &Error) -> bool {
    matches!(
        error,
        Error::Journal(JournalError::Held { .. } | JournalError::Fenced { .. }) | Error::Unanswered { .. }
    )
}

/// The command that an error calls for, if it is another one than the state does.
fn after_error(error: &Error, run: &Summary, plan: &str) -> Option<String> {
    let rollback = Standing::rollback(&run.progress, &run.found.run);
    match error {
        _ if is_about_another_process(error) => Some(watch(&run.found.run)),
        Error::Differences(differences) if !differences.forgotten.is_empty() => None,
        Error::Differences(_) if run.progress.swapped.is_none() => Some(rollback),
        Error::Feed(FeedError::Written { .. }) if run.progress.swapped.is_none() => Some(rollback),
        // A resumed stream would fail at the same change.
        Error::Feed(_) if error.is_final() => Some(rollback),
        Error::Unsettled(_) => Some(format!(
            "projh-bluegreen execute {plan} once the cause is removed, or projh-bluegreen finish {} --force",
            run.found.run
        )),
        // Refused after the checks had passed once.
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
    let state = "the state of the tables could not be read from the server: the journal holds it, and the run can be resumed";
    (state.to_owned(), Some(format!("{again}, once the server can be reached")))
}

/// The state could not be read, for whatever reason.
struct Unknown;

/// A run as it is now.
struct Now {
    run: Summary,
    /// Whether another process executes it.
    is_held: bool,
    is_paused: bool,
    /// The live tables that are gone.
    lost: Vec<Lost>,
}

impl Now {
    /// The command to type next, if `next` follows from the state of the tables alone.
    fn next(&self, next: Option<String>) -> Option<String> {
        let run = &self.run.found.run;
        let resume = format!("projh-bluegreen resume {run}");
        match (self.is_held, self.is_paused) {
            (false, false) => next,
            (true, false) => Some(watch(run)),
            (true, true) => Some(resume),
            (false, true) => {
                Some(next.map_or_else(|| resume.clone(), |next| format!("{resume}; then {next}")))
            }
        }
    }
}

fn watch(run: &str) -> String {
    format!("projh-bluegreen status {run} --watch")
}

/// Reads the latest run; if it is `ours`, once none of its transactions is in flight. A COMMIT may be in flight for as
/// long as a synchronous standby is missing: then what is visible by now is read.
async fn read(target: &Target, run_or_plan: &str, ours: bool) -> Result<Option<Now>, Unknown> {
    let asked = async {
        // The lock on the run's row is committed, too, also in a read-only database, and must not wait for a standby.
        let settings = &[
            ("lock_timeout", "5s"),
            ("synchronous_commit", "local"),
            ("default_transaction_read_only", "off"),
        ];
        let session =
            target.connect(ConnectionRole::of_command("status"), settings).await.map_err(|_| Unknown)?;
        let found = match journal::latest(&session, run_or_plan, ours).await {
            Err(error) if ours && error.is_lock_timeout() => {
                journal::latest(&session, run_or_plan, false).await
            }
            found => found,
        };
        let Some(run) = found.map_err(|_| Unknown)? else { return Ok(None) };
        let holder = journal::holder(&session, &run.found.plan_name).await.map_err(|_| Unknown)?;
        // The session of this very process may not have ended yet.
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let is_held = holder.is_some() && run.progress.orchestrator != Some((host, std::process::id()));
        let paused = requests::paused(&session, &run.found.run).await.map_err(|_| Unknown)?;
        let live = lost::find(&session, &run.progress).await.map_err(|_| Unknown)?;
        Ok(Some(Now { run, is_held, is_paused: paused.is_some(), lost: live.lost }))
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
