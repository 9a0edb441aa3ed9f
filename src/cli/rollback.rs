//! `rollback`: drops what the run created, before the swap.

use super::Shell;
use crate::context::Goal;
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::lifecycle::{Ending, Standing};

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str) -> Result<ExitCode, Error> {
    let (run, cx) = shell.run_and_context(plan_or_run)?;
    engine::reach(&cx, &Goal::Back { run }).await?;
    let state = Standing::ended(Ending::RolledBack).state;
    shell.tell(&Event::End { code: ExitCode::RolledBack, state, next: None });
    Ok(ExitCode::RolledBack)
}
