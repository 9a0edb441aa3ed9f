//! What hangs on a table and is not carried over by this version: each thing by name.

use super::Finding;
use crate::error::Error;
use crate::hangs_on::{Blocker, BlockerKind};
use crate::pg::connect::Session;
use crate::pg::{Ident, QName};

/// Each blocker as a refusal.
pub(super) fn findings(table: &QName, blockers: Vec<Blocker>) -> Vec<Finding> {
    let finding = |blocker: Blocker| match run_of(&blocker) {
        Some(run) => {
            let what = format!("run {run} of another plan, or one that was left behind, migrates it");
            let mend = format!("end that run first: projh-bluegreen rollback {run}");
            Finding::table("another run", table, what, mend)
        }
        None => {
            let what = format!("{}: {}", blocker.kind, blocker.object);
            Finding::table("what hangs on it", table, what, blocker.mend)
        }
    };
    blockers.into_iter().map(finding).collect()
}

/// Whether green cannot even be rehearsed while this is there.
pub(super) fn spoils_rehearsal(blocker: &Blocker) -> bool {
    use BlockerKind as Kind;
    matches!(
        blocker.kind,
        Kind::ExclusionConstraint | Kind::DeferrableKey | Kind::NotPlainTable | Kind::UnvalidatedNotNull
    )
}

/// The run to which a publication belongs, if it is one of ours.
fn run_of(blocker: &Blocker) -> Option<&str> {
    let name = blocker.object.strip_prefix("projh_bg_");
    name.filter(|_| blocker.kind == BlockerKind::Publication)
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
        || "it has no table at all: connect to the right one with PGDATABASE or --database-url".to_owned(),
        |nearest| format!("did you mean {nearest}?"),
    );
    let sql = "SELECT current_database()::text";
    let row = session.query_one(sql, &[]).await.map_err(Error::doing("looking for a table"))?;
    let what = format!("there is no such table in database {}", Ident(row.get(0)));
    Ok(Finding::table("table", table, what, mend))
}
