//! Whether the old table can be moved to `settings.archive` when the run is finished: found out before it begins, not
//! after a soak of days.

use std::collections::HashMap;

use super::{CheckId, Finding, Subject, rights};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::pg::{Ident, MAX_BYTES, QName};
use crate::plan::Plan;

pub(super) async fn check(
    plan: &Plan,
    session: &Session,
    subject: &Subject<'_>,
) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table.name;
    let Some(archive) = &plan.settings.archive else { return Ok(Vec::new()) };
    let archive = &archive.place(table).schema;
    if archive.as_str().len() > MAX_BYTES {
        let what = format!(
            "its archive {archive} has {} bytes, and PostgreSQL keeps {MAX_BYTES}",
            archive.as_str().len()
        );
        let hint = "archive: {schema: ...} with a shorter name";
        return Ok(vec![Finding::table(CheckId::Archive, table, what, hint)]);
    }
    let mut findings = Vec::new();
    if let Some((what, hint)) = rights::of_schema(session, archive, "the old table").await? {
        findings.push(Finding::table(CheckId::Archive, table, what, hint));
    }
    findings.extend(published(session, table, archive).await?);
    if let Some(design) = &subject.design {
        let taken = design.green.taken_in_archive(session, archive).await?;
        findings.extend(
            taken.into_iter().map(|taken| Finding::table(CheckId::Archive, table, taken.what, taken.hint)),
        );
    }
    Ok(findings)
}

/// A subscriber that is refreshed would copy the old table's rows.
async fn published(session: &Session, table: &QName, archive: &Ident) -> Result<Vec<Finding>, Error> {
    // From version 15 on; its entries depend on their publication and their schema.
    let sql = "SELECT quote_ident(p.pubname) FROM pg_publication p \
               JOIN pg_depend o ON o.refclassid = 'pg_publication'::regclass AND o.refobjid = p.oid \
               AND o.classid = to_regclass('pg_catalog.pg_publication_namespace') \
               JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.objid \
               AND d.refclassid = 'pg_namespace'::regclass \
               JOIN pg_namespace n ON n.oid = d.refobjid WHERE n.nspname = $1 ORDER BY 1";
    let rows = session.query(sql, &[&archive.as_str()]).await.doing("asking who publishes the archive")?;
    let finding = |row: &tokio_postgres::Row| {
        let publication: String = row.get(0);
        let what =
            format!("publication {publication} would publish the old table, as all of schema {archive}");
        let hint =
            format!("another schema; or alter publication {publication} drop tables in schema {archive}");
        Finding::table(CheckId::Archive, table, what, hint)
    };
    Ok(rows.iter().map(finding).collect())
}

/// Refusals for two tables of the plan that would take one name in the archive.
pub(super) fn check_together(plan: &Plan, subjects: &[Subject<'_>]) -> Vec<Finding> {
    let Some(archive) = &plan.settings.archive else { return Vec::new() };
    let mut first: HashMap<QName, &QName> = HashMap::new();
    let mut findings = Vec::new();
    for subject in subjects {
        let table = &subject.definition.table.name;
        for name in subject.design.iter().flat_map(|design| design.green.archived_names()) {
            let schema = archive.place(table).schema;
            let of_both = QName { schema: schema.clone(), name: name.clone() };
            if let Some(other) = first.insert(of_both, table).filter(|other| *other != table) {
                let what = format!(
                    "both it and {} would be archived with the name {name} in schema {schema}",
                    other.plain()
                );
                let hint = "rename one; or one archive for each schema of tables: archive: {schema: '\"{schema}_archive\"'}";
                findings.push(Finding::table(CheckId::Archive, table, what, hint));
                break;
            }
        }
    }
    findings
}
