//! `check`: the plan alone, then against the database.

use std::path::Path;

use super::Shell;
use crate::check;
use crate::error::Error;
use crate::event::Event;
use crate::finding::Finding;

pub(super) async fn run(shell: &Shell<'_>, plan: &Path) -> Result<u8, Error> {
    let plan_path = plan.display().to_string();
    let plan = shell.plan(plan)?;
    let cx = shell.context(plan, None, || false)?;
    let findings = shell.unless_interrupted(check::run(&cx)).await?;
    refuse(shell, findings)?;
    let state = "nothing stands in the way; nothing was changed".to_owned();
    let next = Some(format!("projh-bluegreen execute {plan_path}"));
    shell.tell(&Event::End { code: 0, state, next });
    Ok(0)
}

/// Tells every finding; an error if one of them is a refusal. Returns how many notes there were.
pub(super) fn refuse(shell: &Shell<'_>, findings: Vec<Finding>) -> Result<usize, Error> {
    for finding in &findings {
        shell.tell(&Event::Finding(finding.clone()));
    }
    let all = findings.len();
    let refusals: Vec<Finding> = findings.into_iter().filter(Finding::is_refusal).collect();
    if refusals.is_empty() { Ok(all) } else { Err(Error::Refused(refusals)) }
}
