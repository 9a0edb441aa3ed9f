//! `check`: validates the plan's text, then checks it against the database.

use std::path::Path;

use super::Shell;
use crate::context::Goal;
use crate::engine;
use crate::error::{Error, ExitCode};
use crate::event::Event;

pub(super) async fn run(shell: &Shell<'_>, path: &Path) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    engine::reach(&cx, &Goal::Checked(plan)).await?;
    let state = "nothing stands in the way; nothing was changed".to_owned();
    let next = Some(format!("projh-bluegreen execute {}", path.display()));
    shell.tell(&Event::End { code: ExitCode::Done, state, next });
    Ok(ExitCode::Done)
}
