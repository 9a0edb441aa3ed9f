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

/// What is before the name of a view, or of a table with rules: the names in their texts, and these texts.
const NAMES: &str = "a name in ";
const TEXT: &str = "the text of ";

/// Hashes by the name of the thing. The table's file and the run's publications are left out, because the run
/// itself may change them; VACUUM FULL and REINDEX CONCURRENTLY do not change a fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(BTreeMap<String, String>);

impl Fingerprint {
    /// The present fingerprint of `table`, with the texts of views and rules. The server locks what they read against
    /// DDL for that.
    ///
    /// # Errors
    /// If there is no such table, or the catalog cannot be read.
    pub async fn of(client: &Client, table: &QName) -> Result<Self, Error> {
        Self::read(client, table, true).await
    }

    /// The same without the texts, which waits for nobody's lock.
    ///
    /// # Errors
    /// As [`Fingerprint::of`].
    pub async fn at_a_glance(client: &Client, table: &QName) -> Result<Self, Error> {
        Self::read(client, table, false).await
    }

    async fn read(client: &Client, table: &QName, prints: bool) -> Result<Self, Error> {
        let oid = super::oid_of(client, table).await?;
        super::with_bare_path(client, async {
            let failed = |source| Error::Catalog { what: "the fingerprint", source };
            let oid = oid.to_string();
            let args = [oid.as_str(), if prints { "true" } else { "false" }];
            let rows = FINGERPRINT.query(client, &args).await.map_err(failed)?;
            let hashes: Result<_, _> =
                rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect();
            hashes.map(Self).map_err(failed)
        })
        .await
    }

    /// The hash of one thing.
    #[must_use]
    pub fn hash(&self, what: &str) -> Option<&str> {
        self.0.get(what).map(String::as_str)
    }

    /// What has changed, for display, except the things of some names; empty if nothing has. A view or a rule whose text
    /// both have, and which is the same, has not.
    #[must_use]
    pub fn differences(&self, now: &Self, except: &dyn Fn(&str) -> bool) -> Vec<String> {
        let text = |of: &Self, what: &str| of.0.get(&format!("{TEXT}{what}")).cloned();
        let is_printed_alike =
            |what: &str| text(self, what).is_some_and(|text_before| Some(text_before) == text(now, what));
        let counts = |what: &str| !what.starts_with(TEXT) && !except(what);
        // A view that is new or was dropped is told itself. The journals of earlier versions have no names.
        let is_whole = |what: &str| counts(what) && !what.starts_with(NAMES);
        let lost =
            self.0.iter().filter(|(what, _)| counts(what)).filter_map(|(what, hash)| match now.0.get(what) {
                None => is_whole(what).then(|| format!("{what} was dropped")),
                Some(other) if other != hash && !is_printed_alike(what) => {
                    Some(format!("{what} was changed"))
                }
                Some(_) => None,
            });
        let new = now.0.keys().filter(|what| is_whole(what) && !self.0.contains_key(*what));
        lost.chain(new.map(|what| format!("{what} is new"))).collect()
    }

    /// Whether a view or a rule that has changed may have the same text as before, which only [`Fingerprint::of`] knows.
    #[must_use]
    pub fn may_be_printed_alike(&self, now: &Self) -> bool {
        let has_changed = |what: &str, hash: &String| self.0.get(what).is_some_and(|before| before != hash);
        let mut all = now.0.iter();
        all.any(|(what, hash)| has_changed(what, hash) && self.0.contains_key(&format!("{TEXT}{what}")))
    }
}
