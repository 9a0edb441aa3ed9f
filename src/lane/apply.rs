//! Applies net changes to the target, set by set: updates in place, deletions, rows that lack values, inserts.
//!
//! An update in place writes half of what deleting and inserting writes, and leaves large values where they
//! are. It is for rows that keep their key, their partition and their unique values.
//!
//! Invariants: no unique index of the target sees a batch half-way: rows whose unique values change are deleted
//! before any is inserted. Strictly, once the copy is over: every key that existed is met exactly once, and a
//! row that lacks values finds them; anything else stops the run. While rows are still missing, a key may
//! be absent, and a row that cannot be completed is left out and its key remembered as dirty, to be read
//! from the source at the next consistent point.

mod hushed;
mod rejected;
mod sealed;
mod sql;
mod work;

use std::collections::HashMap;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::coalesce::{Key, Net, Row};
use super::raw::Array;
use super::sent_keys::{SentKeys, key_arrays};
use super::{CipherError, Lane};
use crate::replication::pgoutput::Value;

use sealed::{Failed, Sealed};
pub(crate) use sql::ApplySql;
pub use sql::same_key;
use work::Work;

/// What stopped the apply.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server rejected a statement, or the connection was lost.
    #[error(
        "changes of {table} could not be applied: {}{}{}",
        crate::pg::describe(source),
        digests(keys),
        altered_types(altered)
    )]
    Postgres {
        /// The table, as `schema.table`.
        table: String,
        /// Digests of the keys of the rows that the server rejected, as far as that is known.
        keys: Vec<String>,
        /// What an ALTER TYPE may have changed so that values of the stream are none any more: types, each with its column.
        altered: Vec<String>,
        /// The error of the server or the driver.
        source: tokio_postgres::Error,
    },
    /// A value cannot be transformed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The target lacks rows that it must have according to the stream.
    #[error(
        "the target of {table} does not match the stream: {found} of {expected} rows to replace or delete were found"
    )]
    Diverged {
        /// The table, as `schema.table`.
        table: String,
        /// Rows to be replaced or deleted.
        expected: u64,
        /// Rows found among them.
        found: u64,
    },
}

fn altered_types(altered: &[String]) -> String {
    match altered {
        [] => String::new(),
        altered => format!(
            "; {} seems to have been changed while the run was under way (ALTER TYPE)",
            altered.join(", or ")
        ),
    }
}

/// Digests of keys, for the end of a message.
pub(crate) fn digests(keys: &[String]) -> String {
    match keys {
        [] => String::new(),
        [key] => format!("; the row has key digest {key}"),
        keys => format!("; the rows have key digests {}", keys.join(", ")),
    }
}

impl ApplyError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => crate::pg::is_transient(source),
            Self::Diverged { .. } | Self::Cipher(_) => false,
        }
    }
}

/// Why a batch was not written.
enum Stopped {
    Failed(Failed),
    Diverged { expected: u64, found: u64 },
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// The statements of one lane, prepared on one connection.
pub struct Apply {
    lane: Lane,
    /// `None` if no row may be updated in place.
    replace: Option<Statement>,
    delete: Statement,
    rewrite: Statement,
    insert: Statement,
    forget_dirty: Statement,
    note_dirty: Statement,
    digests: Statement,
    /// What gives the rest of a transaction with its changes back to the operator, once deferred constraints are checked.
    as_operator: String,
    keys: SentKeys,
    /// For values that this program transforms.
    sealed: Option<Sealed>,
}

impl Apply {
    /// Makes what the statements of a lane need on `client`, with the rights of the role that executes.
    ///
    /// # Errors
    /// If the server rejected a statement, or the connection was lost.
    pub async fn make(client: &Client, lane: &Lane) -> Result<(), tokio_postgres::Error> {
        SentKeys::make(client, lane).await?;
        if lane.is_transformed() {
            client.batch_execute(&sql::make_batch(lane)).await?;
        }
        hushed::make(client, lane).await
    }

    /// Prepares the statements of a lane on `client`, after [`Apply::make`].
    ///
    /// # Errors
    /// If the server rejected a statement, or the connection was lost.
    pub async fn prepare(client: &Client, lane: &Lane) -> Result<Self, tokio_postgres::Error> {
        let sql = hushed::of(client, lane).await?;
        let replace = match &sql.replace {
            Some(sql) => Some(client.prepare(sql).await?),
            None => None,
        };
        Ok(Self {
            replace,
            delete: client.prepare(&sql.delete).await?,
            rewrite: client.prepare(&sql.rewrite).await?,
            insert: client.prepare(&sql.insert).await?,
            forget_dirty: client.prepare(&sql.forget_dirty).await?,
            note_dirty: client.prepare(&sql.note_dirty).await?,
            digests: client.prepare(&sql.digests).await?,
            keys: SentKeys::prepare(client, lane).await?,
            sealed: Sealed::prepare(client, lane).await?,
            as_operator: hushed::as_operator(client, lane).await?,
            lane: lane.clone(),
        })
    }

    /// SQL that gives the rest of a transaction with changes of this lane back to the operator.
    #[must_use]
    pub fn as_operator(&self) -> &str {
        &self.as_operator
    }

    /// Applies `keys` in the transaction that is open on `client`; `lenient` while the copy is not over.
    ///
    /// # Errors
    /// [`ApplyError::Diverged`] if the target does not match the stream (never if `lenient`);
    /// [`ApplyError::Postgres`] if the server rejected a statement, or the connection was lost.
    pub async fn apply(
        &self,
        client: &Client,
        keys: &HashMap<Key, Net>,
        lenient: bool,
    ) -> Result<(), ApplyError> {
        match self.write(client, keys, lenient).await {
            Ok(()) => Ok(()),
            Err(Stopped::Diverged { expected, found }) => {
                Err(ApplyError::Diverged { table: self.lane.table.plain(), expected, found })
            }
            Err(Stopped::Failed(Failed::Postgres(source))) => {
                let (table, keys, altered) = (self.lane.table.plain(), Vec::new(), Vec::new());
                Err(ApplyError::Postgres { table, keys, altered, source })
            }
            Err(Stopped::Failed(Failed::Cipher(error, key))) => {
                let digests = self.digests_of(client, std::iter::once(&key)).await.unwrap_or_default();
                Err(CipherError { key: digests.into_iter().next(), ..*error }.into())
            }
        }
    }

    async fn write(&self, client: &Client, keys: &HashMap<Key, Net>, lenient: bool) -> Result<(), Stopped> {
        let mut work = Work::sort(keys, !lenient && !self.lane.kept.is_empty());
        let were = work.were();
        if lenient {
            self.on_keys(client, &self.forget_dirty, &work.were_there().collect::<Vec<_>>()).await?;
        }
        let replaced = self.replace(client, &mut work).await?;
        let deleted = self.on_keys(client, &self.delete, &work.gone).await?;
        let lacking = self.rewrite(client, &work.rewritten).await?;
        if lenient {
            let lacking: Vec<&Key> = lacking.iter().map(|at| work.rewritten[*at].0).collect();
            self.on_keys(client, &self.note_dirty, &lacking).await?;
        } else {
            let found = replaced + deleted + (work.rewritten.len() - lacking.len()) as u64;
            if found != were {
                return Err(Stopped::Diverged { expected: were, found });
            }
        }
        Ok(self.insert(client, &work.rows).await?)
    }

    /// Digests of the keys that the server rejects with this SQLSTATE, in the transaction that is open on `client`, which the
    /// caller rolls back; the first few, in order.
    ///
    /// # Errors
    /// If the connection was lost.
    pub(super) async fn rejected(
        &self,
        client: &Client,
        keys: &HashMap<Key, Net>,
        code: &SqlState,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        let found = rejected::find(self, client, keys, code).await?;
        self.digests_of(client, found.iter()).await
    }

    /// Digests of keys, the first few in their order.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub(super) async fn digests_of<'a>(
        &self,
        client: &Client,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        let (most, secret) = (rejected::NAMED_MAX as i64, self.lane.secret_parameter());
        let keys = self.keys.send(client, &self.lane, keys).await?;
        let mut params: Vec<&(dyn postgres_types::ToSql + Sync)> = vec![&most];
        params.extend(secret.as_ref().map(|secret| secret as &(dyn postgres_types::ToSql + Sync)));
        params.extend(keys.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)));
        Ok(client.query(&self.digests, &params).await?.iter().map(|row| row.get(0)).collect())
    }

    /// Updates rows that keep their key, in the partition that their partition key leads to; returns how many. Those
    /// not found there, or whose unique values would change, are left to be deleted and inserted.
    async fn replace<'a>(&self, client: &Client, work: &mut Work<'a>) -> Result<u64, Failed> {
        let replaced = std::mem::take(&mut work.replaced);
        if replaced.is_empty() {
            return Ok(0);
        }
        let Some(statement) = &self.replace else {
            work.replace_otherwise(replaced);
            return Ok(0);
        };
        let count = i64::try_from(replaced.len()).unwrap_or(i64::MAX);
        let missed = match &self.sealed {
            Some(sealed) => {
                sealed.send(client, &self.lane, replaced.iter().map(|(key, row)| (*key, *row, None))).await?;
                client.query(statement, &[&count]).await?
            }
            None => {
                let rows = self.rows(replaced.iter().map(|(_, row)| *row));
                let masks = masks(replaced.iter().map(|(_, row)| *row));
                client.query(statement, &[&rows, &masks, &count]).await?
            }
        };
        let done = replaced.len() - missed.len();
        let missed = missed.iter().map(|row| replaced[ordinal(row)]);
        work.replace_otherwise(missed);
        Ok(done as u64)
    }

    /// Executes a statement for these keys, if there are any; returns the rows that it has written.
    async fn on_keys(&self, client: &Client, statement: &Statement, keys: &[&Key]) -> Result<u64, Failed> {
        if keys.is_empty() {
            return Ok(0);
        }
        let params = self.keys.send(client, &self.lane, keys.iter().copied()).await?;
        Ok(client.execute_raw(statement, &params).await?)
    }

    async fn insert(&self, client: &Client, rows: &[(&Key, &Row)]) -> Result<(), Failed> {
        if rows.is_empty() {
            return Ok(());
        }
        if let Some(sealed) = &self.sealed {
            sealed.send(client, &self.lane, rows.iter().map(|(key, row)| (*key, *row, None))).await?;
            client.execute(&self.insert, &[]).await?;
            return Ok(());
        }
        let rows = self.rows(rows.iter().map(|(_, row)| *row));
        client.execute_raw(&self.insert, [&rows]).await?;
        Ok(())
    }

    /// Replaces rows that lack values, which are taken from the old row. Returns the places of those without an old
    /// row.
    async fn rewrite(&self, client: &Client, rewritten: &[(&Key, &Row, &Key)]) -> Result<Vec<usize>, Failed> {
        if rewritten.is_empty() {
            return Ok(Vec::new());
        }
        // It joins what it has deleted with what it was sent; with nested loops alone that would be quadratic.
        client.batch_execute("SET LOCAL enable_hashjoin = on").await?;
        let lacking = self.rewrite_joined(client, rewritten).await?;
        client.batch_execute("SET LOCAL enable_hashjoin = off").await?;
        Ok(lacking)
    }

    async fn rewrite_joined(
        &self,
        client: &Client,
        rewritten: &[(&Key, &Row, &Key)],
    ) -> Result<Vec<usize>, Failed> {
        if let Some(sealed) = &self.sealed {
            let rows = rewritten.iter().map(|(key, row, base)| (*key, *row, Some(*base)));
            sealed.send(client, &self.lane, rows).await?;
            return Ok(client.query(&self.rewrite, &[]).await?.iter().map(ordinal).collect());
        }
        let mut params = vec![self.rows(rewritten.iter().map(|(_, row, _)| *row))];
        params.extend(key_arrays(&self.lane, rewritten.iter().map(|(_, _, base)| *base)));
        params.push(masks(rewritten.iter().map(|(_, row, _)| *row)));
        let params: Vec<&(dyn postgres_types::ToSql + Sync)> =
            params.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
        Ok(client.query(&self.rewrite, &params).await?.iter().map(ordinal).collect())
    }

    fn rows<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Array {
        let mut array = Array::of(self.lane.row_type_oid);
        for row in rows {
            let fields: Vec<(u32, Option<&[u8]>)> = self
                .lane
                .streamed()
                .zip(&row.values)
                .map(|(column, value)| match value {
                    Value::Binary(bytes) => (column.base_oid, Some(bytes.as_ref())),
                    _ => (column.base_oid, None),
                })
                .collect();
            array.push_row(fields.into_iter());
        }
        array
    }
}

/// One mask per row.
fn masks<'a>(rows: impl Iterator<Item = &'a Row>) -> Array {
    let mut masks = Array::of(postgres_types::Type::BYTEA.oid());
    for row in rows {
        masks.push(Some(&mask(row)));
    }
    masks
}

/// One bit per streamed column, the first one lowest: 1 if the value was not sent.
fn mask(row: &Row) -> Vec<u8> {
    let mut mask = vec![0; row.values.len().div_ceil(8)];
    for (at, value) in row.values.iter().enumerate() {
        if matches!(value, Value::Unchanged) {
            mask[at / 8] |= 1 << (at % 8);
        }
    }
    mask
}

/// `WITH ORDINALITY` counts from 1.
fn ordinal(row: &tokio_postgres::Row) -> usize {
    usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX)
}
