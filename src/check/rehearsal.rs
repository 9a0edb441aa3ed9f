//! Green's DDL and the column expressions, tried in a transaction that is rolled back.

use super::{Finding, Subject};
use crate::error::Error;
use crate::pg;
use crate::pg::connect::Session;
use crate::pg::list;

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
            let what = format!("green cannot be made: {}", pg::describe(&error));
            let mend = format!("change the plan so that this statement works: {statement}");
            findings.push(Finding::table("rehearsal", table, what, mend));
            break;
        }
    }
    session.batch_execute("ROLLBACK").await.map_err(Error::doing("rehearsing"))?;
    Ok(findings)
}
