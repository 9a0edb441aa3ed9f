//! `finish`: ends the soak, and drops or archives blue.

use std::io::IsTerminal;

use super::{Shell, asking, ending};
use crate::context::{Forward, Goal};
use crate::crash;
use crate::error::{Error, ExitCode};
use crate::journal;
use crate::journal::requests::{Ask, Finish};
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::phase;
use crate::plan::{self, Archive};

pub(super) async fn run(
    shell: &Shell<'_>,
    plan_or_run: &str,
    yes: bool,
    how: Finish,
) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "cannot ask before the run is finished without a terminal: give --yes".to_owned(),
        ));
    }
    let read = shell.unless_interrupted(async {
        let session = cx.target.connect(ConnectionRole::of_command("finish"), &[]).await?;
        let plan = shell.plan_of(plan_or_run, &session).await?;
        let found = shell.find(&session, &run).await?;
        if !plan::is_name(plan_or_run) {
            expect_same_archive(&session, &run, plan.settings.archive.as_ref()).await?;
        }
        // What would be refused does not take the run over: a comparison that was made would not count any more.
        if let Some(found) = found.as_ref().filter(|found| found.progress.ended.is_none())
            && journal::holder(&session, &run).await?.is_none()
        {
            phase::finish::allowed(&session, &found.progress, &found.found.run, how).await?;
        }
        Ok((plan, found.is_some_and(|found| found.progress.is_in_place())))
    });
    let (plan, is_in_place) = read.await?;
    let what = match &plan.settings.archive {
        _ if is_in_place => format!("Finish `{run}`: keep the indexes that it has built"),
        Some(archive) => {
            let schema = archive.plain();
            format!("Move blue of `{run}` to schema {schema}, the tables as they were before the swap")
        }
        None => format!("Drop blue of `{run}`, the tables as they were before the swap"),
    };
    let question = format!("{what}? This cannot be undone.");
    if !yes && !shell.ask(question).await? {
        return Err(Error::Declined("nothing was changed"));
    }
    crash::point("finish asked");
    shell.hooked.call(&plan.hooks);
    let forward = Forward::of(plan);
    let goal = Goal::Finished { run: run.clone(), forward, how };
    let code = asking::reach(shell, &cx, &goal, Ask::Finish(how)).await?;
    Ok(ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await)
}

/// If another process executes the run, it finishes it, with its own settings: blue would be dropped that this plan
/// archives.
async fn expect_same_archive(session: &Session, run: &str, archive: Option<&Archive>) -> Result<(), Error> {
    let Some(holder) = journal::holder(session, run).await? else { return Ok(()) };
    let theirs = journal::settings(session, run).await?.and_then(|settings| settings.archive);
    if theirs.as_ref() == archive {
        return Ok(());
    }
    let name = |archive: Option<&Archive>| archive.map_or_else(|| "none".to_owned(), Archive::plain);
    Err(Error::Usage(format!(
        "settings.archive is {} in this plan, and {} in the process that executes the run: stop {holder}, and \
         finish then",
        name(archive),
        name(theirs.as_ref())
    )))
}
