//! Before clients get views of the old shape: whether the functions that these call know the keys of the plan.

use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::finding::{CheckId, Finding};
use crate::hangs_on::Green;
use crate::pg::{self, rolled_back};
use crate::phase::steps::SEARCH_PATH;
use crate::run::Run;

/// Calls them once for each key.
///
/// # Errors
/// [`Error::Refused`] with those that fail.
pub(super) async fn expect_keys(run: &Run<'_>) -> Result<(), Error> {
    let prepared = crate::phase::prepared(run)?;
    let (mut calls, mut findings) = (Vec::new(), Vec::new());
    for green in prepared.greens() {
        for call in green.calls_of_view() {
            if !calls.iter().any(|(_, known)| *known == call) {
                calls.push((green, call));
            }
        }
    }
    if calls.is_empty() {
        return Ok(());
    }
    let session = run.connect("steps").await?;
    let doing = "trying the functions of the views of the old shape";
    for (green, call) in calls {
        let begin = format!("BEGIN; SET LOCAL statement_timeout = '5s'; {SEARCH_PATH}");
        let sql = format!("SELECT {call}");
        let Err(error) = rolled_back(&session, &begin, session.batch_execute(&sql)).await.doing(doing)?
        else {
            continue;
        };
        // Clients may have what this session has not: a privilege, or a key that each session gives.
        let is_of_session = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE];
        if error.code().is_some_and(|code| is_of_session.contains(code)) {
            let text = format!(
                "it could not be tried whether clients of the views of the old shape have their keys: {call} fails here"
            );
            run.cx.tell(&Event::Notice { text });
        } else if error.is_closed() {
            return Err(error).doing(doing);
        } else {
            findings.push(refused(green, &call, &error));
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Refused(findings)) }
}

fn refused(green: &Green, call: &str, error: &tokio_postgres::Error) -> Finding {
    let what = format!(
        "clients of the view of the old shape could not use it after the swap: {call} fails: {}",
        pg::describe(error)
    );
    let hint = "load the plan's keys where these functions look for them (sql/project-h/phi.sql: table phi.keys), then \
                `projh-bluegreen execute` goes on";
    Finding::table(CheckId::Encryption, green.live(), what, hint)
}
