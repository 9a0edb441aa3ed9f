//! `phi rekey`: values of encrypted columns under their column's key, in place.

use std::path::Path;

use crate::cli::Shell;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::pg::ConnectionRole;
use crate::rekey;

pub(super) async fn run(shell: &Shell<'_>, path: &Path, dry_run: bool) -> Result<ExitCode, Error> {
    let outcome = work(shell, path, dry_run).await;
    if let Err(Error::Refused(findings)) = &outcome {
        findings.iter().for_each(|finding| shell.tell(&Event::Finding(finding.clone())));
    }
    outcome
}

async fn work(shell: &Shell<'_>, path: &Path, dry_run: bool) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let work = async {
        let session = cx.target.connect(ConnectionRole::of_command("phi"), &[]).await?;
        let found = rekey::survey(&session, &plan).await?;
        let keyring = rekey::keyring(&session, &plan, &found).await?;
        let (mut values, mut refused, mut written) = (0, 0, 0);
        for table in &found {
            let (estimate, rows_at_once) =
                rekey::estimate(&session, (table, &keyring), &plan.settings).await?;
            let left = estimate.values;
            shell.tell(&Event::RekeyEstimate(estimate));
            if !table.triggers.is_empty() && left > 0 {
                let text = format!(
                    "triggers of {} fire for every row that is written: {}",
                    table.name(),
                    table.triggers.join(", ")
                );
                shell.tell(&Event::Notice { text });
            }
            if !dry_run {
                let done =
                    rekey::carry_out(&cx, &session, (table, &keyring), &plan, (left, rows_at_once)).await?;
                let (closed, late) = done.left_as_they_are();
                (values, refused, written) = (values + done.values, refused + closed, written + late);
                shell.tell(&Event::Rekeyed(done));
            }
        }
        Ok((values, refused, written))
    };
    let (values, refused, written) = shell.unless_interrupted(work).await?;
    let again = format!("projh-bluegreen phi rekey {}", path.display());
    let coverage = format!("projh-bluegreen phi coverage {}", path.display());
    let done = format!("{values} values were encrypted again");
    let (code, state, next) = match (dry_run, refused, written) {
        (true, ..) => (ExitCode::Done, "nothing was changed".to_owned(), Some(again)),
        (false, 0, 0) => (ExitCode::Done, format!("{done}; all are under their column's key"), None),
        (false, _, 0) => {
            let state = format!("{done}; {refused} cannot be opened, and were left as they are");
            (ExitCode::Differences, state, Some(coverage))
        }
        (false, ..) => {
            let others = match refused {
                0 => String::new(),
                refused => format!(", and {refused} that cannot be opened"),
            };
            let state = format!(
                "{done}; {written} are left that others keep writing under another key{others}: let clients use the column's key"
            );
            (ExitCode::Differences, state, Some(again))
        }
    };
    shell.tell(&Event::End { code, state, next });
    Ok(code)
}
