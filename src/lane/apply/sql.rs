//! The statements that apply a batch to the target.
//!
//! `$1` of those that write rows is an array of rows of the source; a row's mask has one bit for each
//! column that the stream carries, set if the stream did not repeat the value. Of a lane with values that this program
//! transforms, rows and keys are in temporary tables instead, by COPY: the server may log parameters.

use std::collections::HashMap;

use crate::lane::Lane;
use crate::lane::row_hash::key_digest;
use crate::pg::{Ident, list};

/// The statements of one lane, as text. Their parameters are arrays of keys and of rows.
pub(crate) struct ApplySql {
    /// Deletes the rows of some keys.
    pub(crate) delete: String,
    /// Updates rows that keep their key, in place; `None` if that is not possible.
    pub(crate) replace: Option<String>,
    /// Replaces rows whose large values the stream does not repeat.
    pub(crate) rewrite: String,
    /// Inserts rows.
    pub(crate) insert: String,
    /// While rows are missing: deletes dirty keys, which need not be read again.
    pub(crate) forget_dirty: String,
    /// While rows are missing: adds dirty keys, which have to be read again.
    pub(crate) note_dirty: String,
    /// Digests of keys: `$1` is how many at most, `$2` the secret if it is a parameter.
    pub(crate) digests: String,
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
            digests: digests_sql(lane),
        }
    }
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
        keys = lane.sent_keys(1),
        names = lane.key_columns(),
    )
}

/// Updates rows in place. Returns the ordinals of those that were not found, or whose unique values change.
fn replace_sql(lane: &Lane) -> Option<String> {
    let keep = lane.keep_in_place.as_ref()?;
    let keys = lane.key_in_target().into_iter().map(|key| (key.column, key.equals));
    let partition = lane.partition_hint.as_ref().map(|hint| (&hint.target, hint.equals.as_str()));
    let equals: HashMap<&Ident, &str> = keys.chain(partition).collect();
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
        let now = list(now);
        let then = list(kept().map(|(at, _)| &merged[at].1));
        conditions.push(format!("record_image_eq(ROW({now}), ROW({then}))"));
    }
    let sets = merged.iter().map(|(target, sql)| format!("{target} = {sql}"));
    Some(format!(
        "WITH done AS (UPDATE {target} AS g SET {sets} FROM \
           (SELECT s.projh_ord, s.projh_mask, {values} FROM {rows}) AS k WHERE {on} RETURNING k.projh_ord) \
         SELECT n FROM generate_series(1, ${count}::bigint) AS n WHERE n NOT IN (SELECT projh_ord FROM done)",
        target = lane.target,
        sets = list(sets),
        values = values(lane),
        rows = rows(lane, &[]),
        count = if lane.is_transformed() { 1 } else { 3 },
        on = conditions.join(" AND "),
    ))
}

/// Each of the target's columns from the source's, as `projh_e0, ...`; not computed if that one was not sent,
/// because an expression may fail on NULL.
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

/// For each of the target's columns, the position of its source column among those that the stream carries.
fn bits(lane: &Lane) -> impl Iterator<Item = Option<usize>> {
    let streamed: Vec<&Ident> = lane.streamed().map(|column| &column.name).collect();
    lane.mapping.iter().map(move |mapped| streamed.iter().position(|name| **name == mapped.source))
}

/// The same values, but the old one if the stream did not repeat the source's: what is computed
/// from an unchanged value has not changed either. `old` is the prefix of the target's columns in the old row.
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
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {expressions} FROM {rows}",
        target = lane.target,
        columns = lane.target_columns(),
        expressions = lane.expressions(),
        rows = match lane.is_transformed() {
            true => format!("{} AS s", batch(lane)),
            false => format!("unnest($1::{}[]) AS s", lane.row_type),
        },
    )
}

/// The rows of a batch as `s`, with their masks and ordinals, for FROM; `keys` are those of the rows that they replace.
fn rows(lane: &Lane, keys: &[String]) -> String {
    if lane.is_transformed() {
        return format!("{} AS s", batch(lane));
    }
    let mask = keys.len() + 2;
    let unnested = keys.iter().cloned().chain([format!("unnest(${mask}::bytea[])")]);
    let bases = (0..keys.len()).map(|at| Ident(format!("projh_base{at}")));
    let names = lane.fields().chain(bases).chain(["projh_mask".into(), "projh_ord".into()]);
    format!(
        "ROWS FROM (unnest($1::{row_type}[]), {unnested}) WITH ORDINALITY AS s({names})",
        row_type = lane.row_type,
        unnested = list(unnested),
        names = list(names),
    )
}

/// The temporary table with the rows of a batch of a lane with values that this program transforms.
pub(super) fn batch(lane: &Lane) -> String {
    format!("pg_temp.projh_batch_{}", lane.number)
}

/// Makes it. Its columns are an ordinal, a mask, the fields of a row, and the key of the row that it replaces.
pub(super) fn make_batch(lane: &Lane) -> String {
    let keys =
        lane.key.iter().enumerate().map(|(at, key)| format!("NULL::{} AS projh_base{at}", key.type_name));
    format!(
        "DROP TABLE IF EXISTS {batch}; \
         CREATE TEMP TABLE projh_batch_{number} ON COMMIT DELETE ROWS AS \
         SELECT NULL::bigint AS projh_ord, NULL::bytea AS projh_mask, (NULL::{row_type}).*, {keys} WITH NO DATA; \
         GRANT SELECT, INSERT, DELETE, TRUNCATE ON {batch} TO {owner}",
        batch = batch(lane),
        number = lane.number,
        row_type = lane.row_type,
        keys = list(keys),
        owner = lane.owner,
    )
}

/// Deletes the old row, and inserts the new one with the values that it lacks, and those that it keeps, from the old one. The sort
/// completes every deletion before the first insertion. Returns the ordinals that found no old row.
fn rewrite_sql(lane: &Lane) -> String {
    let key_count = lane.key.len();
    let keys =
        lane.key.iter().enumerate().map(|(at, key)| format!("unnest(${}::{}[])", at + 2, key.type_name));
    let keys: Vec<String> = keys.collect();
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
    let targets = || lane.mapping.iter().map(|mapped| &mapped.target).chain(&lane.kept);
    let kept = lane.kept.iter().map(|name| format!("gone.{name}"));
    format!(
        "WITH k AS MATERIALIZED (SELECT s.projh_ord, s.projh_mask, {base_values}, {values} \
           FROM {rows}), \
         gone AS (DELETE FROM {target} g USING k WHERE {on} RETURNING k.projh_ord, {olds}), \
         added AS (INSERT INTO {target} ({targets}) OVERRIDING SYSTEM VALUE \
           SELECT {merged} FROM k JOIN gone USING (projh_ord) ORDER BY projh_ord) \
         SELECT projh_ord FROM k WHERE projh_ord NOT IN (SELECT projh_ord FROM gone)",
        base_values = list(base_values),
        values = values(lane),
        rows = rows(lane, &keys),
        target = lane.target,
        olds = list(targets().map(|name| format!("g.{name}"))),
        targets = list(targets()),
        merged = list(merged(lane, "gone.").into_iter().chain(kept)),
    )
}

/// `a.key = b.key` as SQL, both with the source's key columns.
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
        keys = lane.sent_keys(1),
        names = lane.key_columns(),
    )
}

fn note_dirty_sql(lane: &Lane) -> String {
    format!(
        "INSERT INTO {dirty} ({names}) SELECT * FROM {keys} ON CONFLICT DO NOTHING",
        dirty = lane.dirty_table(),
        names = lane.key_columns(),
        keys = lane.sent_keys(1),
    )
}

/// As the source has them: a key that the target cannot hold has a digest, too.
fn digests_sql(lane: &Lane) -> String {
    format!(
        "SELECT DISTINCT {digest} FROM {keys} AS s({names}) ORDER BY 1 LIMIT $1::bigint",
        digest = key_digest(&lane.secret_sql(), lane.key.iter().map(|key| &key.name)),
        keys = lane.sent_keys(lane.after_secret()),
        names = lane.key_columns(),
    )
}
