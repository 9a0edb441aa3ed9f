//! `finish`: ends the soak and drops blue.

use std::io::IsTerminal;

use super::Shell;
use crate::context::Goal;
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::lifecycle::{Ending, Standing};

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
    engine::reach(&cx, &Goal::Finished { run, as_is, now }).await?;
    let state = Standing::ended(Ending::Finished).state;
    shell.tell(&Event::End { code: ExitCode::Done, state, next: None });
    Ok(ExitCode::Done)
}
