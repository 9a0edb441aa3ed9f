//! Rows that point at no row although their foreign key is marked valid: after the swap the key, of the table or of another
//! one that references it, could not be validated.

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::orphans;
use crate::pg::connect::Session;
use crate::pg::{Ident, QName};
use crate::plan::Plan;

pub(super) async fn check(
    plan: &Plan,
    session: &Session,
    subject: &Subject<'_>,
) -> Result<Vec<Finding>, Error> {
    let (own, blue) = (&subject.definition.table, &subject.definition);
    let doing = "counting rows that point at no row";
    let mut counted = Vec::new();
    for found in orphans::count(session, &own.name, &own.acting(), None).await.doing(doing)? {
        counted.push((&own.name, &own.owner, found));
    }
    for leaf in blue.partitions.iter().filter(|partition| partition.has_keys) {
        let found = orphans::count(session, &leaf.name, &own.acting(), None).await.doing(doing)?;
        counted.extend(found.into_iter().map(|found| (&leaf.name, &own.owner, found)));
    }
    let is_lane = |table: &QName| plan.tables.iter().any(|other| other.table == *table);
    for key in blue.inbound.iter().filter(|key| key.validated && !is_lane(&key.child)) {
        let found = orphans::count(session, &key.child, &key.acting(), Some(key.name.as_str())).await;
        counted.extend(found.doing(doing)?.into_iter().map(|found| (&key.child, &key.owner, found)));
    }
    let mut findings = Vec::new();
    for (table, owner, found) in counted {
        let (key, there) = (Ident(found.key.clone()), &found.references);
        let finding = match found.rows {
            Some(0) => continue,
            Some(rows) => {
                let on = if *table == own.name { String::new() } else { format!(" on {}", table.plain()) };
                let what = format!(
                    "foreign key {key}{on} is marked valid, but {rows} {} of {there}",
                    if rows == 1 { "row points at no row" } else { "rows point at no row" }
                );
                let hint = format!(
                    "correct or delete them (select fk.* {}); or mark the key as not valid: alter table \
                     {table} drop constraint {key}, add constraint {key} {} not valid",
                    found.select, found.definition
                );
                Finding::table(CheckId::ForeignKeys, &own.name, what, hint)
            }
            None => {
                let what = format!(
                    "whether every row has its row in {there} (foreign key {key}) cannot be checked; a row without \
                     one would be found after the swap"
                );
                let hint = format!("grant select on {there} to {owner}, to have it checked now");
                Finding::table(CheckId::ForeignKeys, &own.name, what, hint).into_note()
            }
        };
        findings.push(finding);
    }
    Ok(findings)
}
