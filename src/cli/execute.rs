//! `execute`: run a plan, or resume it.

use std::io::IsTerminal;
use std::path::Path;

use super::{Shell, ask, check, preview, status};
use crate::engine;
use crate::error::Error;
use crate::event::Event;
use crate::journal;
use crate::lifecycle::Phase;
use crate::plan::Plan;

pub(super) async fn run(
    shell: &Shell<'_>,
    path: &Path,
    until: Option<Phase>,
    yes: bool,
) -> Result<u8, Error> {
    let plan = shell.plan(path)?;
    let swaps = until.is_none_or(|until| until >= Phase::Swap);
    if swaps && !yes && !std::io::stdin().is_terminal() {
        let what = "there is no terminal to ask on before the swap: give --yes, or --until verify";
        return Err(Error::Usage(what.to_owned()));
    }
    let may_swap: fn() -> bool = if yes { || true } else { || ask("Everything is verified. Swap now?") };
    let cx = shell.context(plan, until, may_swap)?;
    if !is_under_way(&cx).await? {
        let findings = crate::check::run(&cx).await?;
        check::refuse(shell, findings)?;
    }
    let outcome = engine::execute(&cx).await;
    let code = outcome.as_ref().map_or_else(Error::exit_code, |()| 0);
    tell_end(shell, &cx.plan, path, code).await;
    outcome.map(|()| code)
}

/// `--dry-run`: what `run` would do.
pub(super) async fn preview(shell: &Shell<'_>, path: &Path, until: Option<Phase>) -> Result<u8, Error> {
    let cx = shell.context(shell.plan(path)?, until, || false)?;
    let checks = !is_under_way(&cx).await?;
    preview::run(shell, &cx, &path.display().to_string(), checks).await
}

/// A run that has made green has passed the checks; its publication would now be in their way.
async fn is_under_way(cx: &engine::Context) -> Result<bool, Error> {
    let session = cx.target.connect("projh-bluegreen check", &[]).await?;
    let runs = match journal::list(&session).await {
        // The checks say what is missing.
        Err(error) if error.is_forbidden() => return Ok(false),
        runs => runs?,
    };
    let ours = runs.iter().find(|run| run.found.plan_name == cx.plan.name && run.found.under_way);
    Ok(ours.is_some_and(|run| run.progress.prepared.is_some()))
}

/// The state that the tables are in, after every end, good or bad; as far as the server can be asked.
async fn tell_end(shell: &Shell<'_>, plan: &Plan, path: &Path, code: u8) {
    let asked = async {
        let session = shell.target(Some(plan))?.connect("projh-bluegreen status", &[]).await?;
        Ok::<_, Error>(journal::list(&session).await?)
    };
    let Ok(runs) = asked.await else {
        let state =
            "the server cannot be asked for the state; the journal has it, and the run can be resumed"
                .to_owned();
        let next = Some(format!("projh-bluegreen execute {}", path.display()));
        shell.tell(&Event::End { code, state, next });
        return;
    };
    let Some(run) = runs.into_iter().find(|run| run.found.plan_name == plan.name) else { return };
    let (state, next) = status::state(&run.progress, &run.found.run, &path.display().to_string());
    shell.tell(&Event::End { code, state, next });
}
