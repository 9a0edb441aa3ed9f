//! Whether the stream carries every change of a table: depends on the run's publication and
//! the table's replica identity.

use serde::Deserialize;
use tokio_postgres::Client;

use super::Error;
use super::table::ReplicaIdentity;
use crate::pg::{Ident, Literal, Planned, QName};

const PUBLISHED: Planned =
    Planned { name: "projh_published", sql: include_str!("../../sql/catalog/published.sql") };

/// How a publication contains a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Changes with each ALTER PUBLICATION, even one that was reverted.
    pub version: String,
    /// What the stream carries of old rows.
    pub replica_identity: ReplicaIdentity,
    /// What keeps changes of the table out of the stream; empty if nothing does.
    pub lacks: Vec<String>,
}

/// How `publication` contains `table` now; `via_root`: whether it has to publish changes of partitions as the table's.
///
/// # Errors
/// If there is no such table, or the catalog cannot be read.
pub async fn published(
    client: &Client,
    table: &QName,
    publication: &Ident,
    via_root: bool,
) -> Result<Published, Error> {
    let what = "how it is published";
    let failed = |source| Error::Catalog { what, source };
    let oid = super::oid_of(client, table).await?;
    let (oid, publication) = (oid.to_string(), Literal(publication.as_str()).to_string());
    let args = [oid.as_str(), &publication, if via_root { "true" } else { "false" }];
    let answer = PUBLISHED.json(client, &args).await.map_err(failed)?;
    serde_json::from_value(answer).map_err(|source| Error::Shape { what, source })
}
