//! The plan's throttle query: executed every second of a run, where nobody would notice that it fails.

use tokio_postgres::types::Type;

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg;
use crate::pg::connect::Session;
use crate::plan::Plan;

pub(super) async fn check(plan: &Plan, session: &Session) -> Result<Vec<Finding>, Error> {
    match &plan.settings.throttle.query {
        Some(query) => query_of(session, query).await,
        None => Ok(Vec::new()),
    }
}

/// A finding if a throttle query cannot be executed, or does not return a boolean.
///
/// # Errors
/// If the connection was lost.
pub(crate) async fn query_of(session: &Session, query: &str) -> Result<Vec<Finding>, Error> {
    let refused = |what: String| {
        let hint = "its first column must be boolean, and its tables named with their schemas: a run has no search_path";
        Ok(vec![Finding::server(CheckId::Throttle, what, hint)])
    };
    match session.prepare(query).await {
        Ok(statement) if statement.columns().first().is_some_and(|column| *column.type_() == Type::BOOL) => {
            Ok(Vec::new())
        }
        Ok(_) => refused("settings.throttle.query does not return a boolean".to_owned()),
        Err(error) if error.is_closed() => Err(error).doing("trying the throttle query"),
        Err(error) => {
            refused(format!("settings.throttle.query cannot be executed: {}", pg::describe(&error)))
        }
    }
}
