//! Roll back before the swap: everything that the run made is dropped, and blue is as it was.

use tokio_postgres::Client;

use super::settle::{drop_publication, patiently};
use crate::error::Error;
use crate::journal::Journal;
use crate::lifecycle::{Fact, LaneDesign};
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
    let mut blues = Vec::new();
    let prepared = journal.progress().prepared.clone();
    for lane in prepared.into_iter().flat_map(|prepared| prepared.lanes) {
        if is_there(client, &lane).await? {
            blues.push(lane);
        }
    }
    let statements = statements(&blues, &slot);
    // The slot goes last: until then, who stops here leaves the run as it was.
    patiently(client, &statements.join("; "), "dropping what the run made").await?;
    super::copy::drop_slot(client, &slot).await?;
    journal.end(client, Fact::RolledBack).await?;
    Ok(())
}

/// A table that is gone needs no replica identity again.
async fn is_there(client: &Client, lane: &LaneDesign) -> Result<bool, Error> {
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let row = client.query_one(sql, &[&lane.table.to_string()]).await;
    Ok(row.map_err(Error::doing("looking for blue"))?.get(0))
}

/// What a rollback carries out, in one transaction, after the slot was dropped: each blue gets the replica
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
