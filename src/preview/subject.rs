//! What a preview is about: a run that has not begun, or what is left of one that has.

use crate::context::Context;
use crate::error::Error;
use crate::finding::{CheckId, Finding};
use crate::journal::{self, JournalError};
use crate::lane::Lane;
use crate::lifecycle::{Prepared, Progress};
use crate::pg::ConnectionRole;
use crate::pg::connect::Session;
use crate::phase::locks::Limits;
use crate::phase::{prepare, stream};
use crate::plan;

use super::NEW_RUN;

/// The run, as far as it has come.
pub(super) struct Subject<'a> {
    pub(super) cx: &'a Context,
    /// The run that is under way.
    pub(super) run: Option<String>,
    /// Its id, or what stands for that of a new one.
    pub(super) id: String,
    /// Somebody executes it at this moment.
    pub(super) is_live: bool,
    /// Where it stands; nowhere, if it is new.
    pub(super) progress: Progress,
    /// What it made, or will make.
    pub(super) prepared: Prepared,
    /// The lanes; none once they are swapped.
    pub(super) lanes: Vec<Lane>,
    /// The SQL that makes the journal, where there is none.
    pub(super) journal: Vec<&'static str>,
    /// How long locks may be waited for.
    pub(super) limits: Limits,
}

impl<'a> Subject<'a> {
    pub(super) async fn find(cx: &'a Context, session: &Session) -> Result<Self, Error> {
        let (run, mut progress) = under_way(cx, session).await?;
        let is_live = match &run {
            Some(run) => is_executed(session, run).await?,
            None => false,
        };
        if !is_live {
            // As it is when an orchestrator takes the run over: what changed meanwhile was not tracked.
            progress.verified = None;
            progress.caught_up = None;
        }
        if let Some(run) = &run {
            find_slot(session, run, &progress).await?;
        }
        let id = run.clone().unwrap_or_else(|| NEW_RUN.to_owned());
        let prepared = match progress.prepared.clone() {
            Some(prepared) => prepared,
            None => prepare::designed(session, &cx.plan.tables, &id).await?,
        };
        let mut lanes = Vec::new();
        if progress.swapped.is_none() {
            for (number, design) in prepared.lanes.iter().enumerate() {
                let lane = Lane::load(session, number, design, &prepared.green_home).await;
                lanes.push(lane.map_err(Error::doing("reading the tables' columns"))?);
            }
        }
        let journal = journal::unmade(session).await?;
        let limits = Limits::of(session).await.map_err(Error::doing("reading deadlock_timeout"))?;
        Ok(Self { cx, run, id, is_live, progress, prepared, lanes, journal, limits })
    }

    /// Green is there already.
    pub(super) fn has_green(&self) -> bool {
        self.progress.prepared.is_some()
    }
}

/// The plan's unfinished run, read from the journal as it is.
async fn under_way(cx: &Context, session: &Session) -> Result<(Option<String>, Progress), Error> {
    let runs = match journal::list(session).await {
        // The checks say what is missing.
        Err(error) if error.is_forbidden() => return Ok((None, Progress::default())),
        runs => runs?,
    };
    let ours = runs.into_iter().find(|run| run.found.plan_name == cx.plan.name && run.found.under_way);
    let Some(ours) = ours else { return Ok((None, Progress::default())) };
    let plan = serde_json::to_value(&cx.plan)
        .map_err(|source| JournalError::Unreadable { run: cx.plan.name.clone(), source })?;
    let changes = plan::changes(&ours.found.plan, &plan);
    if !changes.is_empty() {
        return Err(JournalError::PlanChanged { run: ours.found.run, changes }.into());
    }
    if let Some(why) = ours.progress.only_rollback() {
        return Err(JournalError::OnlyRollback { run: ours.found.run, why }.into());
    }
    Ok((Some(ours.found.run), ours.progress))
}

/// Without the slot that it needs, nothing is left of a run but its rollback.
async fn find_slot(session: &Session, run: &str, progress: &Progress) -> Result<(), Error> {
    let prepared =
        progress.prepared.as_ref().filter(|_| progress.slot.is_some() && progress.swapped.is_none());
    let Some(prepared) = prepared else { return Ok(()) };
    if stream::is_there(session, &prepared.slot).await? {
        return Ok(());
    }
    let what = format!("slot {} of run {run} is gone, and with it what it has not applied", prepared.slot);
    let hint = format!("projh-bluegreen rollback {run}, and begin again");
    Err(Error::Refused(vec![Finding::server(CheckId::Slots, what, hint)]))
}

/// Whether an orchestrator's connections are there. Its advisory lock is not tried: to hold it for a
/// moment would turn a real run away.
async fn is_executed(session: &Session, run: &str) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
               AND starts_with(application_name, $1))";
    let row = session
        .query_one(sql, &[&ConnectionRole::prefix(Some(run))])
        .await
        .map_err(Error::doing("looking for an orchestrator"))?;
    Ok(row.get(0))
}
