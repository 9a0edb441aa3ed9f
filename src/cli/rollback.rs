//! `rollback`: before the swap, drops what the run created; during the soak, swaps back.

use std::path::Path;
use std::sync::Arc;

use super::{Shell, asking, ending};
use crate::context::{Forward, Goal};
use crate::error::{Error, ExitCode};
use crate::journal;
use crate::journal::requests::Ask;
use crate::pg::ConnectionRole;
use crate::plan::{self, Plan};

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    let session = shell.unless_interrupted(async {
        Ok(cx.target.connect(ConnectionRole::of_command("rollback"), &[]).await?)
    });
    let session = session.await?;
    let plan = match plan::is_name(plan_or_run) {
        true => {
            let settings = journal::settings(&session, &run).await?;
            Plan::named(run.clone(), settings.unwrap_or_default())
        }
        false => shell.plan(Path::new(plan_or_run))?,
    };
    let was_live = journal::latest(&session, &run, false).await?.map(|run| run.progress.live());
    drop(session);
    shell.hooked.call(&plan.hooks);
    let forward = Forward { plan, until: None, holds_swap: false, may_swap: Arc::new(|| true) };
    let goal = Goal::Back { run: run.clone(), forward, was_live };
    let code = asking::reach(shell, &cx, &goal, Ask::Rollback).await?;
    ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await;
    Ok(code)
}
