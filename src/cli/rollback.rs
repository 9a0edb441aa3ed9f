//! `rollback`: before the swap, drops what the run created; during the soak, swaps back.

use std::path::Path;
use std::sync::Arc;

use super::{Shell, asking, ending};
use crate::context::{Forward, Goal};
use crate::error::{Error, ExitCode};
use crate::journal;
use crate::journal::requests::Ask;
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::plan::{self, Plan};

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    let session = shell.unless_interrupted(async {
        Ok(cx.target.connect(ConnectionRole::of_command("rollback"), &[]).await?)
    });
    let session = session.await?;
    let plan = plan_of(shell, &session, plan_or_run, &run).await?;
    let was_live = journal::latest(&session, &run, false).await?.map(|run| run.progress.live());
    drop(session);
    shell.hooked.call(&plan.hooks);
    let forward = Forward { plan, until: None, holds_swap: false, may_swap: Arc::new(|| true) };
    let goal = Goal::Back { run: run.clone(), forward, was_live };
    let code = asking::reach(shell, &cx, &goal, Ask::Rollback).await?;
    ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await;
    Ok(code)
}

/// The plan in the file that was given; or, if a run was named, as much of it as ending the run needs.
pub(super) async fn plan_of(
    shell: &Shell<'_>,
    session: &Session,
    plan_or_run: &str,
    run: &str,
) -> Result<Plan, Error> {
    if !plan::is_name(plan_or_run) {
        return shell.plan(Path::new(plan_or_run));
    }
    let settings = journal::settings(session, run).await?;
    Ok(Plan::named(run.to_owned(), settings.unwrap_or_default()))
}
