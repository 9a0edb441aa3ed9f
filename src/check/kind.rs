//! What the plan's table is: an ordinary table of the user's, or something else with that name.

use postgres_types::ToSql;
use tokio_postgres::Row;

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::pg::{Ident, QName, RunObjects};

/// Why this is not a table that can be migrated; `None` if it is one.
pub(super) async fn check(session: &Session, table: &QName) -> Result<Option<Finding>, Error> {
    let refusal = |what: &str, hint: &str| Ok(Some(Finding::table(CheckId::Table, table, what, hint)));
    match table.schema.as_str() {
        "pg_catalog" | "information_schema" | "pg_toast" => {
            return refusal("it belongs to PostgreSQL itself", "name a table of your own");
        }
        schema if RunObjects::is_schema(schema) => {
            return refusal("it belongs to this program's runs", "name the table that clients use");
        }
        schema if schema == "pg_temp" || schema.starts_with("pg_temp_") => {
            return refusal("a temporary table belongs to its session alone", "name a permanent table");
        }
        _ => {}
    }
    let sql = "SELECT c.relkind::text, \
               (SELECT format('%I.%I', n.nspname, p.relname) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent \
               JOIN pg_namespace n ON n.oid = p.relnamespace WHERE i.inhrelid = c.oid AND c.relispartition) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let params: [&(dyn ToSql + Sync); 2] = [&table.schema.as_str(), &table.name.as_str()];
    let found = session.query_opt(sql, &params).await.doing("looking for a table")?;
    let Some(row) = found else { return missing(session, table).await.map(Some) };
    Ok(of(&row, table))
}

fn of(row: &Row, table: &QName) -> Option<Finding> {
    let kind: String = row.get(0);
    if let Some(parent) = row.get::<_, Option<String>>(1) {
        let what = format!("it is a partition of {parent}, which cannot be migrated by itself");
        let hint = format!("alter table {parent} detach partition {}, or name another table", table.plain());
        return Some(Finding::table(CheckId::Table, table, what, hint));
    }
    let what = match kind.as_str() {
        "r" | "p" => return None,
        "v" => "a view",
        "m" => "a materialized view",
        "f" => "a foreign table",
        "S" => "a sequence",
        "i" | "I" => "an index",
        "c" => "a composite type",
        _ => "not a table",
    };
    let what = format!("it is {what}, and only tables can be migrated");
    Some(Finding::table(CheckId::Table, table, what, "name a table"))
}

/// The refusal if nothing has that name: its hint proposes the table of that name in another schema, or of a similar
/// one.
async fn missing(session: &Session, table: &QName) -> Result<Finding, Error> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition \
               AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT LIKE 'projh\\_b%' ORDER BY 1, 2";
    let rows = session.query(sql, &[]).await.doing("looking for a table")?;
    let tables: Vec<QName> =
        rows.iter().map(|row| QName::new(row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    let hint = match nearest(table, &tables) {
        Some(near) => format!("did you mean {}?", near.plain()),
        None if tables.is_empty() => {
            "that database has no tables: connect to the right one with PGDATABASE or --database-url"
                .to_owned()
        }
        None => {
            "correct the name, or connect to the right database; psql's \\dt *.* lists the tables".to_owned()
        }
    };
    let row = session.query_one("SELECT current_database()::text", &[]).await;
    let database = row.doing("looking for a table")?.get(0);
    let what = format!("there is no such table in database {}", Ident(database));
    Ok(Finding::table(CheckId::Table, table, what, hint))
}

/// The table with the same name in another schema, or the one with the most similar name.
fn nearest<'a>(wanted: &QName, tables: &'a [QName]) -> Option<&'a QName> {
    let name = |table: &QName| table.name.as_str().to_lowercase();
    let likeness = |table: &QName| {
        let schema = strsim::jaro_winkler(table.schema.as_str(), wanted.schema.as_str());
        // The name counts; the schema decides between equals.
        strsim::jaro_winkler(&name(table), &name(wanted)) + schema / 100.0
    };
    let near = tables.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(near) > 0.62).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_another_schema_or_with_a_slip_and_not_made_up() {
        let tables = [QName::new("app", "visits"), QName::new("other", "visits"), QName::new("app", "bills")];
        let near = |schema: &str, name: &str| nearest(&QName::new(schema, name), &tables);
        assert_eq!(near("others", "visits"), Some(&tables[1]));
        assert_eq!(near("app", "vists"), Some(&tables[0]));
        assert_eq!(near("app", "Bill"), Some(&tables[2]));
        assert_eq!(near("app", "appointments"), None);
    }
}
