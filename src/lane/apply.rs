//! Net changes into the target, set by set: deletions, then rows that lack values, then rows.
//!
//! Invariants: what was there under a key goes before anything comes, so that no unique index of
//! the target sees a batch half-way. Strictly, once the copy is over: every key that was there is
//! met exactly once, and a row that lacks values finds them; anything else stops the run. While
//! rows are still missing, a key may be absent, and a row that cannot be completed is left out
//! and its key remembered as dirty, to be read from the source at the next consistent point.

use std::collections::HashMap;

use tokio_postgres::{Client, Statement};

use super::Lane;
use super::coalesce::{Key, Net, Row};
use super::raw::Array;
use crate::pg::list;
use crate::replication::pgoutput::Value;

/// What stopped the apply.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The server said no, or was gone.
    #[error("changes of {table} could not be applied: {}", crate::pg::describe(source))]
    Postgres {
        /// The table.
        table: String,
        /// The server's or the driver's word.
        source: tokio_postgres::Error,
    },
    /// Green did not have the rows that the stream says it must have.
    #[error(
        "green of {table} is not what the stream says it is: {expected} rows were to be replaced or deleted, {found} were there"
    )]
    Diverged {
        /// The table.
        table: String,
        /// Rows that had to be there.
        expected: u64,
        /// Rows that were.
        found: u64,
    },
}

/// The statements of one lane, prepared on one connection.
pub struct Apply {
    lane: Lane,
    delete: Statement,
    delete_hinted: Option<Statement>,
    rewrite: Statement,
    insert: Statement,
    forget_dirty: Statement,
    note_dirty: Statement,
}

impl Apply {
    /// Prepares the statements.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn prepare(client: &Client, lane: &Lane) -> Result<Self, tokio_postgres::Error> {
        let delete_hinted = match delete_hinted_sql(lane) {
            Some(sql) => Some(client.prepare(&sql).await?),
            None => None,
        };
        Ok(Self {
            delete: client.prepare(&delete_sql(lane)).await?,
            delete_hinted,
            rewrite: client.prepare(&rewrite_sql(lane)).await?,
            insert: client.prepare(&insert_sql(lane)).await?,
            forget_dirty: client.prepare(&forget_dirty_sql(lane)).await?,
            note_dirty: client.prepare(&note_dirty_sql(lane)).await?,
            lane: lane.clone(),
        })
    }

    /// Applies `keys` in the transaction that is open on `client`; `lenient` while the copy is not over.
    ///
    /// # Errors
    /// If green does not have what the stream says it has, or the server said no.
    pub async fn apply(
        &self,
        client: &Client,
        keys: &HashMap<Key, Net>,
        lenient: bool,
    ) -> Result<(), ApplyError> {
        let work = Work::sort(&self.lane, keys);
        let sql = |source| ApplyError::Postgres { table: self.lane.table.plain(), source };
        let deleted = self.delete(client, &work).await.map_err(sql)?;
        let lacking = self.rewrite(client, &work).await.map_err(sql)?;
        if lenient {
            let params =
                self.keys(work.gone.iter().copied().chain(work.rewritten.iter().map(|(_, _, base)| *base)));
            client.execute_raw(&self.forget_dirty, &params).await.map_err(sql)?;
            let params = self.keys(lacking.iter().map(|at| work.rewritten[*at].0));
            client.execute_raw(&self.note_dirty, &params).await.map_err(sql)?;
        } else {
            let expected = work.gone.len() + work.rewritten.len();
            let found = deleted + (work.rewritten.len() - lacking.len()) as u64;
            if found != expected as u64 {
                return Err(ApplyError::Diverged {
                    table: self.lane.table.plain(),
                    expected: expected as u64,
                    found,
                });
            }
        }
        if !work.rows.is_empty() {
            let rows = self.rows(work.rows.iter().copied());
            client.execute_raw(&self.insert, [&rows]).await.map_err(sql)?;
        }
        Ok(())
    }

    /// Deletes what was there: first where the new row of the same key will be, then anywhere.
    async fn delete(&self, client: &Client, work: &Work<'_>) -> Result<u64, tokio_postgres::Error> {
        let mut anywhere: Vec<&Key> = Vec::new();
        let mut deleted = 0;
        if let (Some(statement), Some(hint)) = (&self.delete_hinted, &self.lane.hint) {
            let mut hinted = Vec::new();
            let mut values = Array::of(hint.type_oid);
            for key in &work.gone {
                match work.hints.get(key) {
                    Some(value) => {
                        hinted.push(*key);
                        values.push(Some(value));
                    }
                    None => anywhere.push(key),
                }
            }
            if !hinted.is_empty() {
                let mut params = self.keys(hinted.iter().copied());
                params.push(values);
                let params: Vec<&(dyn postgres_types::ToSql + Sync)> =
                    params.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
                let missed = client.query(statement, &params).await?;
                deleted += (hinted.len() - missed.len()) as u64;
                anywhere.extend(missed.iter().filter_map(|row| hinted.get(ordinal(row))));
            }
        } else {
            anywhere.extend(work.gone.iter().copied());
        }
        if !anywhere.is_empty() {
            deleted += client.execute_raw(&self.delete, &self.keys(anywhere.into_iter())).await?;
        }
        Ok(deleted)
    }

    /// Replaces rows that lack values by ones that take them from the row that was there.
    /// Returns which of them found none.
    async fn rewrite(&self, client: &Client, work: &Work<'_>) -> Result<Vec<usize>, tokio_postgres::Error> {
        if work.rewritten.is_empty() {
            return Ok(Vec::new());
        }
        let mut params = vec![self.rows(work.rewritten.iter().map(|(_, row, _)| *row))];
        params.extend(self.keys(work.rewritten.iter().map(|(_, _, base)| *base)));
        let mut masks = Array::of(postgres_types::Type::BYTEA.oid());
        for (_, row, _) in &work.rewritten {
            masks.push(Some(&mask(row)));
        }
        params.push(masks);
        let params: Vec<&(dyn postgres_types::ToSql + Sync)> =
            params.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
        Ok(client.query(&self.rewrite, &params).await?.iter().map(ordinal).collect())
    }

    fn keys<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<Array> {
        key_arrays(&self.lane, keys)
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

/// One array a key column.
#[must_use]
pub fn key_arrays<'a>(lane: &Lane, keys: impl Iterator<Item = &'a Key>) -> Vec<Array> {
    let mut arrays: Vec<Array> = lane.key.iter().map(|column| Array::of(column.type_oid)).collect();
    for key in keys {
        for (array, value) in arrays.iter_mut().zip(key.values()) {
            array.push(Some(&value));
        }
    }
    arrays
}

/// The keys of a batch, by what has to be done.
struct Work<'a> {
    /// Keys whose row goes.
    gone: Vec<&'a Key>,
    /// The partition key's value of the new row under the same key.
    hints: HashMap<&'a Key, &'a [u8]>,
    /// Complete rows that come.
    rows: Vec<&'a Row>,
    /// Rows that lack values: their key, the row, the key that the values are found under.
    rewritten: Vec<(&'a Key, &'a Row, &'a Key)>,
}

impl<'a> Work<'a> {
    fn sort(lane: &Lane, keys: &'a HashMap<Key, Net>) -> Self {
        let mut work =
            Self { gone: Vec::new(), hints: HashMap::new(), rows: Vec::new(), rewritten: Vec::new() };
        let mut bases = std::collections::HashSet::new();
        for (key, net) in keys {
            let Some(row) = &net.now else { continue };
            match &row.base {
                Some(base) => {
                    work.rewritten.push((key, row, base));
                    bases.insert(base);
                }
                None => work.rows.push(row),
            }
        }
        for (key, net) in keys.iter().filter(|(key, net)| net.was && !bases.contains(key)) {
            work.gone.push(key);
            let value =
                net.now.as_ref().zip(lane.hint.as_ref()).and_then(|(row, hint)| row.values.get(hint.at));
            if let Some(Value::Binary(value)) = value {
                work.hints.insert(key, value);
            }
        }
        work
    }
}

/// One bit a streamed column, the first one lowest: 1 where the value was not sent.
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

/// `g.a = k.k1 AND ...`, and the select list that gives `k1, ...` from the source's key columns.
fn join(lane: &Lane) -> (String, String) {
    let pairs = lane.key_in_target();
    let on =
        pairs.iter().enumerate().map(|(at, key)| format!("g.{} {} k.projh_k{at}", key.column, key.equals));
    let on = on.collect::<Vec<_>>().join(" AND ");
    let values = list(pairs.iter().enumerate().map(|(at, key)| format!("{} AS projh_k{at}", key.value)));
    (on, values)
}

fn delete_sql(lane: &Lane) -> String {
    let (on, values) = join(lane);
    format!(
        "DELETE FROM {target} g USING (SELECT {values} FROM {keys} AS s({names})) k WHERE {on}",
        target = lane.target,
        keys = lane.unnest_keys(1),
        names = lane.key_columns(),
    )
}

/// Returns the ordinals of the keys that were not found.
fn delete_hinted_sql(lane: &Lane) -> Option<String> {
    let hint = lane.hint.as_ref()?;
    let (on, values) = join(lane);
    let arrays = lane
        .key
        .iter()
        .map(|key| &key.type_name)
        .chain([&hint.type_name])
        .enumerate()
        .map(|(at, type_name)| format!("${}::{type_name}[]", at + 1));
    Some(format!(
        "WITH k AS MATERIALIZED (SELECT {values}, projh_hint, projh_ord FROM unnest({arrays}) WITH ORDINALITY AS s({names}, projh_hint, projh_ord)), \
         gone AS (DELETE FROM {target} g USING k WHERE {on} AND g.{column} {equals} k.projh_hint RETURNING k.projh_ord) \
         SELECT projh_ord FROM k WHERE projh_ord NOT IN (SELECT projh_ord FROM gone)",
        arrays = list(arrays),
        names = lane.key_columns(),
        target = lane.target,
        column = hint.target,
        equals = hint.equals,
    ))
}

fn insert_sql(lane: &Lane) -> String {
    format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {expressions} FROM unnest($1::{source}[]) AS s",
        target = lane.target,
        columns = lane.target_columns(),
        expressions = lane.expressions(),
        source = lane.row_type,
    )
}

/// Deletes the row that was there, and adds the new one with what it lacks from the old one. The sort
/// sees every deletion before the first row is added. Returns the ordinals that found no old row.
fn rewrite_sql(lane: &Lane) -> String {
    let key_count = lane.key.len();
    let base_names = list((0..key_count).map(|at| format!("projh_base{at}")));
    let keys =
        lane.key.iter().enumerate().map(|(at, key)| format!("unnest(${}::{}[])", at + 2, key.type_name));
    let pairs = lane.key_in_target();
    let (on, _) = join(lane);
    let base_row = list((0..key_count).map(|at| format!("s.projh_base{at}")));
    let base_values = pairs.iter().enumerate().map(|(at, key)| {
        format!(
            "(SELECT {value} FROM (VALUES ({base_row})) AS b({names})) AS projh_k{at}",
            value = key.value,
            names = lane.key_columns()
        )
    });
    let streamed: Vec<_> = lane.streamed().map(|column| &column.name).collect();
    let merged = lane.mapping.iter().enumerate().map(|(at, mapped)| {
        // What is made of a value that was not sent has not changed either, and is not made again.
        let bit = streamed.iter().position(|name| **name == mapped.source);
        let made = &mapped.expression;
        bit.map_or_else(
            || made.clone(),
            |bit| format!("CASE WHEN get_bit(projh_mask, {bit}) = 1 THEN gone.projh_t{at} ELSE {made} END"),
        )
    });
    let olds =
        lane.mapping.iter().enumerate().map(|(at, mapped)| format!("g.{} AS projh_t{at}", mapped.target));
    format!(
        "WITH k AS MATERIALIZED (SELECT s.projh_ord, s.projh_mask, {base_values}, {columns} \
           FROM ROWS FROM (unnest($1::{source}[]), {keys}, unnest(${mask}::bytea[])) WITH ORDINALITY \
           AS s({columns}, {base_names}, projh_mask, projh_ord)), \
         gone AS (DELETE FROM {target} g USING k WHERE {on} RETURNING k.projh_ord, {olds}), \
         added AS (INSERT INTO {target} ({targets}) OVERRIDING SYSTEM VALUE \
           SELECT {merged} FROM k JOIN gone USING (projh_ord) ORDER BY projh_ord) \
         SELECT projh_ord FROM k WHERE projh_ord NOT IN (SELECT projh_ord FROM gone)",
        base_values = list(base_values),
        source = lane.row_type,
        keys = list(keys),
        mask = key_count + 2,
        columns = list(streamed.iter()),
        target = lane.target,
        olds = list(olds),
        targets = lane.target_columns(),
        merged = list(merged),
    )
}

/// `a.key = b.key`, where both are the source's.
#[must_use]
pub fn same_key(lane: &Lane, a: &str, b: &str) -> String {
    let on = lane.key.iter().map(|key| format!("{a}.{0} {1} {b}.{0}", key.name, key.equals));
    on.collect::<Vec<_>>().join(" AND ")
}

fn forget_dirty_sql(lane: &Lane) -> String {
    let on = same_key(lane, "d", "s");
    format!(
        "DELETE FROM {dirty} d USING {keys} AS s({names}) WHERE {on}",
        dirty = lane.dirty_table(),
        keys = lane.unnest_keys(1),
        names = lane.key_columns(),
    )
}

fn note_dirty_sql(lane: &Lane) -> String {
    format!(
        "INSERT INTO {dirty} ({names}) SELECT * FROM {keys} ON CONFLICT DO NOTHING",
        dirty = lane.dirty_table(),
        names = lane.key_columns(),
        keys = lane.unnest_keys(1),
    )
}
