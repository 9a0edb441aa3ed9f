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

/// What the names of other things begin with, and their whole names.
const CONSTRAINT: &str = "constraint ";
const OWN_KEY: &str = "its foreign key ";
const LEAF_KEY: &str = "foreign key ";
const VALIDITY: &str = "validity of ";
const COMMENT_ON_CONSTRAINT: &str = "comment on constraint ";
const PARTITION: &str = "partition ";
const REPLICA_IDENTITY: &str = "the replica identity";

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

    /// What has changed since; empty if nothing has. A view or a rule whose text both have, and which is the same, has not.
    #[must_use]
    pub fn changes(&self, now: &Self) -> Vec<Change> {
        let text = |of: &Self, what: &str| of.0.get(&format!("{TEXT}{what}")).cloned();
        let is_printed_alike =
            |what: &str| text(self, what).is_some_and(|text_before| Some(text_before) == text(now, what));
        let counts = |what: &str| !what.starts_with(TEXT);
        // A view that is new or was dropped is told itself. The journals of earlier versions have no names.
        let is_whole = |what: &str| counts(what) && !what.starts_with(NAMES);
        let change = |what: &str, how: How| Change { what: what.to_owned(), how };
        let lost =
            self.0.iter().filter(|(what, _)| counts(what)).filter_map(|(what, hash)| match now.0.get(what) {
                None => is_whole(what).then(|| change(what, How::Dropped)),
                Some(other) if other != hash && !is_printed_alike(what) => Some(change(what, How::Changed)),
                Some(_) => None,
            });
        let new = now.0.keys().filter(|what| is_whole(what) && !self.0.contains_key(*what));
        lost.chain(new.map(|what| change(what, How::New))).collect()
    }

    /// Whether a view or a rule that has changed may have the same text as before, which only [`Fingerprint::of`] knows.
    #[must_use]
    pub fn may_be_printed_alike(&self, now: &Self) -> bool {
        let has_changed = |what: &str, hash: &String| self.0.get(what).is_some_and(|before| before != hash);
        let mut all = now.0.iter();
        all.any(|(what, hash)| has_changed(what, hash) && self.0.contains_key(&format!("{TEXT}{what}")))
    }
}

/// One thing that differs between two fingerprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the thing.
    what: String,
    /// How it differs.
    pub how: How,
}

/// How a thing differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was not there before.
    New,
    /// It is not there any more.
    Dropped,
    /// It has another hash.
    Changed,
}

/// What a [`Change`] is about, as far as that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// A constraint of the table, or a foreign key that one of its partitions has: its name.
    Constraint(&'a str),
    /// A foreign key of the table, whether it or its partitions have it: its name. It is a constraint, too.
    OwnKey(&'a str),
    /// Whether a foreign key that references the table is valid.
    Validity,
    /// The comment on a constraint.
    CommentOnConstraint,
    /// A partition.
    Partition,
    /// The replica identity.
    ReplicaIdentity,
    /// Anything else.
    Other,
}

impl Change {
    /// The name of the thing, as in [`Fingerprint::hash`].
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What it is about.
    #[must_use]
    pub fn about(&self) -> About<'_> {
        let what = self.what.as_str();
        if what == REPLICA_IDENTITY {
            return About::ReplicaIdentity;
        }
        if let Some(name) = what.strip_prefix(CONSTRAINT) {
            return About::Constraint(name);
        }
        if let Some(name) = what.strip_prefix(OWN_KEY) {
            return About::OwnKey(name);
        }
        if let Some((name, _)) =
            what.strip_prefix(LEAF_KEY).and_then(|rest| rest.rsplit_once(" on partition "))
        {
            return About::Constraint(name);
        }
        let kinds = [
            (VALIDITY, About::Validity),
            (COMMENT_ON_CONSTRAINT, About::CommentOnConstraint),
            (PARTITION, About::Partition),
        ];
        kinds.into_iter().find(|(begin, _)| what.starts_with(begin)).map_or(About::Other, |(_, about)| about)
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.how {
            How::New => "is new",
            How::Dropped => "was dropped",
            How::Changed => "was changed",
        };
        write!(f, "{} {how}", self.what)
    }
}
