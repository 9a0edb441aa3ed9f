//! Green's DDL and the column expressions, tried in a transaction that is rolled back.

use tokio_postgres::error::SqlState;

use super::{Finding, Subject};
use crate::error::Error;
use crate::hangs_on::{Green, nearest};
use crate::pg;
use crate::pg::connect::Session;
use crate::pg::{Ident, list};

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let Some(design) = &subject.design else { return Ok(Vec::new()) };
    let green = &design.green;
    let (columns, expressions) = green.select_list();
    let mut statements = green.homes.create();
    statements.extend(green.create());
    statements.extend(green.rehearsal());
    // Parsed and planned, not run: names and types have to fit, for the copy's rows as for the
    // stream's, which come from no table.
    let table = &subject.definition.table.name;
    for rows in [format!("{table}"), format!("unnest(NULL::{table}[]) AS s")] {
        statements.push(format!(
            "EXPLAIN INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {rows}",
            green.at_home(),
            list(&columns),
            list(&expressions),
        ));
    }
    session.batch_execute("BEGIN").await.map_err(Error::doing("rehearsing"))?;
    let mut findings = Vec::new();
    for statement in &statements {
        if let Err(error) = session.batch_execute(statement).await {
            if error.is_closed() {
                return Err(Error::doing("rehearsing")(error));
            }
            let what = format!("green cannot be made: {}", words(&error, statement));
            let mend = format!("change the plan so that this statement works: {statement}");
            let mend =
                near(&error, green).map_or(mend.clone(), |near| format!("did you mean {near}? Or {mend}"));
            findings.push(Finding::table("rehearsal", table, what, mend));
            break;
        }
    }
    session.batch_execute("ROLLBACK").await.map_err(Error::doing("rehearsing"))?;
    Ok(findings)
}

/// What the server said. A bound is the plan's own literal, so the server's words on it hold no row's
/// value, which those on other values may.
fn words(error: &tokio_postgres::Error, statement: &str) -> String {
    let of_bound = statement.contains(" PARTITION OF ") && statement.starts_with("CREATE TABLE");
    match error.as_db_error().filter(|db| of_bound && db.code().code().starts_with("22")) {
        Some(db) => format!("a bound does not fit the partition key: {}", db.message()),
        None => pg::describe(error),
    }
}

/// The column that was probably meant, where one was not found: the name in quotes is the one that is not.
fn near<'a>(error: &tokio_postgres::Error, green: &'a Green) -> Option<&'a Ident> {
    let db = error.as_db_error().filter(|db| *db.code() == SqlState::UNDEFINED_COLUMN)?;
    let wrong = Ident::from(db.message().split('"').nth(1)?);
    nearest(&wrong, green.columns.iter().map(|column| &column.name))
}
