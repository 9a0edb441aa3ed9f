//! `execute --dry-run`: the preview as a page for people, or as events.

mod page;

use super::{Shell, check};
use crate::context::Context;
use crate::error::Error;
use crate::event::Event;
use crate::finding::Finding;
use crate::preview::{self, Preview};

/// The findings come first; a refusal ends it.
pub(super) async fn run(shell: &Shell<'_>, cx: &Context, path: &str, checks: bool) -> Result<u8, Error> {
    let findings = if checks { crate::check::run(cx).await? } else { Vec::new() };
    if shell.cli.json || findings.iter().any(Finding::is_refusal) {
        check::refuse(shell, findings.clone())?;
    }
    let preview = match preview::preview(cx).await {
        Err(Error::Refused(findings)) => return check::refuse(shell, findings).map(|_| 0),
        preview => preview?,
    };
    if shell.cli.json {
        tell(shell, preview);
    } else {
        let style = page::Style::of_terminal(shell.cli.verbose > 0);
        shell.screen.out(page::page(&cx.plan.name, &findings, &preview, &style).trim_end());
    }
    let state = "this was a preview; nothing was changed".to_owned();
    let next = Some(format!("projh-bluegreen execute {path}"));
    shell.tell(&Event::End { code: 0, state, next });
    Ok(0)
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
