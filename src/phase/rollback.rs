//! Roll back before the swap: everything that the run made is dropped, and blue is as it was.

use tokio_postgres::Client;

use super::settle::patiently;
use crate::error::Error;
use crate::journal::Journal;
use crate::lifecycle::{Fact, Prepared};
use crate::pg::Ident;

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
    // Whoever streams from it would hold on to the publication.
    super::copy::free_slot(client, &slot).await?;
    let prepared = journal.progress().prepared.clone();
    let mut statements = Vec::new();
    if let Some(prepared) = &prepared {
        statements.extend(restored(client, prepared).await?);
    }
    statements.push(format!("DROP PUBLICATION IF EXISTS {slot}"));
    for home in ["green", "blue"] {
        let home = Ident(format!("projh_bg_{}_{home}", journal.run()));
        statements.push(format!("DROP SCHEMA IF EXISTS {home} CASCADE"));
    }
    // The slot goes last: until then, who stops here leaves the run as it was.
    patiently(client, &statements.join("; "), "dropping what the run made").await?;
    super::copy::drop_slot(client, &slot).await?;
    journal.end(client, Fact::RolledBack).await?;
    Ok(())
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
