//! Net changes into the target, set by set: deletions, then rows that lack values, then rows.
//!
//! Invariants: what was there under a key goes before anything comes, so that no unique index of
//! the target sees a batch half-way. Strictly, once the copy is over: every key that was there is
//! met exactly once, and a row that lacks values finds them; anything else stops the run. While
//! rows are still missing, a key may be absent, and a row that cannot be completed is left out
//! and its key remembered as dirty, to be read from the source at the next consistent point.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Client, Statement};

use super::Lane;
use super::coalesce::{Key, Net, Row};
use super::raw::Array;
use crate::pg::{Ident, list};
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

/// The statements of one lane, as text. Their parameters are arrays of keys and of rows.
pub(crate) struct ApplySql {
    /// Deletes what was there under some keys.
    pub(crate) delete: String,
    /// Updates rows that keep their key, in place; none where they cannot be.
    pub(crate) replace: Option<String>,
    /// Replaces rows whose large values the stream does not repeat.
    pub(crate) rewrite: String,
    /// Adds rows.
    pub(crate) insert: String,
    /// While rows are missing: keys that need not be read again.
    pub(crate) forget_dirty: String,
    /// While rows are missing: keys that have to be.
    pub(crate) note_dirty: String,
}

impl ApplySql {
    pub(crate) fn of(lane: &Lane) -> Self {
        Self {
            delete: delete_sql(lane),
            replace: replace_sql(lane),
            rewrite: rewrite_sql(lane),
            insert: insert_sql(lane),
            forget_dirty: forget_dirty_sql(lane),
            note_dirty: note_dirty_sql(lane),
        }
    }
}

/// The statements of one lane, prepared on one connection.
pub struct Apply {
    lane: Lane,
    /// None where no row may be updated in place.
    replace: Option<Statement>,
    delete: Statement,
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
        let sql = ApplySql::of(lane);
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
        let mut work = Work::sort(keys);
        let (were, sql) =
            (work.were(), |source| ApplyError::Postgres { table: self.lane.table.plain(), source });
        if lenient {
            let params = self.keys(work.were_there());
            client.execute_raw(&self.forget_dirty, &params).await.map_err(sql)?;
        }
        let replaced = self.replace(client, &mut work).await.map_err(sql)?;
        let deleted = self.delete(client, &work).await.map_err(sql)?;
        let lacking = self.rewrite(client, &work).await.map_err(sql)?;
        if lenient {
            let params = self.keys(lacking.iter().map(|at| work.rewritten[*at].0));
            client.execute_raw(&self.note_dirty, &params).await.map_err(sql)?;
        } else {
            let found = replaced + deleted + (work.rewritten.len() - lacking.len()) as u64;
            if found != were {
                let table = self.lane.table.plain();
                return Err(ApplyError::Diverged { table, expected: were, found });
            }
        }
        if !work.rows.is_empty() {
            let rows = self.rows(work.rows.iter().copied());
            client.execute_raw(&self.insert, [&rows]).await.map_err(sql)?;
        }
        Ok(())
    }

    /// Updates the rows that stay under their key, where their partition key leads to. Those that are
    /// not there, or would take or give up a unique value, become ones to delete and to add.
    async fn replace<'a>(&self, client: &Client, work: &mut Work<'a>) -> Result<u64, tokio_postgres::Error> {
        let replaced = std::mem::take(&mut work.replaced);
        if replaced.is_empty() {
            return Ok(0);
        }
        let Some(statement) = &self.replace else {
            work.replace_otherwise(replaced);
            return Ok(0);
        };
        let rows = self.rows(replaced.iter().map(|(_, row)| *row));
        let masks = masks(replaced.iter().map(|(_, row)| *row));
        let count = i64::try_from(replaced.len()).unwrap_or(i64::MAX);
        let missed = client.query(statement, &[&rows, &masks, &count]).await?;
        let done = replaced.len() - missed.len();
        let missed = missed.iter().filter_map(|row| replaced.get(ordinal(row)).copied());
        work.replace_otherwise(missed);
        Ok(done as u64)
    }

    /// Deletes rows by their key alone.
    async fn delete(&self, client: &Client, work: &Work<'_>) -> Result<u64, tokio_postgres::Error> {
        if work.gone.is_empty() {
            return Ok(0);
        }
        client.execute_raw(&self.delete, &self.keys(work.gone.iter().copied())).await
    }

    /// Replaces rows that lack values by ones that take them from the row that was there.
    /// Returns which of them found none.
    async fn rewrite(&self, client: &Client, work: &Work<'_>) -> Result<Vec<usize>, tokio_postgres::Error> {
        if work.rewritten.is_empty() {
            return Ok(Vec::new());
        }
        let mut params = vec![self.rows(work.rewritten.iter().map(|(_, row, _)| *row))];
        params.extend(self.keys(work.rewritten.iter().map(|(_, _, base)| *base)));
        params.push(masks(work.rewritten.iter().map(|(_, row, _)| *row)));
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
    /// Keys whose row has new values.
    replaced: Vec<(&'a Key, &'a Row)>,
    /// Keys whose row goes.
    gone: Vec<&'a Key>,
    /// Complete rows that come.
    rows: Vec<&'a Row>,
    /// Rows that lack values: their key, the row, the key that the values are found under.
    rewritten: Vec<(&'a Key, &'a Row, &'a Key)>,
}

impl<'a> Work<'a> {
    fn sort(keys: &'a HashMap<Key, Net>) -> Self {
        let mut work =
            Self { replaced: Vec::new(), gone: Vec::new(), rows: Vec::new(), rewritten: Vec::new() };
        // Values that another row takes over have to be there until it has.
        let moved =
            |(key, net): (&'a Key, &'a Net)| net.now.as_ref()?.base.as_ref().filter(|base| *base != key);
        let bases: HashSet<&Key> = keys.iter().filter_map(moved).collect();
        // In the keys' order, the server reads the same pages of the index one after the other.
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_unstable_by_key(|(key, _)| *key);
        for (key, net) in keys {
            let goes = net.was && !bases.contains(key);
            match &net.now {
                Some(row) if goes && row.base.as_ref().is_none_or(|base| base == key) => {
                    work.replaced.push((key, row));
                    continue;
                }
                Some(row) => match &row.base {
                    Some(base) => work.rewritten.push((key, row, base)),
                    None => work.rows.push(row),
                },
                None => {}
            }
            if goes {
                work.gone.push(key);
            }
        }
        work
    }

    /// What cannot be replaced in place is deleted and added.
    fn replace_otherwise(&mut self, replaced: impl IntoIterator<Item = (&'a Key, &'a Row)>) {
        for (key, row) in replaced {
            match &row.base {
                Some(base) => self.rewritten.push((key, row, base)),
                None => {
                    self.gone.push(key);
                    self.rows.push(row);
                }
            }
        }
    }

    /// The keys whose rows must be there before the batch.
    fn were_there(&self) -> impl Iterator<Item = &'a Key> {
        let replaced = self.replaced.iter().map(|(key, _)| *key);
        replaced.chain(self.gone.iter().copied()).chain(self.rewritten.iter().map(|(_, _, base)| *base))
    }

    fn were(&self) -> u64 {
        (self.replaced.len() + self.gone.len() + self.rewritten.len()) as u64
    }
}

/// One mask a row.
fn masks<'a>(rows: impl Iterator<Item = &'a Row>) -> Array {
    let mut masks = Array::of(postgres_types::Type::BYTEA.oid());
    for row in rows {
        masks.push(Some(&mask(row)));
    }
    masks
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

/// Updates rows where they are. Returns the ordinals of those that were not there, or whose unique
/// values are other ones.
fn replace_sql(lane: &Lane) -> Option<String> {
    let keep = lane.keep_in_place.as_ref()?;
    let keys = lane.key_in_target().into_iter().map(|key| (key.column, key.equals));
    let hint = lane.hint.as_ref().map(|hint| (&hint.target, hint.equals.as_str()));
    let equals: HashMap<&Ident, &str> = keys.chain(hint).collect();
    let merged: Vec<(&Ident, String)> =
        lane.mapping.iter().zip(merged(lane, "g.")).map(|(mapped, sql)| (&mapped.target, sql)).collect();
    let mapped = || lane.mapping.iter().map(|mapped| &mapped.target).enumerate();
    let new = mapped().filter_map(|(at, target)| Some((at, target, equals.get(target)?)));
    let mut conditions: Vec<String> =
        new.map(|(at, target, equals)| format!("g.{target} {equals} k.projh_e{at}")).collect();
    if !keep.is_empty() {
        // Both of the type that a value of the target and a new one have in common.
        let kept = || mapped().filter(|(_, target)| keep.contains(target));
        let now = kept().map(|(at, target)| format!("CASE WHEN true THEN g.{target} ELSE k.projh_e{at} END"));
        let (now, then) = (list(now), list(kept().map(|(at, _)| &merged[at].1)));
        conditions.push(format!("record_image_eq(ROW({now}), ROW({then}))"));
    }
    let sets = merged.iter().map(|(target, sql)| format!("{target} = {sql}"));
    Some(format!(
        "WITH done AS (UPDATE {target} AS g SET {sets} FROM \
           (SELECT s.projh_ord, s.projh_mask, {values} \
           FROM ROWS FROM (unnest($1::{source}[]), unnest($2::bytea[])) WITH ORDINALITY \
           AS s({columns}, projh_mask, projh_ord)) AS k WHERE {on} RETURNING k.projh_ord) \
         SELECT n FROM generate_series(1, $3::bigint) AS n WHERE n NOT IN (SELECT projh_ord FROM done)",
        target = lane.target,
        sets = list(sets),
        values = values(lane),
        source = lane.row_type,
        columns = list(lane.streamed().map(|column| &column.name)),
        on = conditions.join(" AND "),
    ))
}

/// Each of the target's columns from the source's, as `projh_e0, ...`; not where that one was not sent,
/// for an expression may not like NULL.
fn values(lane: &Lane) -> String {
    let values = lane.mapping.iter().zip(bits(lane)).enumerate();
    list(values.map(|(at, (mapped, bit))| match bit.filter(|_| !mapped.is_same) {
        Some(bit) => format!(
            "CASE WHEN get_bit(s.projh_mask, {bit}) = 1 THEN NULL ELSE {} END AS projh_e{at}",
            mapped.expression
        ),
        None => format!("{} AS projh_e{at}", mapped.expression),
    }))
}

/// For each of the target's columns, the place of the source's among those that the stream carries.
fn bits(lane: &Lane) -> impl Iterator<Item = Option<usize>> {
    let streamed: Vec<&Ident> = lane.streamed().map(|column| &column.name).collect();
    lane.mapping.iter().map(move |mapped| streamed.iter().position(|name| **name == mapped.source))
}

/// Those again, but with what is there already where the stream did not repeat a value: what is made
/// of a value that has not changed has not changed either. What is there is under `old` and the name
/// of the target's column.
fn merged(lane: &Lane, old: &str) -> Vec<String> {
    let merged = lane.mapping.iter().zip(bits(lane)).enumerate().map(|(at, (mapped, bit))| {
        bit.map_or_else(
            || format!("k.projh_e{at}"),
            |bit| {
                let target = &mapped.target;
                format!(
                    "CASE WHEN get_bit(k.projh_mask, {bit}) = 1 THEN {old}{target} ELSE k.projh_e{at} END"
                )
            },
        )
    });
    merged.collect()
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
    let olds = lane.mapping.iter().map(|mapped| format!("g.{}", mapped.target));
    format!(
        "WITH k AS MATERIALIZED (SELECT s.projh_ord, s.projh_mask, {base_values}, {values} \
           FROM ROWS FROM (unnest($1::{source}[]), {keys}, unnest(${mask}::bytea[])) WITH ORDINALITY \
           AS s({columns}, {base_names}, projh_mask, projh_ord)), \
         gone AS (DELETE FROM {target} g USING k WHERE {on} RETURNING k.projh_ord, {olds}), \
         added AS (INSERT INTO {target} ({targets}) OVERRIDING SYSTEM VALUE \
           SELECT {merged} FROM k JOIN gone USING (projh_ord) ORDER BY projh_ord) \
         SELECT projh_ord FROM k WHERE projh_ord NOT IN (SELECT projh_ord FROM gone)",
        base_values = list(base_values),
        values = values(lane),
        source = lane.row_type,
        keys = list(keys),
        mask = key_count + 2,
        columns = list(lane.streamed().map(|column| &column.name)),
        target = lane.target,
        olds = list(olds),
        targets = lane.target_columns(),
        merged = list(merged(lane, "gone.")),
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
