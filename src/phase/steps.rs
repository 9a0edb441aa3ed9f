//! The plan's steps: SQL around the swap, executed at its time, and undone in reverse order by a rollback.
//!
//! A step is one transaction with its fact. One with a statement that cannot be executed in a transaction has a fact
//! before each of its statements, so that a resumed run knows which of them may have been interrupted. The steps of the
//! swap itself are in its transaction (`swap/around.rs`).

mod alone;
pub(crate) mod trial;

pub(super) use alone::of_others;

use tokio_postgres::error::ErrorPosition;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::journal::Journal;
use crate::lifecycle::{Fact, Phase, Way};
use crate::pg::connect::Session;
use crate::pg::sql::LockMode;
use crate::pg::sql::script::{self as words, Locks};
use crate::pg::{ConnectionRole, QName};
use crate::plan::{Script, Step, StepTime};
use crate::run::Run;

use super::check_fingerprints;
use super::locks::Patience;

/// The `search_path` of steps: the default of PostgreSQL, whatever the role's is.
pub(crate) const SEARCH_PATH: &str = "SET LOCAL search_path = \"$user\", public";
/// That of all else that a session of the program executes.
pub(super) const OWN_PATH: &str = "SET LOCAL search_path = pg_catalog";

/// Where a step is executed.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) cx: &'a Context,
    pub(super) journal: &'a Journal,
    /// The phase that it is part of.
    pub(super) phase: Phase,
    /// The run, if the definition of its tables must not change meanwhile.
    pub(super) guarded: Option<&'a Run<'a>>,
}

impl<'a> Around<'a> {
    /// While the tables follow each other, a step must not change their definition.
    pub(super) fn of(run: &'a Run<'a>, phase: Phase) -> Self {
        let (live_is_blue, is_reversible, is_prepared) = {
            let progress = run.journal.progress();
            (progress.swapped.is_none(), progress.is_reversible(), progress.prepared.is_some())
        };
        let follows = is_prepared && (live_is_blue || is_reversible);
        Self { cx: run.cx, journal: &run.journal, phase, guarded: Some(run).filter(|_| follows) }
    }

    /// Executes, or undoes, all steps of this time that are not so already.
    pub(super) async fn all(&self, when: StepTime, way: Way) -> Result<(), Error> {
        self.each(&left(self.journal, when, way), way).await
    }

    /// Executes, or undoes, those of these steps that are not so already.
    pub(super) async fn each(&self, steps: &[Step], way: Way) -> Result<(), Error> {
        let is_left = |step: &&Step| self.journal.progress().steps.lacks(&step.name, way);
        let steps: Vec<&Step> = steps.iter().filter(is_left).collect();
        if steps.is_empty() {
            return Ok(());
        }
        let role = ConnectionRole::of_run(self.journal.run(), "steps").to_string();
        let session = self.cx.target.connect(&role, &[]).await?;
        for (number, step) in (1..).zip(&steps) {
            let Some(script) = script(step, way) else { continue };
            let is_in_place = self.journal.progress().in_place.iter().any(|built| built.name == step.name);
            if way == Way::Down
                && is_in_place
                && let Some(up) = step.up.statements.first()
                && let Some(what) = of_others(&session, &up.sql).await?
            {
                self.cx.tell(&Event::Notice { text: format!("{what}: it is left alone") });
                self.journal.record(Fact::StepDone { step: step.name.clone(), way }).await?;
                continue;
            }
            if step.transactional {
                self.in_transaction(&session, step, script, way).await?;
            } else {
                alone::execute(self, step, script, way).await?;
            }
            let (what, of) = (doing(step, way), steps.len());
            self.cx.tell(&Event::Step { phase: self.phase, what, done: number, of });
        }
        Ok(())
    }

    async fn in_transaction(
        &self,
        session: &Session,
        step: &Step,
        script: &Script,
        way: Way,
    ) -> Result<(), Error> {
        let what = doing(step, way);
        let texts = std::iter::once(SEARCH_PATH).chain(script.statements.iter().map(|one| one.sql.as_str()));
        let texts: Vec<&str> = texts.collect();
        let patience = Patience::of(self.cx, self.journal);
        if let Err((number, error)) = patience.each(session, &texts, &what).await {
            let _ = session.batch_execute("ROLLBACK").await;
            return Err(failed(step, way, number.checked_sub(1), error));
        }
        session.batch_execute(OWN_PATH).await.doing(what)?;
        if let Some(run) = self.guarded
            && let Err(Error::SourceChanged { table, what }) = check_fingerprints(run, session).await
        {
            session.batch_execute("ROLLBACK").await.doing("undoing a step")?;
            return Err(Error::Step {
                step: step.name.clone(),
                why: format!(
                    "it would change {table} while the tables follow each other: {}",
                    what.join(", ")
                ),
                place: script.file.clone().unwrap_or_else(|| "the plan's text".to_owned()),
                way,
                hint: None,
            });
        }
        Ok(self.journal.commit(session, Fact::StepDone { step: step.name.clone(), way }).await?)
    }
}

/// What is left to execute of a time, or to undo, in the order in which that is done.
pub(super) fn left(journal: &Journal, when: StepTime, way: Way) -> Vec<Step> {
    let mut steps = journal.steps();
    let progress = journal.progress();
    if way == Way::Down {
        // What is to be built in place is found in the catalog; what was, in the journal.
        steps.extend(progress.in_place.iter().cloned());
    }
    steps.retain(|step| step.when == when && progress.steps.lacks(&step.name, way));
    steps.retain(|step| script(step, way).is_some());
    if way == Way::Down {
        steps.reverse();
    }
    steps
}

/// What is executed one way or the other.
pub(crate) fn script(step: &Step, way: Way) -> Option<&Script> {
    match way {
        Way::Up => Some(&step.up),
        Way::Down => step.down.as_ref(),
    }
}

/// The relations that statements of these steps lock against clients, as far as their words show them.
pub(crate) fn locked(steps: &[Step], way: Way) -> Vec<(QName, LockMode)> {
    let mut locked: Vec<(QName, LockMode)> = Vec::new();
    let scripts = steps.iter().filter_map(|step| script(step, way));
    for statement in scripts.flat_map(|script| &script.statements) {
        if let Locks::Of(relation, mode) = words::locks(&statement.sql)
            && mode.holds_up_writes()
            && !locked.iter().any(|(other, _)| *other == relation)
        {
            locked.push((relation, mode));
        }
    }
    locked
}

/// What a step is called while it is executed.
pub(crate) fn doing(step: &Step, way: Way) -> String {
    match way {
        Way::Up => format!("step `{}`", step.name),
        Way::Down => format!("undo step `{}`", step.name),
    }
}

/// The error of a step's statement, by its number, with its place in the script. What may pass is left as it is.
pub(super) fn failed(step: &Step, way: Way, statement: Option<usize>, error: Error) -> Error {
    let of_script = script(step, way).zip(statement);
    let found = of_script.and_then(|(script, number)| Some((script, script.statements.get(number)?)));
    match (error, found) {
        (Error::Postgres { source, .. }, Some((script, statement))) if !crate::pg::is_transient(&source) => {
            let at = match source.as_db_error().and_then(|error| error.position()) {
                Some(ErrorPosition::Original(at)) => (*at as usize).saturating_sub(1),
                _ => 0,
            };
            let place = script.place(statement, at);
            Error::Step { step: step.name.clone(), place, why: crate::pg::describe(&source), way, hint: None }
        }
        (error, _) => error,
    }
}
