//! What a preview is about: a run that has not begun, or the rest of one that has.

use crate::context::{Context, Forward};
use crate::error::{Doing, Error};
use crate::finding::{CheckId, Finding};
use crate::hangs_on::compatibility_steps;
use crate::journal::{self, JournalError};
use crate::lane::{Ends, Lane};
use crate::lifecycle::{Prepared, Progress, Way};
use crate::pg::connect::Session;
use crate::pg::{Colour, ConnectionRole};
use crate::phase::in_place::{self, Build};
use crate::phase::locks::Limits;
use crate::phase::{prepare, steps, stream, swap};
use crate::plan::{self, Plan, Step, StepTime};

use super::NEW_RUN;

/// A run and its state.
pub(super) struct Subject<'a> {
    pub(super) cx: &'a Context,
    /// What `execute` would carry out.
    pub(super) forward: &'a Forward,
    /// The short id of the run in progress; `None` for a new one.
    pub(super) run: Option<String>,
    /// Its id, or the placeholder for that of a new run.
    pub(super) id: String,
    /// An orchestrator is executing it at this moment.
    pub(super) is_live: bool,
    /// The fold of its facts; empty for a new run.
    pub(super) progress: Progress,
    /// What it has made, or will make.
    pub(super) prepared: Prepared,
    /// What builds the indexes in place, for each of those.
    pub(super) in_place: Vec<Build>,
    /// The lanes; empty once they are swapped.
    pub(super) lanes: Vec<Lane>,
    /// The SQL that creates the journal; empty if there is one.
    pub(super) journal: Vec<&'static str>,
    /// How long to wait for locks.
    pub(super) limits: Limits,
    /// The server's version in the form of `server_version_num`.
    pub(super) version: u32,
}

impl<'a> Subject<'a> {
    /// The steps of this time that are left to execute or undo.
    pub(super) fn steps(&self, when: StepTime, way: Way) -> Vec<Step> {
        let done = &self.progress.steps;
        let is_left = |step: &Step| step.when == when && (way == Way::Down || done.lacks(&step.name, way));
        let greens = self.prepared.lanes.iter().map(|lane| &lane.green);
        let all = self.forward.plan.steps.iter().cloned().chain(compatibility_steps(greens));
        let mut steps: Vec<Step> = all.filter(is_left).collect();
        if way == Way::Down {
            steps.reverse();
        }
        steps
    }

    /// The statements of the swap whose text is known beforehand.
    pub(super) fn swap(&self) -> swap::Statements {
        let locked = steps::locked(&self.steps(StepTime::InSwap, Way::Up), Way::Up);
        let settings = &self.forward.settings.now().swap;
        swap::Statements::of(&self.prepared, &self.id, (Colour::Green, &locked), settings, &self.limits)
    }

    pub(super) async fn find(
        cx: &'a Context,
        forward: &'a Forward,
        session: &Session,
    ) -> Result<Self, Error> {
        let (run, mut progress) = under_way(&forward.plan, session).await?;
        let is_live = match &run {
            Some(run) => is_executed(session, run).await?,
            None => false,
        };
        if !is_live {
            // As when an orchestrator takes the run over: what has changed meanwhile was not tracked.
            progress.verified = None;
            progress.caught_up = None;
        }
        if let Some(run) = &run {
            let changed = forward.settings.read(session, run).await;
            changed.doing("reading what was set")?.iter().for_each(|event| cx.tell(event));
            find_slot(session, run, &progress).await?;
        }
        let id = run.clone().unwrap_or_else(|| NEW_RUN.to_owned());
        let prepared = match progress.prepared.clone() {
            Some(prepared) => prepared,
            None => prepare::designed(session, &forward.plan.tables, &id).await?,
        };
        let mut in_place = Vec::new();
        for table in &forward.plan.in_place {
            let relations = in_place::relations(session, &table.table).await?;
            in_place.extend(table.indexes.iter().flat_map(|index| in_place::builds(&relations, index)));
        }
        let mut lanes = Vec::new();
        if progress.swapped.is_none() {
            for (number, design) in prepared.lanes.iter().enumerate() {
                let lane = Lane::load(session, number, &Ends::of(design)).await;
                lanes.push(lane.doing("reading the tables' columns")?);
            }
        }
        let journal = journal::unmade(session).await?;
        let limits = Limits::of(session).await.doing("reading deadlock_timeout")?;
        let version = session.server_version_num();
        Ok(Self {
            cx,
            forward,
            run,
            id,
            is_live,
            progress,
            prepared,
            in_place,
            lanes,
            journal,
            limits,
            version,
        })
    }

    /// Whether green already exists.
    pub(super) fn has_green(&self) -> bool {
        self.progress.prepared.is_some()
    }
}

/// The plan's unfinished run, read from the journal without locking it.
async fn under_way(plan: &Plan, session: &Session) -> Result<(Option<String>, Progress), Error> {
    let ours = match journal::latest(session, &plan.name, false).await {
        // The checks report what is missing.
        Err(error) if error.is_forbidden() => return Ok((None, Progress::default())),
        run => run?.filter(|run| run.found.under_way),
    };
    let Some(ours) = ours else { return Ok((None, Progress::default())) };
    let json = serde_json::to_value(plan)
        .map_err(|source| JournalError::Unwritable { run: plan.name.clone(), source })?;
    let changes = plan::changes(&ours.found.plan, &json);
    if !changes.is_empty() {
        return Err(JournalError::PlanChanged { run: ours.found.run, changes }.into());
    }
    if let Some(why) = ours.progress.only_rollback() {
        return Err(JournalError::OnlyRollback { run: ours.found.run, why }.into());
    }
    Ok((Some(ours.found.run), ours.progress))
}

/// Without the slot that it needs, a run can only be rolled back.
async fn find_slot(session: &Session, run: &str, progress: &Progress) -> Result<(), Error> {
    let prepared =
        progress.prepared.as_ref().filter(|_| progress.slot.is_some() && progress.swapped.is_none());
    let Some(prepared) = prepared else { return Ok(()) };
    if stream::is_there(session, &prepared.slot).await? {
        return Ok(());
    }
    let what = format!(
        "slot {} of run {run} no longer exists, and with it the changes that were not applied",
        prepared.slot
    );
    let hint = format!("projh-bluegreen rollback {run}, and begin again");
    Err(Error::Refused(vec![Finding::server(CheckId::Slots, what, hint)]))
}

/// Whether an orchestrator's connections exist. Its advisory lock is not tried: holding it for a moment would turn
/// a real run away.
async fn is_executed(session: &Session, run: &str) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() \
               AND starts_with(application_name, $1))";
    let row = session
        .query_one(sql, &[&ConnectionRole::prefix(Some(run))])
        .await
        .doing("looking for an orchestrator")?;
    Ok(row.get(0))
}
