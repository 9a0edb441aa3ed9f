//! One table's changes, from the stream's messages to one net change per key.

use std::collections::HashMap;

use tokio::time::Instant;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

use super::FeedError;
use crate::lane::Lane;
use crate::lane::apply::{Apply, ApplyError};
use crate::lane::coalesce::{Coalesced, Impossible, Keeps, Key, Net, by_key};
use crate::pg::connect::Session;
use crate::replication::pgoutput::{Old, OldKind, Relation, Tuple, Value};

/// Which of the feed's commits are durable.
pub(super) struct Durable {
    /// When all of them last were.
    pub(super) at: Instant,
    /// Whether all of them are.
    pub(super) is_all: bool,
}

/// A lane, and what has been taken in for it.
pub(super) struct Pending {
    pub(super) lane: Lane,
    /// Gives the rest of a transaction the rights of the table's owner.
    pub(super) acting: Statement,
    pub(super) apply: Apply,
    pub(super) truncate: Statement,
    pub(super) changes: Coalesced,
}

/// What rows of the target keep. One that moves between partitions stays the same only where less than what identifies it in the
/// stream pairs it.
pub(super) fn kept_by(lane: &Lane) -> Keeps {
    match lane.key.len() {
        _ if lane.kept.is_empty() => Keeps::Nothing,
        columns if lane.source_is_partitioned && columns < lane.identity.len() => Keeps::Moves(columns),
        _ => Keeps::Rows,
    }
}

impl Pending {
    pub(super) fn insert(&mut self, new: Tuple) -> Result<(), FeedError> {
        let identity = self.identity_of(&new)?;
        self.changes.insert(identity, new).map_err(|source| self.impossible(source))
    }

    /// Without an old tuple the identity has not changed; with one, it has the old identity, including the values
    /// that are stored out of line and were not sent again with the new tuple.
    pub(super) fn update(&mut self, old: Option<Old>, mut new: Tuple) -> Result<(), FeedError> {
        for at in &self.lane.identity {
            let before = old.as_ref().and_then(|old| old.tuple.get(*at));
            if let (Some(Value::Unchanged), Some(before)) = (new.get(*at), before) {
                new[*at] = before.clone();
            }
        }
        let now = self.identity_of(&new)?;
        let (was, before) = match old {
            None => (now.clone(), None),
            Some(Old { kind: OldKind::Key, tuple }) => (self.identity_of(&tuple)?, None),
            Some(Old { kind: OldKind::Full, tuple }) => (self.identity_of(&tuple)?, Some(tuple)),
        };
        self.changes.update(&was, now, new, before).map_err(|source| self.impossible(source))
    }

    pub(super) fn delete(&mut self, old: &Old) -> Result<(), FeedError> {
        let identity = self.identity_of(&old.tuple)?;
        self.changes.delete(&identity).map_err(|source| self.impossible(source))
    }

    /// Checks that the columns are those of the lane. The server sends them before a table's first change and after
    /// DDL.
    pub(super) fn check(&self, relation: &Relation) -> Result<(), FeedError> {
        let sent: Vec<(&[u8], u32)> =
            relation.columns.iter().map(|column| (&*column.name, column.type_oid)).collect();
        let known: Vec<(&[u8], u32)> =
            self.lane.streamed().map(|column| (&*column.stored_name, column.type_oid)).collect();
        if sent == known {
            return Ok(());
        }
        let what = difference(&sent, &known);
        Err(FeedError::SourceChanged { table: self.lane.table.plain(), what })
    }

    /// Applies the net change of each key since the last call, in the transaction that is open on `session`, and returns
    /// them. `is_first`: nothing of the same source transaction has been applied before.
    pub(super) async fn flush(
        &mut self,
        session: &Session,
        lenient: bool,
        is_first: bool,
    ) -> Result<HashMap<Key, Net>, FeedError> {
        session.execute(&self.acting, &[]).await?;
        let keys = match self.take() {
            Ok(keys) => keys,
            Err(twice) => {
                let keys = self.apply.digests_of(session, twice.iter()).await?;
                let table = self.lane.table.plain();
                return Err(FeedError::Impossible { table, keys, source: Impossible::Twice });
            }
        };
        match self.apply.apply(session, &keys, lenient).await {
            Ok(()) => Ok(keys),
            Err(ApplyError::Postgres { table, source, .. }) => {
                // Without what was applied before, a row may have the key of one that is no longer there.
                let code = source.code().filter(|code| is_about_rows(code, is_first));
                let named = match code {
                    Some(code) => self.rejected(session, &keys, code).await,
                    None => Ok(Vec::new()),
                };
                let altered = match (code, &named) {
                    (Some(code), Ok(_)) => self.altered(session, code).await.unwrap_or_default(),
                    _ => Vec::new(),
                };
                // What stopped the batch is the error to report, even if nothing more can be found out.
                Err(ApplyError::Postgres { table, keys: named.unwrap_or_default(), altered, source }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Digests of the keys whose rows the server has rejected.
    async fn rejected(
        &self,
        session: &Session,
        keys: &HashMap<Key, Net>,
        code: &SqlState,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        session.batch_execute("ROLLBACK; BEGIN").await?;
        session.execute(&self.acting, &[]).await?;
        let found = self.apply.rejected(session, keys, code).await?;
        session.batch_execute("ROLLBACK").await?;
        Ok(found)
    }

    /// The types whose change explains this SQLSTATE, each with its column: the server reads a value that was written
    /// before as the type is now.
    async fn altered(
        &self,
        session: &Session,
        code: &SqlState,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        const SQL: &str = include_str!("../../../sql/catalog/altered_types.sql");
        let kind = match code {
            code if *code == SqlState::INVALID_TEXT_REPRESENTATION => "e",
            code if *code == SqlState::DATATYPE_MISMATCH => "c",
            _ => return Ok(Vec::new()),
        };
        let columns = || self.lane.streamed();
        let names: Vec<&str> = columns().map(|column| column.name.as_str()).collect();
        let types: Vec<u32> = columns().map(|column| column.type_oid).collect();
        let rows = session.query(SQL, &[&names, &types, &vec![kind]]).await?;
        let one = |row: &tokio_postgres::Row| {
            format!("the type {} of column {}", row.get::<_, String>(1), row.get::<_, String>(0))
        };
        Ok(rows.iter().map(one).collect())
    }

    /// The net change of each key since the last call, or the keys that have two rows.
    fn take(&mut self) -> Result<HashMap<Key, Net>, Vec<Key>> {
        let doubled = self.changes.doubled();
        let changes = self.changes.take();
        let Lane { key, identity, .. } = &self.lane;
        if !doubled.is_empty() {
            return Err(doubled.iter().map(|whole| whole.first(key.len())).collect());
        }
        if identity.len() == key.len() {
            return Ok(changes);
        }
        by_key(changes, key.len())
    }

    fn identity_of(&self, tuple: &Tuple) -> Result<Key, FeedError> {
        self.lane.identity_of(tuple).ok_or_else(|| FeedError::NoKey { table: self.lane.table.plain() })
    }

    fn impossible(&self, source: Impossible) -> FeedError {
        FeedError::Impossible { table: self.lane.table.plain(), keys: Vec::new(), source }
    }
}

/// Whether the server rejected a row: for its values, or for other rows.
fn is_about_rows(code: &SqlState, is_first: bool) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    // A value of a composite type that has other attributes now.
    let is_mismatch = *code == SqlState::DATATYPE_MISMATCH;
    is_mismatch || matches!(class, "22" | "44" | "P0") || (class == "23" && is_first)
}

/// Begins a transaction on the targets, if none is open.
pub(super) async fn begin(session: &Session, sql: &str, in_transaction: &mut bool) -> Result<(), FeedError> {
    if !*in_transaction {
        session.batch_execute(sql).await?;
        *in_transaction = true;
    }
    Ok(())
}

/// How the columns that were sent, by name and type, differ from those that are known.
fn difference(sent: &[(&[u8], u32)], known: &[(&[u8], u32)]) -> String {
    let name = |(name, _): &(&[u8], u32)| String::from_utf8_lossy(name).into_owned();
    let has = |columns: &[(&[u8], u32)], wanted: &[u8]| columns.iter().any(|(name, _)| *name == wanted);
    if let Some(column) = known.iter().find(|(name, _)| !has(sent, name)) {
        return format!("a row was written while column `{}` was not there", name(column));
    }
    if let Some(column) = sent.iter().find(|(name, _)| !has(known, name)) {
        return format!("a row was written while there was a column `{}` more", name(column));
    }
    let changed = sent.iter().find(|column| !known.contains(column));
    changed.map_or_else(
        || "a row was written while its columns had another order".to_owned(),
        |column| format!("a row was written while column `{}` had another type", name(column)),
    )
}
