//! `verify` and `swap` on a run that nobody holds: the command takes it over.

use super::Shell;
use crate::context::{Forward, Goal};
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::journal::requests::Ask;
use crate::journal::{self, JournalError, Summary};
use crate::lifecycle::Progress;
use crate::pg::connect::Session;
use crate::plan::{self, Plan};

/// Compares all rows of a run once more, or carries on with its swap.
pub(super) async fn run(
    shell: &Shell<'_>,
    session: &Session,
    run: &Summary,
    plan_or_run: &str,
    ask: &Ask,
) -> Result<ExitCode, Error> {
    let plan = shell.plan_of(plan_or_run, session).await?;
    if let Some(why) = run.progress.only_rollback() {
        return Err(JournalError::OnlyRollback { run: run.found.run.clone(), why }.into());
    }
    let refused = match ask {
        Ask::Swap => not_to_be_swapped(session, run, &plan, plan_or_run).await?,
        _ => nothing_to_compare(&run.progress).map(str::to_owned),
    };
    if let Some(what) = refused {
        return Err(Error::Usage(format!("nobody executes run {}, and {what}", run.found.run)));
    }
    shell.hooked.call(&plan.hooks);
    let (_, cx) = shell.run_and_context(plan_or_run)?;
    let (run, forward) = (run.found.run.clone(), Forward::of(plan));
    let goal = match ask {
        Ask::Swap => Goal::Swapped { run, forward },
        _ => Goal::Compared { run, forward },
    };
    engine::reach(&cx, &goal).await
}

/// Why the rows of a run's tables cannot be compared.
pub(super) fn nothing_to_compare(progress: &Progress) -> Option<&'static str> {
    if progress.is_in_place() {
        return Some("the run copies no table: there is nothing to compare, and nothing to swap");
    }
    if progress.swapped.is_some() {
        let is_closed = !progress.is_reversible();
        return is_closed.then_some(
            "the run has been swapped, and blue does not follow green: there is no way back, or no longer",
        );
    }
    (!progress.indexed).then_some("green is not complete yet: rows are compared once its indexes are built")
}

/// Why a run cannot be swapped by the command alone.
async fn not_to_be_swapped(
    session: &Session,
    run: &Summary,
    plan: &Plan,
    plan_or_run: &str,
) -> Result<Option<String>, Error> {
    if run.progress.swapped.is_some() {
        return Ok(Some("it has been swapped already".to_owned()));
    }
    if run.progress.is_in_place() {
        return Ok(nothing_to_compare(&run.progress).map(str::to_owned));
    }
    if run.progress.verified.is_none() {
        let what = "it has not been verified since it was executed last; `projh-bluegreen execute` does so";
        return Ok(Some(what.to_owned()));
    }
    let run = &run.found;
    if plan::is_name(plan_or_run) {
        let what = match journal::gates(session, &run.run).await? {
            Some(gates) if gates.is_empty() => return Ok(None),
            Some(gates) => format!("it has gates ({}), which only the plan's file has", gates.join(", ")),
            None => "an earlier version has executed it, so that its gates are not known".to_owned(),
        };
        return Ok(Some(format!("{what}: give that file instead of `{plan_or_run}`")));
    }
    let now = serde_json::to_value(plan)
        .map_err(|source| JournalError::Unwritable { run: run.run.clone(), source })?;
    match plan::changes(&run.plan, &now) {
        changes if changes.is_empty() => Ok(None),
        changes => Err(JournalError::PlanChanged { run: run.run.clone(), changes }.into()),
    }
}
