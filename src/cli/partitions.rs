//! `partitions`: new partitions ahead of time, and old ones archived or dropped.

use std::io::IsTerminal;
use std::path::Path;

use super::Shell;
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::pg::ConnectionRole;
use crate::upkeep;

pub(super) async fn run(
    shell: &Shell<'_>,
    path: &Path,
    ahead: Option<u32>,
    dry_run: bool,
    yes: bool,
) -> Result<ExitCode, Error> {
    let outcome = work(shell, path, ahead, dry_run, yes).await;
    if let Err(Error::Refused(findings)) = &outcome {
        findings.iter().for_each(|finding| shell.tell(&Event::Finding(finding.clone())));
    }
    outcome
}

async fn work(
    shell: &Shell<'_>,
    path: &Path,
    ahead: Option<u32>,
    dry_run: bool,
    yes: bool,
) -> Result<ExitCode, Error> {
    let plan = shell.plan(path)?;
    let cx = shell.context(&plan)?;
    let survey = async {
        let session = cx.target.connect(ConnectionRole::of_command("partitions"), &[]).await?;
        if !dry_run {
            upkeep::clear(&cx, &session, &plan).await?;
        }
        let work = upkeep::survey(&cx, &session, &plan, ahead).await?;
        Ok((session, work))
    };
    let (session, work) = shell.unless_interrupted(survey).await?;
    let dropped: Vec<String> = work.iter().flat_map(upkeep::Work::drops).collect();
    let is_nothing = work.iter().all(upkeep::Work::is_nothing);
    if dry_run {
        for changed in work.iter().flat_map(upkeep::preview) {
            if !shell.cli.json {
                shell.screen.out(&changed.to_string());
                changed.sql.iter().for_each(|sql| shell.screen.out(&format!("    {sql};")));
            } else {
                shell.tell(&Event::Partition(changed));
            }
        }
    } else {
        confirm(shell, &dropped, yes).await?;
        for work in &work {
            let carried_out = shell.unless_interrupted(upkeep::carry_out(&cx, &session, work)).await;
            if let Err(error) = carried_out {
                drop(session);
                // What another command is building is not ours to drop.
                if !matches!(error, Error::Answered { .. }) {
                    // The first error is what counts; the next attempt drops it otherwise.
                    let _ = upkeep::clean(&cx, work).await;
                }
                return Err(error);
            }
        }
    }
    let keeps_old = work.iter().any(upkeep::Work::keeps_old);
    let state = match (is_nothing, dry_run) {
        (true, _) if keeps_old => {
            "every partition is there, and those that are too old stay; nothing was changed"
        }
        (true, _) => "every partition is there, and none is too old; nothing was changed",
        (false, true) => "nothing was changed",
        (false, false) if keeps_old => "every partition is there, and those that are too old stay",
        (false, false) => "the partitions are as the plan says",
    };
    let next = (dry_run && !is_nothing).then(|| format!("projh-bluegreen partitions {}", path.display()));
    shell.tell(&Event::End { code: ExitCode::Done, state: state.to_owned(), next });
    Ok(ExitCode::Done)
}

/// Asks before partitions are dropped.
async fn confirm(shell: &Shell<'_>, dropped: &[String], yes: bool) -> Result<(), Error> {
    if dropped.is_empty() || yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::Usage(format!(
            "cannot ask before partitions are dropped without a terminal: give --yes to drop {}",
            dropped.join(", ")
        )));
    }
    let question = format!("Drop {}, with all their rows? This cannot be undone.", dropped.join(", "));
    if shell.ask(question).await? { Ok(()) } else { Err(Error::Declined("nothing was changed")) }
}
