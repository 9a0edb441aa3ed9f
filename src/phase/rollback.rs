//! Roll back before the swap: everything that the run made is dropped, and blue is as it was.

use tokio_postgres::Client;

use super::settle::patiently;
use crate::error::Error;
use crate::journal::Journal;
use crate::lifecycle::{Fact, Prepared};
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
    let prepared = journal.progress().prepared.clone();
    let mut statements = Vec::new();
    if let Some(prepared) = &prepared {
        statements.extend(restored(client, prepared).await?);
    }
    statements.push(format!("DROP PUBLICATION IF EXISTS {slot}"));
    let home = |side: &str| Ident(format!("projh_bg_{}_{side}", journal.run()));
    drop_tables(client, &home("green")).await?;
    for side in ["green", "blue"] {
        statements.push(format!("DROP SCHEMA IF EXISTS {} CASCADE", home(side)));
    }
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

/// The replica identity that each blue had before the run; a table that is gone needs none.
async fn restored(client: &Client, prepared: &Prepared) -> Result<Vec<String>, Error> {
    let mut statements = Vec::new();
    for lane in &prepared.lanes {
        let Some(before) = &lane.replica_identity_before else { continue };
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        let row = client.query_one(sql, &[&lane.table.to_string()]).await;
        if row.map_err(Error::doing("looking for blue"))?.get(0) {
            statements.push(format!("ALTER TABLE {} REPLICA IDENTITY {before}", lane.table));
        }
    }
    Ok(statements)
}
