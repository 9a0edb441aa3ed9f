//! Rows that were there at a consistent point, from the source into the target, inside the server.
//!
//! Invariant: a chunk is one transaction, together with its fact, and it counts only if the
//! source's file is the one that was there before the slot was made: a rewrite (VACUUM FULL,
//! TRUNCATE) between two chunks of one snapshot moves rows to where nobody looks any more.

use std::collections::HashSet;

use tokio_postgres::Client;

use super::coalesce::Key;
use super::raw::{Array, Raw};
use super::{Lane, apply, point};
use crate::journal::{Journal, JournalError};
use crate::lifecycle::{Fact, Span};
use crate::pg::{QName, list};
use crate::replication::pgoutput::Value;

/// What went wrong in a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The server said no, or was gone.
    #[error("{table} could not be copied: {}", crate::pg::describe(source))]
    Postgres {
        /// The table.
        table: String,
        /// The server's or the driver's word.
        source: tokio_postgres::Error,
    },
    /// The fact could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The source was rewritten since the slot was made.
    #[error("{table} was rewritten or truncated while it was being copied")]
    Rewritten {
        /// The table.
        table: String,
        /// The lane's number.
        lane: usize,
    },
}

impl CopyError {
    fn of(lane: &Lane) -> impl Fn(tokio_postgres::Error) -> Self {
        let table = lane.table.plain();
        move |source| Self::Postgres { table: table.clone(), source }
    }
}

/// What the chunks of a round have in common.
#[derive(Clone, Debug)]
pub struct Round {
    /// The snapshot's name.
    pub snapshot: String,
    /// Green has its key index, and may have rows of a chunk already.
    pub skip_present: bool,
}

/// Copies one chunk. Returns how many rows the target gained.
///
/// # Errors
/// If the source was rewritten, the run is not ours any more, or the server said no.
pub async fn chunk(
    client: &Client,
    journal: &Journal,
    lane: &Lane,
    span: Span,
    round: &Round,
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    client.batch_execute(&point::import(&round.snapshot)).await.map_err(&sql)?;
    let range = range(span);
    let present = if round.skip_present {
        let keys = format!("SELECT {} FROM {} WHERE {range}", lane.key_columns(), lane.source);
        let rows = client.query(&keys, &[]).await.map_err(&sql)?;
        let keys: Vec<Key> = rows.iter().filter_map(|row| key_of_row(row, lane)).collect();
        present(journal.session(), lane, &keys).await.map_err(&sql)?
    } else {
        Vec::new()
    };
    let statement = client.prepare(&insert(lane, &range, !present.is_empty())).await.map_err(&sql)?;
    let params = if present.is_empty() { Vec::new() } else { apply::key_arrays(lane, present.iter()) };
    let rows = client.execute_raw(&statement, &params).await.map_err(&sql)?;
    let file = "SELECT pg_relation_filenode(to_regclass($1))";
    let file: Option<u32> = client.query_one(file, &[&lane.source.to_string()]).await.map_err(&sql)?.get(0);
    let before = journal.progress().filenodes.get(lane.number).copied();
    if file != before {
        // Nobody waits for this answer.
        let _ = client.batch_execute("ROLLBACK").await;
        return Err(CopyError::Rewritten { table: lane.table.plain(), lane: lane.number });
    }
    journal.commit(client, Fact::ChunkCopied { lane: lane.number, span, rows }).await?;
    Ok(rows)
}

fn range(span: Span) -> String {
    let upper = span.to.map_or_else(String::new, |to| format!(" AND ctid < '({to},0)'::tid"));
    format!("ctid >= '({},0)'::tid{upper}", span.from)
}

fn insert(lane: &Lane, range: &str, but_present: bool) -> String {
    let names = lane.key_columns();
    let but = format!(" AND ({names}) NOT IN (SELECT * FROM {})", lane.unnest_keys(1));
    format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {expressions} FROM {source} \
         WHERE {range}{but}",
        target = lane.target,
        columns = lane.target_columns(),
        expressions = lane.expressions(),
        source = lane.source,
        but = if but_present { but.as_str() } else { "" },
    )
}

/// Those of `keys` that the target has by now. Asked at a snapshot of its own: the round's does not
/// show what the stream has brought since, and `ON CONFLICT DO NOTHING` is an error about such rows.
/// Nothing but the round's own chunks writes to the target meanwhile, each of them other keys.
async fn present(now: &Client, lane: &Lane, keys: &[Key]) -> Result<Vec<Key>, tokio_postgres::Error> {
    let names = lane.key_columns();
    let (on, values) = apply::join(lane);
    let sql = format!(
        "SELECT {names} FROM (SELECT *, {values} FROM {arrays} AS s({names}) OFFSET 0) AS k \
         WHERE EXISTS (SELECT FROM {target} g WHERE {on})",
        arrays = lane.unnest_keys(1),
        target = lane.target,
    );
    let statement = now.prepare(&sql).await?;
    let mut present = Vec::new();
    for some in keys.chunks(KEYS_AT_ONCE) {
        let arrays = apply::key_arrays(lane, some.iter());
        let params: Vec<&(dyn postgres_types::ToSql + Sync)> =
            arrays.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
        let rows = now.query(&statement, &params).await?;
        present.extend(rows.iter().filter_map(|row| key_of_row(row, lane)));
    }
    Ok(present)
}

/// How many keys one statement is given.
const KEYS_AT_ONCE: usize = 5_000;

/// Reads the rows of dirty keys at a snapshot; the keys are clean then. Returns how many there were.
/// `at_snapshot` is in a transaction at the snapshot; it cannot see the keys, which are younger.
///
/// # Errors
/// If the run is not ours any more, or the server said no.
pub async fn dirty_keys(
    client: &Client,
    at_now: &Client,
    journal: &Journal,
    lane: &Lane,
    round: &Round,
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    let list_keys = format!("SELECT {} FROM {}", lane.key_columns(), lane.dirty_table());
    let rows = at_now.query(&list_keys, &[]).await.map_err(&sql)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let keys: Vec<Key> = rows.iter().filter_map(|row| key_of_row(row, lane)).collect();
    // A chunk of this round may have brought the row already.
    let present: HashSet<Key> = present(at_now, lane, &keys).await.map_err(&sql)?.into_iter().collect();
    let missing: Vec<&Key> = keys.iter().filter(|key| !present.contains(key)).collect();
    client.batch_execute(&point::import(&round.snapshot)).await.map_err(&sql)?;
    let statement = client.prepare(&read_again(lane)).await.map_err(&sql)?;
    for some in missing.chunks(KEYS_AT_ONCE) {
        let arrays: Vec<Array> = apply::key_arrays(lane, some.iter().copied());
        client.execute_raw(&statement, &arrays).await.map_err(&sql)?;
    }
    let empty = format!("TRUNCATE {}", lane.dirty_table());
    client.batch_execute(&empty).await.map_err(&sql)?;
    let count = keys.len() as u64;
    journal.commit(client, Fact::DirtyKeysRead { lane: lane.number, keys: count }).await?;
    Ok(count)
}

fn read_again(lane: &Lane) -> String {
    let on = lane.key.iter().map(|key| format!("s.{0} = d.{0}", key.name)).collect::<Vec<_>>().join(" AND ");
    let source_columns = list(lane.columns.iter().map(|column| format!("s.{}", column.name)));
    format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {expressions} FROM \
         (SELECT {source_columns} FROM {source} s JOIN {keys} AS d({names}) ON {on}) AS s",
        target = lane.target,
        columns = lane.target_columns(),
        expressions = lane.expressions(),
        source = lane.source,
        keys = lane.unnest_keys(1),
        names = lane.key_columns(),
    )
}

/// The key in a row whose first columns are the lane's key columns.
pub(super) fn key_of_row(row: &tokio_postgres::Row, lane: &Lane) -> Option<Key> {
    let values: Vec<Value> = (0..lane.key.len()).map(|at| row.get::<_, Raw>(at).into()).collect();
    Key::new(&values)
}

const HEAP_RELATIONS: &str = include_str!("../../sql/catalog/heap_relations.sql");

/// The relations of a table that hold rows, quoted, and their sizes in blocks.
///
/// # Errors
/// If the server said no.
pub async fn heap_relations(client: &Client, table: &QName) -> Result<Vec<(String, u32)>, tokio_postgres::Error> {
    let rows = client.query(HEAP_RELATIONS, &[&table.to_string()]).await?;
    let blocks = |row: &tokio_postgres::Row| u32::try_from(row.get::<_, i64>(1)).unwrap_or(u32::MAX);
    Ok(rows.iter().map(|row| (row.get(0), blocks(row))).collect())
}
