//! One hash over a table's definition and what hangs on it: DDL in the middle of a run changes it.

use tokio_postgres::Client;

use super::Error;
use crate::pg::QName;

const SQL: &str = include_str!("../../sql/catalog/fingerprint.sql");

/// The fingerprint of `table`. Without its file, its replica identity and its publications, which
/// the run itself may change; VACUUM FULL and REINDEX CONCURRENTLY do not change it either.
///
/// # Errors
/// When there is no such table, or the catalog cannot be read.
pub async fn fingerprint(client: &Client, table: &QName) -> Result<String, Error> {
    let oid = super::oid_of(client, table).await?;
    super::with_bare_path(client, async {
        let failed = |source| Error::Catalog { what: "the fingerprint", source };
        let row = client.query_one(SQL, &[&oid]).await.map_err(failed)?;
        row.try_get(0).map_err(failed)
    })
    .await
}
