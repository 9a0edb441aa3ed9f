//! `rollback`: back to blue.

use super::Shell;
use crate::context::Goal;
use crate::engine;
use crate::error::Error;
use crate::event::Event;
use crate::lifecycle::{Ending, Standing};

/// Exit code of a run that was rolled back because somebody asked.
const ROLLED_BACK: u8 = 6;

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<u8, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    engine::reach(&cx, &Goal::Back { run }).await?;
    let state = Standing::ended(Ending::RolledBack).state;
    shell.tell(&Event::End { code: ROLLED_BACK, state, next: None });
    Ok(ROLLED_BACK)
}
