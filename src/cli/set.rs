//! `set`: changes settings of a run, whoever executes it.

use super::{Shell, asking};
use crate::check;
use crate::error::{Error, ExitCode};
use crate::finding::Finding;
use crate::journal::requests::Ask;
use crate::journal::{self, Summary};
use crate::lifecycle::WayBack;
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::plan::{Changes, Settings, set};

pub(super) async fn run(shell: &Shell<'_>, plan_or_run: &str, words: &[String]) -> Result<ExitCode, Error> {
    let changes = set::read(words).map_err(|problems| Error::Usage(problems.join("\n")))?;
    let (named, cx) = shell.run_and_context(plan_or_run)?;
    let work = async {
        let session = cx.target.connect(ConnectionRole::of_command("set"), &[]).await?;
        let run = asking::under_way(shell, &session, &named).await?;
        refuse(&session, &run, &changes).await
    };
    shell.unless_interrupted(work).await?;
    asking::control(shell, plan_or_run, Ask::Set(changes)).await
}

/// Refuses what this run, or this server, has no use for.
async fn refuse(session: &Session, run: &Summary, changes: &Changes) -> Result<(), Error> {
    let id = &run.found.run;
    let plan = journal::settings(session, id).await?.unwrap_or_default();
    let before = asking::in_force(session, id).await?;
    let changed = |key: &str| changes.get(key).is_some_and(Option::is_some);
    let after = plan.with(changes);
    if changed("soak") {
        let is_held = journal::holder(session, &run.found.plan_name).await?.is_some();
        refuse_soak(run, (&plan, &before.now()), &after, is_held)?;
    }
    let mut findings = Vec::new();
    if let Some(query) = after.throttle.query.as_ref().filter(|_| changed("throttle.query")) {
        findings = check::throttle::query_of(session, query).await?;
    }
    let more = after.workers.saturating_sub(before.now().workers);
    if changed("workers") && more > 0 {
        findings.extend(check::connections::more(session, more).await?);
    }
    let said = |finding: &Finding| format!("{}; {}", finding.what, finding.hint);
    let said: Vec<String> = findings.iter().map(said).collect();
    if said.is_empty() { Ok(()) } else { Err(Error::Usage(said.join("\n"))) }
}

/// A soak can become longer and shorter, but it needs a way back.
fn refuse_soak(
    run: &Summary,
    (plan, now): (&Settings, &Settings),
    after: &Settings,
    is_held: bool,
) -> Result<(), Error> {
    let progress = &run.progress;
    let is_open = matches!(progress.way_back, WayBack::Open(_));
    let broken = progress.broken.as_ref().filter(|_| after.soak < now.soak);
    let why = if progress.swapped.is_some() && !progress.is_reversible() {
        "the run has been swapped, and has no way back any more"
    } else if let Some(broken) = broken {
        &format!(
            "blue has not followed green since {}, and the end of the soak closes the way back only once it does; put right \
             what broke it and execute again, or give the way back up by `projh-bluegreen finish {} --force`",
            broken.since, run.found.run
        )
    } else if plan.soak.is_zero() && !after.soak.is_zero() {
        "the plan has none, so that `check` has not looked for a way back: give it one, and execute again"
    } else if is_held && progress.verified.is_some() && !is_open && !after.soak.is_zero() {
        "the process that executes the run has verified it without a way back: end it, set this, and execute again"
    } else {
        return Ok(());
    };
    Err(Error::Usage(format!("`soak` cannot be set for run {}: {why}", run.found.run)))
}
