//! The plan's steps, parsed by the server: what it cannot read would stop the run on its way. Names are not looked up,
//! because a step may make what the next one uses.

use tokio_postgres::error::{ErrorPosition, SqlState};

use super::{CheckId, Finding};
use crate::error::Error;
use crate::lifecycle::Way;
use crate::pg::connect::Session;
use crate::phase::steps;
use crate::plan::{Plan, StepTime};

pub(super) async fn check(plan: &Plan, session: &Session) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for step in &plan.steps {
        for way in [Way::Up, Way::Down] {
            let Some(script) = steps::script(step, way) else { continue };
            for statement in &script.statements {
                let Err(error) = session.prepare(&statement.sql).await else { continue };
                if error.code() != Some(&SqlState::SYNTAX_ERROR) {
                    continue;
                }
                let at = match error.as_db_error().and_then(|error| error.position()) {
                    Some(ErrorPosition::Original(at)) => (*at as usize).saturating_sub(1),
                    _ => 0,
                };
                let (name, place) = (&step.name, script.place(statement, at));
                let what =
                    format!("step `{name}` cannot be parsed at {place}: {}", crate::pg::describe(&error));
                findings.push(Finding::server(CheckId::Steps, what, "correct it"));
            }
        }
        if step.down.is_none() && step.when != StepTime::Finish {
            let what = format!("step `{}` has no way back: a rollback leaves what it has done", step.name);
            findings.push(
                Finding::server(CheckId::Steps, what, "give it `down`, if that is not wanted").into_note(),
            );
        }
    }
    Ok(findings)
}
