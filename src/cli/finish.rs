//! `finish`: ends the soak and drops blue.

use std::io::IsTerminal;

use super::{Shell, asking, ending};
use crate::context::Goal;
use crate::error::{Error, ExitCode};
use crate::journal::requests::Ask;

pub(super) async fn run(
    shell: &Shell<'_>,
    plan_or_run: &str,
    yes: bool,
    as_is: bool,
    now: bool,
) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "cannot ask before blue is dropped without a terminal: give --yes".to_owned(),
        ));
    }
    let question =
        format!("Drop blue of `{run}`, the tables as they were before the swap? This cannot be undone.");
    if !yes && !shell.ask(question).await? {
        return Err(Error::Declined("nothing was dropped"));
    }
    let ask = Ask::Finish { as_is, now };
    let goal = Goal::Finished { run: run.clone(), as_is, now };
    let code = asking::reach(shell, &cx, &goal, ask).await?;
    ending::tell(shell, &cx.target, &run, Some(plan_or_run), code).await;
    Ok(code)
}
