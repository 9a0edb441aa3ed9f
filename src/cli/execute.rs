//! `execute`: run a plan, or resume it.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Shell, check, ending, preview};
use crate::context::Context;
use crate::engine;
use crate::error::Error;
use crate::event::Event;
use crate::finding::Finding;
use crate::journal;
use crate::lifecycle::Phase;
use crate::pg::ConnectionRole;

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
    let screen = shell.screen.clone();
    let may_swap = move || yes || screen.ask("Everything is verified. Swap now?");
    let cx = shell.context(plan, until, may_swap)?;
    if !shell.unless_interrupted(is_under_way(&cx)).await? {
        shell.tell(&Event::CheckStarted {});
        let begun = Instant::now();
        let findings = shell.unless_interrupted(crate::check::run(&cx)).await?;
        // Somebody else may have begun the run meanwhile, and what it made be in the way: it has passed the
        // checks then, and who holds it is told by the journal.
        let refuses = findings.iter().any(Finding::is_refusal);
        let begun_meanwhile = refuses && shell.unless_interrupted(is_under_way(&cx)).await?;
        let notes = if begun_meanwhile { 0 } else { check::refuse(shell, findings)? };
        shell.tell(&Event::Checked { notes, seconds: begun.elapsed().as_secs_f64() });
    }
    shell.has_begun.store(true, Ordering::Release);
    engine::execute(&cx).await?;
    ending::tell(shell, &cx.target, &cx.plan.name, &path.display().to_string()).await;
    Ok(0)
}

/// `--dry-run`: what `run` would do.
pub(super) async fn preview(shell: &Shell<'_>, path: &Path, until: Option<Phase>) -> Result<u8, Error> {
    let cx = shell.context(shell.plan(path)?, until, || false)?;
    let work = async {
        let checks = !is_under_way(&cx).await?;
        preview::run(shell, &cx, &path.display().to_string(), checks).await
    };
    shell.unless_interrupted(work).await
}

/// A run that has made green has passed the checks; its publication would now be in their way.
async fn is_under_way(cx: &Context) -> Result<bool, Error> {
    let session = cx.target.connect(&ConnectionRole::of_command("check").to_string(), &[]).await?;
    let runs = match journal::list(&session).await {
        // The checks say what is missing.
        Err(error) if error.is_forbidden() => return Ok(false),
        runs => runs?,
    };
    let ours = runs.iter().find(|run| run.found.plan_name == cx.plan.name && run.found.under_way);
    Ok(ours.is_some_and(|run| run.progress.prepared.is_some()))
}
