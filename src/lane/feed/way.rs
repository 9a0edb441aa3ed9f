//! One table's changes on their way: from the stream's messages to one net change a key.

use tokio_postgres::Statement;

use super::FeedError;
use crate::lane::Lane;
use crate::lane::apply::Apply;
use crate::lane::coalesce::{Coalesced, Impossible, Key};
use crate::replication::pgoutput::{Old, OldKind, Relation, Tuple, Value};

/// A lane, and what has been taken in for it.
pub(super) struct Way {
    pub(super) lane: Lane,
    /// Gives the rest of a transaction the rights of the table's owner.
    pub(super) acting: Statement,
    pub(super) apply: Apply,
    pub(super) truncate: Statement,
    pub(super) changes: Coalesced,
}

impl Way {
    pub(super) fn insert(&mut self, new: Tuple) -> Result<(), FeedError> {
        let key = self.key_of(&new)?;
        self.changes.insert(key, new).map_err(|source| self.impossible(source))
    }

    /// Without an old tuple the key has not changed; with one, the old key is in it, also the part of it
    /// that is stored out of line and was not sent again with the new tuple.
    pub(super) fn update(&mut self, old: Option<Old>, mut new: Tuple) -> Result<(), FeedError> {
        for column in &self.lane.key {
            let before = old.as_ref().and_then(|old| old.tuple.get(column.at));
            if let (Some(Value::Unchanged), Some(before)) = (new.get(column.at), before) {
                new[column.at] = before.clone();
            }
        }
        let new_key = self.key_of(&new)?;
        let (old_key, before) = match old {
            None => (new_key.clone(), None),
            Some(Old { kind: OldKind::Key, tuple }) => (self.key_of(&tuple)?, None),
            Some(Old { kind: OldKind::Full, tuple }) => (self.key_of(&tuple)?, Some(tuple)),
        };
        self.changes.update(&old_key, new_key, new, before).map_err(|source| self.impossible(source))
    }

    pub(super) fn delete(&mut self, old: &Old) -> Result<(), FeedError> {
        let key = self.key_of(&old.tuple)?;
        self.changes.delete(&key).map_err(|source| self.impossible(source))
    }

    /// The server tells a table's columns before its first change and after each DDL.
    pub(super) fn check(&self, relation: &Relation) -> Result<(), FeedError> {
        let told: Vec<(&[u8], u32)> =
            relation.columns.iter().map(|column| (&*column.name, column.type_oid)).collect();
        let known: Vec<(&[u8], u32)> =
            self.lane.streamed().map(|column| (&*column.stored_name, column.type_oid)).collect();
        if told == known {
            return Ok(());
        }
        let columns = self.lane.streamed().zip(told.iter().zip(&known));
        let different = columns.into_iter().find(|(_, (told, known))| told != known);
        let what = different.map_or_else(
            || format!("it has {} columns where the plan was made for {}", told.len(), known.len()),
            |(column, (told, _))| {
                let told = String::from_utf8_lossy(told.0);
                format!("column `{told}` is not `{}` as it was", column.name.as_str())
            },
        );
        Err(FeedError::SourceChanged { table: self.lane.table.plain(), what })
    }

    fn key_of(&self, tuple: &Tuple) -> Result<Key, FeedError> {
        self.lane.key_of(tuple).ok_or_else(|| FeedError::NoKey { table: self.lane.table.plain() })
    }

    fn impossible(&self, source: Impossible) -> FeedError {
        FeedError::Impossible { table: self.lane.table.plain(), source }
    }
}
