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
        let (mut values, mut refused) = (0, 0);
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
                (values, refused) = (values + done.values, refused + done.left);
                shell.tell(&Event::Rekeyed(done));
            }
        }
        Ok((values, refused))
    };
    let (values, refused) = shell.unless_interrupted(work).await?;
    let again = format!("projh-bluegreen phi rekey {}", path.display());
    let (code, state, next) = match (dry_run, refused) {
        (true, _) => (ExitCode::Done, "nothing was changed".to_owned(), Some(again)),
        (false, 0) => (
            ExitCode::Done,
            format!("{values} values were encrypted again; all are under their column's key"),
            None,
        ),
        (false, _) => {
            let state = format!(
                "{values} values were encrypted again; {refused} cannot be opened, and were left as they are"
            );
            (ExitCode::Differences, state, Some(format!("projh-bluegreen phi coverage {}", path.display())))
        }
    };
    shell.tell(&Event::End { code, state, next });
    Ok(code)
}
