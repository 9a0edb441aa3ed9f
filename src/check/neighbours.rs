//! Runs of tables that a foreign key connects with this one. Each swap would bind the key anew, so that the other run
//! could not undo its own.

use std::collections::BTreeMap;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::pg::{QName, RunObjects};
use crate::plan::Plan;

const NEIGHBOURS: &str = include_str!("../../sql/catalog/neighbours.sql");

pub(super) async fn check(
    plan: &Plan,
    session: &Session,
    subject: &Subject<'_>,
) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table.name;
    let ours: Vec<String> = plan.tables.iter().map(|table| table.table.to_string()).collect();
    let rows = session.query(NEIGHBOURS, &[&table.to_string(), &ours]).await;
    let mut runs = BTreeMap::new();
    for row in rows.doing("looking for runs of other tables")? {
        let publication: String = row.get(3);
        let Some(run) = RunObjects::run_of(&publication) else { continue };
        let key = (run.to_owned(), QName::new(row.get::<_, String>(0), row.get::<_, String>(1)).plain());
        runs.entry(key).or_insert_with(|| row.get::<_, String>(2));
    }
    let finding = |((run, other), key): ((String, String), String)| {
        let what = format!(
            "foreign key {key} connects it with {other}, which run {run} migrates: a swap of either would close the way \
             back of the other"
        );
        let hint = format!(
            "projh-bluegreen finish {run}, or projh-bluegreen rollback {run}, first; or put both tables into one plan"
        );
        Finding::table(CheckId::AnotherRun, table, what, hint)
    };
    Ok(runs.into_iter().map(finding).collect())
}
