//! `rollback`: before the swap, drops what the run created; during the soak, swaps back.
//!
//! Invariant: after a swap, green is dropped only if somebody has said so in so many words. A rollback that is given again,
//! because its terminal died or by somebody else, must not end the run.

use std::io::IsTerminal;

use super::{Shell, asking, ending};
use crate::context::{Forward, Goal};
use crate::error::{Doing, Error, ExitCode};
use crate::journal::requests::Ask;
use crate::lifecycle::{Progress, Standing};
use crate::lost;
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str, drop_green: bool) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    let session = shell.unless_interrupted(async {
        Ok(cx.target.connect(ConnectionRole::of_command("rollback"), &[]).await?)
    });
    let session = session.await?;
    let plan = shell.plan_of(plan_or_run, &session).await?;
    let found = shell.find(&session, &run).await?;
    let undone = match &found {
        // It refuses, or drops nothing.
        Some(found) if !is_live(&session, &found.progress).await? => None,
        found => found.as_ref().and_then(|found| Standing::undone(&found.progress)),
    };
    drop(session);
    let drop_green = match undone.filter(|_| !drop_green && std::io::stdin().is_terminal()) {
        Some(undone) => shell.ask(format!("{undone}. Drop green, too?")).await?,
        None => drop_green,
    };
    shell.hooked.call(&plan.hooks);
    let forward = Forward::of(plan);
    let goal = Goal::Back { run: run.clone(), forward, drop_green };
    let code = asking::reach(shell, &cx, &goal, Ask::Rollback { drop_green }).await?;
    Ok(ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await)
}

/// Whether the live tables of a run are there.
async fn is_live(session: &Session, progress: &Progress) -> Result<bool, Error> {
    Ok(lost::find(session, progress).await.doing("looking for the live tables")?.lost.is_empty())
}
