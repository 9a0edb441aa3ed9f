//! A hash of each part of a table's definition and of each object that depends on it: DDL during a run
//! changes one of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::Error;
use crate::pg::{Planned, QName};

const FINGERPRINT: Planned = Planned {
    name: "projh_fingerprint",
    sql: concat!(
        include_str!("../../sql/catalog/bound.sql"),
        include_str!("../../sql/catalog/fingerprint.sql")
    ),
};

/// Hashes by the name of the thing. The table's file and the run's publications are left out, because the run
/// itself may change them; VACUUM FULL and REINDEX CONCURRENTLY do not change a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// The present fingerprint of `table`.
    ///
    /// # Errors
    /// If there is no such table, or the catalog cannot be read.
    pub async fn of(client: &Client, table: &QName) -> Result<Self, Error> {
        let oid = super::oid_of(client, table).await?;
        super::with_bare_path(client, async {
            let failed = |source| Error::Catalog { what: "the fingerprint", source };
            let rows = FINGERPRINT.query(client, &[&oid.to_string()]).await.map_err(failed)?;
            let hashes: Result<_, _> =
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
            hashes.map(Self).map_err(failed)
        })
        .await
    }

    /// What has changed, for display, except the things of some names; empty if nothing has.
    #[must_use]
    pub fn differences(&self, now: &Self, except: &dyn Fn(&str) -> bool) -> Vec<String> {
        let counts = |what: &String| !except(what);
        let lost =
            self.0.iter().filter(|(what, _)| counts(what)).filter_map(|(what, hash)| match now.0.get(what) {
                None => Some(format!("{what} was dropped")),
                Some(other) if other != hash => Some(format!("{what} was changed")),
                Some(_) => None,
            });
        let new = now.0.keys().filter(|what| counts(what) && !self.0.contains_key(*what));
        lost.chain(new.map(|what| format!("{what} is new"))).collect()
    }
}
