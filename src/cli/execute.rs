//! `execute`: runs a plan, or resumes its run.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use super::{Shell, ending, kept_soak, preview};
use crate::context::{Forward, Goal};
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::lifecycle::Phase;
use crate::pg::ConnectionRole;
use crate::phase;

pub(super) async fn run(
    shell: &Shell<'_>,
    path: &Path,
    until: Option<Phase>,
    yes: bool,
    holds_swap: bool,
) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    shell.hooked.call(&plan.hooks);
    let cx = shell.context(&plan)?;
    let name = plan.name.clone();
    let screen = shell.screen.clone();
    let may_swap = Arc::new(move || yes || screen.ask("Everything is verified. Swap now?"));
    let forward = Forward { until, holds_swap, may_swap, ..Forward::of(plan) };
    if forward.reaches(Phase::Swap) && !yes && !holds_swap && !std::io::stdin().is_terminal() {
        let what =
            "cannot ask before the swap without a terminal: give --yes, --hold-swap, or --until verify";
        return Err(Error::Usage(what.to_owned()));
    }
    // A server that cannot be reached is reported by the run.
    if let Ok(session) = cx.target.connect(ConnectionRole::of_command("execute"), &[]).await {
        shell.unless_interrupted(kept_soak::expect(&session, &forward.plan)).await?;
    }
    let code = engine::reach(&cx, &Goal::Forward(forward)).await?;
    Ok(ending::tell(shell, &cx.target, &name, Some(&path.display().to_string()), code).await)
}

/// `--dry-run`: shows what `run` would do.
pub(super) async fn preview(shell: &Shell<'_>, path: &Path, until: Option<Phase>) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let forward = Forward { until, ..Forward::of(plan) };
    let work = async {
        let checks = !phase::check::is_done(&cx, &forward.plan).await?;
        preview::run(shell, &cx, &forward, &path.display().to_string(), checks).await
    };
    phase::unless(cx.interrupted(), work).await
}
