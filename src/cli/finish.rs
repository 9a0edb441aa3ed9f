//! `finish`: the end of the soak.

use std::io::IsTerminal;

use super::{Shell, check};
use crate::error::Error;
use crate::event::Event;
use crate::journal::Journal;
use crate::lifecycle::{Ending, Standing};
use crate::phase::finish;
use crate::phase::locks::Patience;

pub(super) async fn run(
    shell: &Shell<'_>,
    plan_or_run: &str,
    yes: bool,
    as_is: bool,
    now: bool,
) -> Result<u8, Error> {
    let (name, target) = shell.run_and_target(plan_or_run)?;
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::Usage(
            "there is no terminal to ask on before blue is dropped: give --yes".to_owned(),
        ));
    }
    let question = format!(
        "Drop blue of `{name}`, the tables as they were before the swap? There is no way back from it."
    );
    if !yes && !shell.ask(question).await? {
        return Err(Error::Declined("nothing was dropped"));
    }
    let work = async {
        let journal = Journal::resume(&target, &name).await?;
        let patience = Patience { target: &target, reporter: &shell.reporter, run: journal.run() };
        finish::run(&journal, &patience, as_is, now).await
    };
    match shell.unless_interrupted(work).await {
        Err(Error::Refused(findings)) => return check::refuse(shell, findings).map(|_| 0),
        outcome => outcome?,
    }
    let state = Standing::ended(Ending::Finished).state;
    shell.tell(&Event::End { code: 0, state, next: None });
    Ok(0)
}
