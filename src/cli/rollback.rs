//! `rollback`: before the swap, drops what the run created; during the soak, swaps back.

use super::{Shell, asking, ending};
use crate::context::{Forward, Goal};
use crate::error::{Error, ExitCode};
use crate::journal;
use crate::journal::requests::Ask;
use crate::pg::ConnectionRole;

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    let session = shell.unless_interrupted(async {
        Ok(cx.target.connect(ConnectionRole::of_command("rollback"), &[]).await?)
    });
    let session = session.await?;
    let plan = shell.plan_of(plan_or_run, &session).await?;
    let was_live = journal::latest(&session, &run, false).await?.map(|run| run.progress.live());
    drop(session);
    shell.hooked.call(&plan.hooks);
    let forward = Forward::of(plan);
    let goal = Goal::Back { run: run.clone(), forward, was_live };
    let code = asking::reach(shell, &cx, &goal, Ask::Rollback).await?;
    ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await;
    Ok(code)
}
