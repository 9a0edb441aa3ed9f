//! Whether the live tables of a run are there, and are its own: by OID, not by name. A table that is dropped while the live
//! one is gone would be the only copy.

use tokio_postgres::Client;

use crate::lifecycle::{LastCopy, Lost, Progress};
use crate::pg::{Colour, QName};

/// The live tables of a run.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// Those that are there, by the names that they have now.
    pub(crate) there: Vec<QName>,
    /// Those that are not.
    pub(crate) lost: Vec<Lost>,
}

impl Live {
    /// Whether the other table of one that is gone is there.
    pub(crate) fn has_last_copy(&self) -> bool {
        self.lost.iter().any(|lost| lost.copy.is_some())
    }

    /// The names of those that are gone.
    pub(crate) fn gone(&self) -> Vec<QName> {
        self.lost.iter().map(|lost| lost.table.clone()).collect()
    }
}

/// Looks for them.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn find(client: &Client, progress: &Progress) -> Result<Live, tokio_postgres::Error> {
    const SQL: &str = include_str!("../sql/catalog/live_tables.sql");
    let lanes = match &progress.prepared {
        Some(prepared) if progress.ended.is_none() => &prepared.lanes[..],
        _ => &[],
    };
    let (live, other) = (progress.live(), progress.live().other());
    let oids =
        |colour: Colour| -> Vec<u32> { lanes.iter().map(|lane| lane.oid(colour).unwrap_or(0)).collect() };
    let schemas: Vec<&str> = lanes.iter().map(|lane| lane.table.schema.as_str()).collect();
    let names: Vec<&str> = lanes.iter().map(|lane| lane.table.name.as_str()).collect();
    let others: Vec<&str> = lanes.iter().map(|lane| lane.green.homes.of(other).as_str()).collect();
    let rows = client.query(SQL, &[&schemas, &names, &oids(live), &others, &oids(other)]).await?;
    // Before the copy begins green has no rows.
    let has_rows = progress.slot.is_some();
    let mut found = Live::default();
    for (row, lane) in rows.iter().zip(lanes) {
        if row.get("is_there") {
            let name = |column| row.get::<_, String>(column);
            found.there.push(QName::new(name("schema"), name("name")));
            continue;
        }
        let has_copy = has_rows && row.get::<_, bool>("has_other");
        found.lost.push(Lost {
            table: lane.table.clone(),
            is_replaced: row.get("is_replaced"),
            copy: has_copy.then(|| LastCopy::of(progress, lane)),
        });
    }
    Ok(found)
}
