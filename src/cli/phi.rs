//! `phi`: tools for encrypted columns.

mod coverage;
mod rekey;
mod rotate;

use super::Shell;
use super::command::PhiCommand;
use crate::error::{Error, ExitCode};
use crate::phi::Key;

pub(super) async fn run(shell: &Shell<'_>, command: &PhiCommand) -> Result<ExitCode, Error> {
    match command {
        PhiCommand::Keygen => keygen(shell),
        PhiCommand::Coverage { plan, without_keys } => coverage::run(shell, plan, *without_keys).await,
        PhiCommand::Rotate { plan, to } => rotate::run(shell, plan, *to),
        PhiCommand::Rekey { plan, dry_run } => rekey::run(shell, plan, *dry_run).await,
    }
}

/// Prints a new key as a key provider gives it: the one place where a key is shown.
fn keygen(shell: &Shell<'_>) -> Result<ExitCode, Error> {
    let (id, key) = Key::generate().map_err(|_| Error::Bug("the system gives no random bytes"))?;
    // It has nothing that JSON or YAML would have to quote.
    let text = match shell.cli.json {
        true => format!("{{\"type\":\"keys\",\"keys\":{{\"{id}\":{{\"key\":\"{}\"}}}}}}", *key),
        false => format!("keys:\n  {id}: {{key: \"{}\"}}", *key),
    };
    shell.screen.out(&zeroize::Zeroizing::new(text));
    Ok(ExitCode::Done)
}
