//! `find`: prints the statement that reads the row behind a key digest.

use super::Shell;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::journal::JournalError;
use crate::lane::find;
use crate::pg::ConnectionRole;

pub(super) async fn run(
    shell: &Shell<'_>,
    plan_or_run: &str,
    table: &str,
    digest: &str,
) -> Result<ExitCode, Error> {
    let (name, target) = shell.run_and_target(plan_or_run)?;
    let work = async {
        let client = target.connect(ConnectionRole::of_command("find"), &[]).await?;
        let run = shell.find(&client, &name).await?;
        let run = run.ok_or_else(|| JournalError::NoRun(name.clone()))?;
        if let Some(ending) = run.progress.ended {
            return Err(JournalError::Ended { run: run.found.run, plan: run.found.plan_name, ending }.into());
        }
        let lanes = run.progress.prepared.map(|prepared| prepared.lanes).unwrap_or_default();
        let Some(lane) = lanes.iter().find(|lane| lane.table.plain() == table) else {
            let tables: Vec<String> = lanes.iter().map(|lane| lane.table.plain()).collect();
            let text = format!("run {} has no table {table}; it has {}", run.found.run, tables.join(", "));
            return Err(Error::Usage(text));
        };
        Ok(find::find(&client, lane, run.progress.swapped.is_some(), digest).await?)
    };
    let found = shell.unless_interrupted(work).await?;
    if found.is_empty() {
        return Err(Error::Usage(format!(
            "no row of {table} has the key digest {digest}: the row was deleted or its key changed since, \
             or the digest is of another run"
        )));
    }
    for row in found {
        if shell.cli.json {
            shell.tell(&Event::RowFound(row));
        } else {
            let side = format!("{:?}", row.side).to_lowercase();
            shell.screen.out(&format!("{side}: {}", row.sql));
        }
    }
    Ok(ExitCode::Done)
}
