//! What a table's definition is made of and what hangs on it, each with a hash: DDL in the middle of a run
//! changes one of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::Error;
use crate::pg::QName;

const SQL: &str = include_str!("../../sql/catalog/fingerprint.sql");

/// Hashes by what they are of. Without the table's file, its replica identity and its publications, which
/// the run itself may change; VACUUM FULL and REINDEX CONCURRENTLY do not change it either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// The fingerprint of `table` now.
    ///
    /// # Errors
    /// When there is no such table, or the catalog cannot be read.
    pub async fn of(client: &Client, table: &QName) -> Result<Self, Error> {
        let oid = super::oid_of(client, table).await?;
        super::with_bare_path(client, async {
            let failed = |source| Error::Catalog { what: "the fingerprint", source };
            let rows = client.query(SQL, &[&oid]).await.map_err(failed)?;
            let hashes: Result<_, _> =
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
            hashes.map(Self).map_err(failed)
        })
        .await
    }

    /// What is not as it was, for people; empty when everything is.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let lost = self.0.iter().filter_map(|(what, hash)| match now.0.get(what) {
            None => Some(format!("{what} is gone")),
            Some(other) if other != hash => Some(format!("{what} is not as it was")),
            Some(_) => None,
        });
        let new = now.0.keys().filter(|what| !self.0.contains_key(*what));
        lost.chain(new.map(|what| format!("{what} is new"))).collect()
    }
}
