//! Expressions of the plan whose result depends on more than the row.
//!
//! They are allowed, and are computed with this program's settings (TimeZone UTC, DateStyle ISO), alike in the copy,
//! for each change, and in the comparison.

use tokio_postgres::error::SqlState;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::Source;
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::pg::sql::joined;
use crate::pg::{QName, rolled_back};
use crate::plan::ColumnChange;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let found = rolled_back(session, "BEGIN", find(session, subject, design)).await;
    found.flatten().doing("reading the expressions")
}

/// Tries each expression in a generated column, where the server rejects what is not immutable.
async fn find(
    session: &Session,
    subject: &Subject<'_>,
    design: &LaneDesign,
) -> Result<Vec<Finding>, tokio_postgres::Error> {
    session.batch_execute(&joined(&design.green.homes.create())).await?;
    let table = &subject.definition.table.name;
    let trial = QName::new(design.green.homes.green.clone(), "projh_using");
    let mut findings = Vec::new();
    for column in &design.green.columns {
        let Source::Expression { sql, blue, .. } = &column.source else { continue };
        let Some(ColumnChange::Change { using: Some(_), .. }) = subject.plan.columns.get(blue) else {
            continue;
        };
        let made = format!(
            "SAVEPOINT projh_using; CREATE TABLE {trial} (LIKE {table}, projh_value {0} GENERATED ALWAYS AS (CAST(({sql}) AS {0})) STORED)",
            column.data_type
        );
        let made = session.batch_execute(&made).await;
        session.batch_execute("ROLLBACK TO SAVEPOINT projh_using").await?;
        // A subquery cannot be tried like this; other errors were found by the rehearsal.
        if made.is_err_and(|error| error.code() == Some(&SqlState::INVALID_OBJECT_DEFINITION)) {
            let what = format!(
                "`using` of column {blue} has a function or a cast that is not immutable: its result may depend on \
                 settings, and is computed with TimeZone UTC, DateStyle ISO and IntervalStyle postgres"
            );
            let hint = "name time zones in it (at time zone 'Area/City'), or make sure that these settings are meant";
            findings.push(Finding::table(CheckId::Using, table, what, hint).into_note());
        }
    }
    Ok(findings)
}
