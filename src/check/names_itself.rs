//! Whether anything of green refers by OID to blue, or to its row type, an index, a materialized view, the sequence of an identity: after
//! the swap it would still use the table that was retired, and that table could not be dropped.
//!
//! Invariant: the server is asked about objects that exist, in the middle of a rehearsal.

use crate::finding::{CheckId, Finding};
use crate::hangs_on::{Green, late_defaults, late_policies};
use crate::pg::Ident;
use crate::pg::connect::Session;

const GREEN_ON_BLUE: &str =
    concat!(include_str!("../../sql/catalog/bound.sql"), include_str!("../../sql/catalog/green_on_blue.sql"));

/// Refusals for what of green, as far as it has been made, refers to blue.
pub(super) async fn check(session: &Session, green: &Green) -> Result<Vec<Finding>, tokio_postgres::Error> {
    let defaults: Vec<&str> = late_defaults(green).map(|(column, _)| column.as_str()).collect();
    let policies: Vec<&str> = late_policies(green).map(|policy| policy.name.as_str()).collect();
    let rows = session
        .query(GREEN_ON_BLUE, &[&green.blue.table.oid, &green.homes.green.as_str(), &defaults, &policies])
        .await?;
    let finding = |row: &tokio_postgres::Row| {
        let (kind, name, named) = (row.get::<_, &str>(0), Ident(row.get(1)), row.get::<_, &str>(2));
        let is_check = |name: &Ident| green.blue.checks.iter().any(|check| check.name == *name);
        let subject = match kind {
            "constraint" if is_check(&name) => format!("CHECK {name}"),
            "default" => format!("the default of column {name}"),
            "object" => name.as_str().to_owned(),
            _ => format!("{kind} {name}"),
        };
        let what = format!("{subject} names {named}, which the swap retires");
        Finding::table(CheckId::NamesItself, green.live(), what, hint(kind, &name, green))
    };
    Ok(rows.iter().map(finding).collect())
}

/// What to type, depending on whether blue has the object or the plan adds it.
fn hint(kind: &str, name: &Ident, green: &Green) -> String {
    let (blue, table) = (&green.blue, green.live().plain());
    let column = green.columns.iter().find(|column| column.name == *name).and_then(|column| column.blue());
    let again = "and set it again after the swap";
    match (kind, column) {
        ("default", Some(column)) => {
            format!("alter table {table} alter column {column} drop default; {again}")
        }
        ("generated column", Some(column)) => {
            format!("write in the plan: columns: {{{}: drop}}", column.in_plan())
        }
        ("constraint", _) if blue.checks.iter().any(|check| check.name == *name) => {
            format!("alter table {table} drop constraint {name}; and add it again after the swap")
        }
        ("trigger", _) => format!("drop trigger {name} on {table}; and create it again after the swap"),
        ("policy", _) => format!("drop policy {name} on {table}; and create it again after the swap"),
        ("index", _) if blue.indexes.iter().any(|index| index.name == *name) => {
            format!("write in the plan: drop_indexes: [{}]", name.in_plan())
        }
        _ => "leave it out of the plan, and add it after the swap".to_owned(),
    }
}
