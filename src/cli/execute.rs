//! `execute`: runs a plan, or resumes its run.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use super::{Shell, ending, preview};
use crate::context::{Forward, Goal};
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::lifecycle::Phase;
use crate::phase;

pub(super) async fn run(
    shell: &Shell<'_>,
    path: &Path,
    until: Option<Phase>,
    yes: bool,
) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let name = plan.name.clone();
    let screen = shell.screen.clone();
    let may_swap = Arc::new(move || yes || screen.ask("Everything is verified. Swap now?"));
    let forward = Forward { plan, until, may_swap };
    if forward.reaches(Phase::Swap) && !yes && !std::io::stdin().is_terminal() {
        let what = "cannot ask before the swap without a terminal: give --yes, or --until verify";
        return Err(Error::Usage(what.to_owned()));
    }
    engine::reach(&cx, &Goal::Forward(forward)).await?;
    ending::tell(shell, &cx.target, &name, &path.display().to_string()).await;
    Ok(ExitCode::Done)
}

/// `--dry-run`: shows what `run` would do.
pub(super) async fn preview(shell: &Shell<'_>, path: &Path, until: Option<Phase>) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let forward = Forward { plan, until, may_swap: Arc::new(|| false) };
    let work = async {
        let checks = !phase::check::is_done(&cx, &forward.plan).await?;
        preview::run(shell, &cx, &forward, &path.display().to_string(), checks).await
    };
    phase::unless(cx.interrupted(), work).await
}
