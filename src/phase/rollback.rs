//! Roll back before the swap: everything that the run made is dropped, and blue is as it was.

use tokio_postgres::Client;

use super::settle::{drop_publication, patiently};
use crate::error::Error;
use crate::journal::Journal;
use crate::lifecycle::{Fact, LaneDesign};
use crate::pg::{Ident, QName, list};

/// Drops what the run made. Done twice, it is done once.
///
/// # Errors
/// If the run was swapped (going back from there is not this), or the server said no.
pub async fn run(journal: &Journal) -> Result<(), Error> {
    let client = journal.session();
    if journal.progress().swapped.is_some() {
        let what = "the run has been swapped; going back from there is not supported by this version";
        return Err(Error::Usage(format!("{what}. Blue is kept until `projh-bluegreen finish`.")));
    }
    let slot = Ident(format!("projh_bg_{}", journal.run()));
    super::copy::drop_slot(client, &slot).await?;
    let mut blues = Vec::new();
    let prepared = journal.progress().prepared.clone();
    for lane in prepared.into_iter().flat_map(|prepared| prepared.lanes) {
        if is_there(client, &lane).await? {
            blues.push(lane);
        }
    }
    drop_tables(client, &Ident(format!("{}_green", slot.as_str()))).await?;
    let statements = statements(&blues, &slot);
    patiently(client, &statements.join("; "), "dropping what the run made").await?;
    journal.end(client, Fact::RolledBack).await?;
    Ok(())
}

/// Tables that one transaction drops: a thousand partitions at once need more locks than a server has, some
/// ten each.
const TABLES_AT_ONCE: usize = 50;

/// Drops green's home, and the tables in it a few at a time. It is renamed first: a run whose rollback was cut
/// short finds nothing to go on with, instead of a part of green.
async fn drop_tables(client: &Client, home: &Ident) -> Result<(), Error> {
    let doing = || Error::doing("dropping what the run made");
    let gone = Ident(format!("{}_gone", home.as_str()));
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
    let is_there: i64 = client.query_one(sql, &[&home.as_str()]).await.map_err(doing())?.get(0);
    if is_there == 1 {
        let rename = format!("ALTER SCHEMA {home} RENAME TO {gone}");
        patiently(client, &rename, "dropping what the run made").await?;
        client.batch_execute("COMMIT").await.map_err(doing())?;
    }
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relkind = 'r' ORDER BY c.oid";
    let rows = client.query(sql, &[&gone.as_str()]).await.map_err(doing())?;
    let names: Vec<QName> =
        rows.iter().map(|row| QName::new(gone.clone(), row.get::<_, String>(0))).collect();
    for some in names.chunks(TABLES_AT_ONCE) {
        patiently(client, &format!("DROP TABLE {}", list(some)), "dropping what the run made").await?;
        client.batch_execute("COMMIT").await.map_err(doing())?;
    }
    let sql = format!("DROP SCHEMA IF EXISTS {gone} CASCADE");
    patiently(client, &sql, "dropping what the run made").await?;
    client.batch_execute("COMMIT").await.map_err(doing())
}

/// A table that is gone needs no replica identity again.
async fn is_there(client: &Client, lane: &LaneDesign) -> Result<bool, Error> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let row = client.query_one(sql, &[&lane.table.to_string()]).await;
    Ok(row.map_err(Error::doing("looking for blue"))?.get(0))
}

/// What a rollback carries out, in one transaction, after the slot and green's tables were dropped: each blue gets the replica
/// identity that it had, and what the run made goes. Publication and homes are named after the slot.
pub(crate) fn statements(blues: &[LaneDesign], slot: &Ident) -> Vec<String> {
    let restored = |lane: &LaneDesign| {
        let before = lane.replica_identity_before.as_ref()?;
        Some(format!("ALTER TABLE {} REPLICA IDENTITY {before}", lane.table))
    };
    let mut statements: Vec<String> = blues.iter().filter_map(restored).collect();
    statements.push(drop_publication(slot));
    for home in ["green", "blue"] {
        let home = Ident(format!("{}_{home}", slot.as_str()));
        statements.push(format!("DROP SCHEMA IF EXISTS {home} CASCADE"));
    }
    statements
}
