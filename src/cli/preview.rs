//! `execute --dry-run`: the preview as a page for people, or as events.

mod page;

use super::Shell;
use crate::context::{Context, Forward};
use crate::error::{Error, ExitCode};
use crate::event::Event;
use crate::finding::Finding;
use crate::preview::{self, Preview};

/// Prints the findings, then the preview; if a check refuses, only the findings.
pub(super) async fn run(
    shell: &Shell<'_>,
    cx: &Context,
    forward: &Forward,
    path: &str,
    checks: bool,
) -> Result<ExitCode, Error> {
    let findings = if checks { crate::check::run(cx, &forward.plan).await? } else { Vec::new() };
    if shell.cli.json || findings.iter().any(Finding::is_refusal) {
        refuse(shell, findings.clone())?;
    }
    let preview = match preview::preview(cx, forward).await {
        Err(Error::Refused(findings)) => return refuse(shell, findings).map(|()| ExitCode::Done),
        preview => preview?,
    };
    if shell.cli.json {
        tell(shell, preview);
    } else {
        let style = page::Style::of_terminal(shell.cli.verbose > 0);
        shell.screen.out(page::page(&forward.plan.name, &findings, &preview, &style).trim_end());
    }
    let state = "this was a preview; nothing was changed".to_owned();
    let next = Some(format!("projh-bluegreen execute {path}"));
    shell.tell(&Event::End { code: ExitCode::Done, state, next });
    Ok(ExitCode::Done)
}

/// Reports every finding; returns an error if one is a refusal.
fn refuse(shell: &Shell<'_>, findings: Vec<Finding>) -> Result<(), Error> {
    for finding in &findings {
        shell.tell(&Event::Finding(finding.clone()));
    }
    let refusals: Vec<Finding> = findings.into_iter().filter(Finding::is_refusal).collect();
    if refusals.is_empty() { Ok(()) } else { Err(Error::Refused(refusals)) }
}

fn tell(shell: &Shell<'_>, preview: Preview) {
    let Preview { changes, notices, steps, summary, .. } = preview;
    let changes = changes.into_iter().map(Event::PreviewChange);
    let notices = notices.into_iter().map(Event::PreviewNotice);
    let steps = steps.into_iter().map(Event::PreviewStep);
    for event in changes.chain(notices).chain(steps) {
        shell.tell(&event);
    }
    shell.tell(&Event::PreviewSummary(summary));
}
