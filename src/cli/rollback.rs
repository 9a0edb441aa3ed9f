//! `rollback`: back to blue.

use super::{Shell, check};
use crate::error::Error;
use crate::event::Event;
use crate::journal::Journal;
use crate::lifecycle::{Ending, Standing};
use crate::phase::locks::Patience;
use crate::phase::rollback;

/// Exit code of a run that was rolled back because somebody asked.
const ROLLED_BACK: u8 = 6;

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<u8, Error> {
    let (name, target) = shell.run_and_target(plan_or_run)?;
    let work = async {
        let journal = Journal::resume(&target, &name).await?;
        let patience = Patience { target: &target, reporter: &shell.reporter, run: journal.run() };
        rollback::run(&journal, &patience).await
    };
    match shell.unless_interrupted(work).await {
        Err(Error::Refused(findings)) => return check::refuse(shell, findings).map(|_| ROLLED_BACK),
        outcome => outcome?,
    }
    let state = Standing::ended(Ending::RolledBack).state;
    shell.tell(&Event::End { code: ROLLED_BACK, state, next: None });
    Ok(ROLLED_BACK)
}
