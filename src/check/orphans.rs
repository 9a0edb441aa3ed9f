//! Rows that point at no row although their foreign key is marked valid: after the swap green's key could not be
//! validated.

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::orphans;
use crate::pg::Ident;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table.name;
    let counted = orphans::count(session, table, &subject.definition.table.acting(), None).await;
    let mut findings = Vec::new();
    for found in counted.doing("counting rows that point at no row")? {
        let (key, there) = (Ident(found.key.clone()), &found.references);
        let finding = match found.rows {
            Some(0) => continue,
            Some(rows) => {
                let what = format!(
                    "foreign key {key} is marked valid, but {rows} {} of {there}",
                    if rows == 1 { "row points at no row" } else { "rows point at no row" }
                );
                let hint = format!(
                    "correct or delete them (select fk.* {}); or mark the key as not valid: alter table \
                     {table} drop constraint {key}, add constraint {key} {} not valid",
                    found.select, found.definition
                );
                Finding::table(CheckId::ForeignKeys, table, what, hint)
            }
            None => {
                let what = format!(
                    "whether every row has its row in {there} (foreign key {key}) cannot be checked; a row without \
                     one would be found after the swap"
                );
                let hint = format!(
                    "grant select on {there} to {}, to have it checked now",
                    subject.definition.table.owner
                );
                Finding::table(CheckId::ForeignKeys, table, what, hint).into_note()
            }
        };
        findings.push(finding);
    }
    Ok(findings)
}
