//! What hangs on a table and is not carried over by this version: each thing by name.

use super::{Finding, Subject};
use crate::error::Error;
use crate::hangs_on;
use crate::pg::QName;
use crate::pg::connect::Session;

pub(super) async fn check(session: &Session, subject: &Subject<'_>) -> Result<Vec<Finding>, Error> {
    let table = &subject.definition.table.name;
    let blockers = hangs_on::blockers(session, table).await?;
    let finding = |blocker: hangs_on::Blocker| {
        let what = format!("{}: {}", blocker.kind, blocker.object);
        Finding::table("what hangs on it", table, what, blocker.mend)
    };
    Ok(blockers.into_iter().map(finding).collect())
}

/// There is no such table: something else of that name, or a name like it.
pub(super) async fn no_table(session: &Session, table: &QName) -> Result<Finding, Error> {
    let sql = "SELECT CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table' \
               WHEN 'S' THEN 'a sequence' WHEN 'i' THEN 'an index' ELSE 'not a table' END \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let params: [&(dyn postgres_types::ToSql + Sync); 2] = [&table.schema.as_str(), &table.name.as_str()];
    let there = session.query_opt(sql, &params).await.map_err(Error::doing("looking for a table"))?;
    if let Some(row) = there {
        let what = format!("it is {}, and only tables can be migrated", row.get::<_, String>(0));
        return Ok(Finding::table("table", table, what, "name a table"));
    }
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT LIKE 'projh\\_b%'";
    let rows = session.query(sql, &[]).await.map_err(Error::doing("looking for a table"))?;
    let wanted = table.plain();
    let nearest = rows.iter().map(|row| row.get::<_, String>(0)).max_by(|left, right| {
        strsim::jaro_winkler(left, &wanted).total_cmp(&strsim::jaro_winkler(right, &wanted))
    });
    let mend = nearest.map_or_else(
        || "there is no table in this database; is it the right one?".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    Ok(Finding::table("table", table, "there is no such table, or this role may not see it", mend))
}
