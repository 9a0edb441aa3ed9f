//! What of green names blue by OID, asked while green is rehearsed: after the swap it would name the retired table, and
//! keep `finish` from dropping it.

use super::{Finding, Subject};
use crate::error::Error;
use crate::lifecycle::LaneDesign;
use crate::pg::Ident;
use crate::pg::connect::Session;

const GREEN_ON_BLUE: &str = include_str!("../../sql/catalog/green_on_blue.sql");

pub(super) async fn check(
    session: &Session,
    subject: &Subject<'_>,
    design: &LaneDesign,
) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table;
    let green = design.green.at_home().to_string();
    let green = session.query_one("SELECT to_regclass($1)::oid", &[&green]).await;
    let green: Option<u32> = green.map_err(Error::doing("rehearsing"))?.get(0);
    let rows = session.query(GREEN_ON_BLUE, &[&table.oid, &green]).await;
    let finding = |row: &tokio_postgres::Row| {
        let (kind, name, names): (&str, Ident, &str) = (row.get(0), Ident(row.get(1)), row.get(2));
        let of = table.name.plain();
        let (who, mend) = match kind {
            "default" => (
                format!("the default of column {name}"),
                format!("alter table {of} alter column {name} drop default; and set it again after the swap"),
            ),
            "check" => (
                format!("CHECK {name}"),
                format!("alter table {of} drop constraint {name}; and add it again after the swap"),
            ),
            "policy" => (
                format!("policy {name}"),
                format!("drop policy {name} on {of}; and create it again after the swap"),
            ),
            "index" => {
                (format!("index {name}"), format!("write in the plan: drop_indexes: [{}]", name.as_str()))
            }
            _ => {
                (format!("column {name}"), format!("write in the plan: columns: {{{}: drop}}", name.as_str()))
            }
        };
        let what = format!("{who} names {names}, which the swap retires");
        Finding::table("names itself", &table.name, what, mend)
    };
    Ok(rows.map_err(Error::doing("rehearsing"))?.iter().map(finding).collect())
}
