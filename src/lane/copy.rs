//! Copies the rows that existed at a consistent point from the source into the target: inside the server, or through this
//! program ([`through`]) if it transforms one of their columns.
//!
//! Invariant: a chunk is one transaction, which is left open for the caller to commit together with its fact, and it
//! counts only if the source's file is still the one from before the slot was made: a rewrite (VACUUM FULL,
//! TRUNCATE) between two chunks of one snapshot moves rows into blocks that were already read.

mod through;

use tokio_postgres::Client;

use super::coalesce::Key;
use super::raw::Raw;
use super::sent_keys::key_arrays;
use super::{CipherError, Lane, Mapped, apply, point};
use crate::lifecycle::Span;
use crate::pg::{AS_OPERATOR, Ident, QName, list};
use crate::replication::pgoutput::Value;

/// What went wrong in a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The server rejected a statement, or the connection was lost.
    #[error("{table} could not be copied: {}", crate::pg::describe(source))]
    Postgres {
        /// The table, as `schema.table`.
        table: String,
        /// The error of the server or the driver.
        source: tokio_postgres::Error,
    },
    /// The source was rewritten since the slot was made.
    #[error("{table} was rewritten or truncated while it was being copied")]
    Rewritten {
        /// The table, as `schema.table`.
        table: String,
        /// The lane's number in the plan.
        lane: usize,
    },
    /// A value cannot be transformed.
    #[error(transparent)]
    Cipher(#[from] CipherError),
    /// The keys of encrypted columns are not there.
    #[error("{table} could not be copied: the keys of its encrypted columns are missing")]
    NoKeys {
        /// The table, as `schema.table`.
        table: String,
    },
    /// What the server sent is not what COPY sends.
    #[error("{table} could not be copied: the rows that the server sent cannot be read")]
    Framing {
        /// The table, as `schema.table`.
        table: String,
    },
    /// A key that is to be read again has no value in one of its columns.
    #[error(
        "{table}: {table_of_keys} holds a key that cannot be read, so the rows to read again are not known"
    )]
    NoKey {
        /// The table, as `schema.table`.
        table: String,
        /// The working table of dirty keys.
        table_of_keys: String,
    },
}

impl CopyError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => crate::pg::is_transient(source),
            Self::Rewritten { .. } | Self::NoKey { .. } | Self::NoKeys { .. } => false,
            Self::Cipher(_) | Self::Framing { .. } => false,
        }
    }
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
    /// The name of the exported snapshot.
    pub snapshot: String,
    /// Whether the target may have rows of a chunk already, and so has its key index.
    pub skip_present: bool,
    /// [`file()`] of each lane's source, from before the slot was made.
    pub files: Vec<u32>,
}

/// Copies one chunk; if the source is partitioned, these blocks of each partition. Returns how many rows the target
/// gained; they are in the transaction that is left open on `client`. Rows that pass through this program are read by
/// `reader`, which may be the same for all others.
///
/// # Errors
/// If the source was rewritten, the server rejected a statement, or the connection was lost.
pub async fn chunk(
    client: &Client,
    reader: &Client,
    (lane, span): (&Lane, Span),
    round: &Round,
) -> Result<u64, CopyError> {
    if lane.is_transformed() {
        return through::chunk(reader, client, (lane, span), round).await;
    }
    let sql = CopyError::of(lane);
    let ChunkSql { staging, read, .. } = ChunkSql::of(lane, span, round);
    if let Some(staging) = &staging {
        client.batch_execute(&staging.make).await.map_err(&sql)?;
    }
    client.batch_execute(&at_snapshot(lane, round)).await.map_err(&sql)?;
    let mut rows = client.execute(&read, &[]).await.map_err(&sql)?;
    client.batch_execute(AS_OPERATOR).await.map_err(&sql)?;
    check_file(client, lane, round).await?;
    if let Some(staging) = &staging {
        rows = take_over(client, lane, &staging.take).await.map_err(&sql)?;
    }
    Ok(rows)
}

/// SQL that begins a transaction at the round's snapshot, with the rights to read and write rows.
fn at_snapshot(lane: &Lane, round: &Round) -> String {
    format!("{}; {}", point::import(&round.snapshot), lane.acting)
}

/// Commits what was staged, and takes it into the target in another transaction, which is left open.
async fn take_over(client: &Client, lane: &Lane, unstage: &str) -> Result<u64, tokio_postgres::Error> {
    client.batch_execute(&format!("COMMIT; BEGIN; {}", lane.acting)).await?;
    let rows = client.execute(unstage, &[]).await?;
    client.batch_execute(AS_OPERATOR).await?;
    Ok(rows)
}

/// Checks that the source's file is the one that the copy began with. To be called in the transaction that has read the
/// source, whose lock keeps the file.
async fn check_file(client: &Client, lane: &Lane, round: &Round) -> Result<(), CopyError> {
    let now = file(client, &lane.source).await.map_err(CopyError::of(lane))?;
    if now != 0 && round.files.get(lane.number) == Some(&now) {
        return Ok(());
    }
    // The outcome does not matter: the error is returned in any case.
    let _ = client.batch_execute("ROLLBACK").await;
    Err(CopyError::Rewritten { table: lane.table.plain(), lane: lane.number })
}

const FILE: &str = include_str!("../../sql/catalog/file.sql");

/// A number for the files that hold a table's rows: another one after a rewrite, 0 if the table does not exist.
///
/// # Errors
/// If the server rejects the query.
pub async fn file(client: &Client, table: &QName) -> Result<u32, tokio_postgres::Error> {
    Ok(client.query_one(FILE, &[&table.to_string()]).await?.get(0))
}

/// The statements that move the rows of one chunk.
pub(crate) struct ChunkSql {
    /// The stage, from the second round on.
    pub(crate) staging: Option<Staging>,
    /// Copies rows at the snapshot into the target or the stage, or to this program.
    pub(crate) read: String,
    /// Copies them from this program, on another connection.
    pub(crate) write: Option<String>,
}

/// The statements of a stage.
pub(crate) struct Staging {
    /// Creates the stage, or empties it.
    pub(crate) make: String,
    /// Moves its rows into the target.
    pub(crate) take: String,
}

impl ChunkSql {
    pub(crate) fn of(lane: &Lane, span: Span, round: &Round) -> Self {
        let into = if round.skip_present { staged(lane) } else { lane.target.to_string() };
        let staging = round.skip_present.then(|| Staging { make: stage(lane), take: unstage(lane) });
        if lane.is_transformed() {
            let from = format!("{} WHERE {}", lane.source_rows(), condition(span));
            let read = through::copy_out(lane, &from);
            return Self { staging, read, write: Some(through::copy_in(lane, &into)) };
        }
        Self {
            staging,
            write: None,
            read: insert(lane, &into, &format!("{} WHERE {}", lane.source_rows(), condition(span))),
        }
    }
}

/// Blocks as a condition on `ctid`.
pub(crate) fn condition(span: Span) -> String {
    let upper = span.to.map_or_else(String::new, |to| format!(" AND ctid < '({to},0)'::tid"));
    format!("ctid >= '({},0)'::tid{upper}", span.from)
}

/// INSERT from the source (or a part of it that has its columns) into the target, or the stage.
pub(crate) fn insert(lane: &Lane, into: &str, from: &str) -> String {
    let overriding = if into == lane.target.to_string() { " OVERRIDING SYSTEM VALUE" } else { "" };
    format!(
        "INSERT INTO {into} ({columns}){overriding} SELECT {expressions} FROM {from}",
        columns = lane.target_columns(),
        expressions = list(lane.mapping.iter().map(Mapped::in_server)),
    )
}

/// From the second round on, a row may conflict with one that the stream has written since the snapshot, and
/// a transaction at the snapshot cannot skip what it cannot see (40001). So it reads into a
/// temporary table of its session, and another transaction moves the rows from there.
fn stage(lane: &Lane) -> String {
    format!(
        "CREATE TEMP TABLE IF NOT EXISTS {stage} AS SELECT {columns} FROM {target} WITH NO DATA; \
         GRANT SELECT, INSERT ON {staged} TO {owner}; TRUNCATE {staged}",
        stage = staged_name(lane),
        columns = lane.target_columns(),
        target = lane.target,
        staged = staged(lane),
        owner = lane.owner,
    )
}

/// A deferrable key cannot say which rows conflict. Nobody else writes rows with these keys meanwhile.
fn unstage(lane: &Lane) -> String {
    let missing = if lane.defers {
        let keys = lane.key_in_target();
        let same = keys.iter().map(|key| format!("t.{0} {1} s.{0}", key.column, key.equals));
        let same = same.collect::<Vec<_>>().join(" AND ");
        format!("AS s WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {same})", lane.target)
    } else {
        format!("ON CONFLICT ({}) DO NOTHING", list(&lane.target_key))
    };
    format!(
        "INSERT INTO {target} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {staged} {missing}",
        target = lane.target,
        columns = lane.target_columns(),
        staged = staged(lane),
    )
}

fn staged_name(lane: &Lane) -> Ident {
    Ident(format!("projh_stage_{}", lane.number))
}

fn staged(lane: &Lane) -> String {
    format!("pg_temp.{}", staged_name(lane))
}

/// How many keys one statement reads again.
const DIRTY_AT_ONCE: usize = 5_000;

/// Reads the rows of dirty keys at a snapshot and clears the keys. Returns how many there were; if there were
/// any, a transaction is left open.
/// The keys are read before the transaction at the snapshot begins, which cannot see them: they are younger.
///
/// # Errors
/// If one of the keys cannot be read, or the server rejected a statement.
pub async fn dirty_keys(
    client: &Client,
    reader: &Client,
    lane: &Lane,
    round: &Round,
) -> Result<u64, CopyError> {
    let sql = CopyError::of(lane);
    let list_keys = format!("SELECT {} FROM {}", lane.key_columns(), lane.dirty_table());
    let list_keys = client.prepare(&list_keys).await.map_err(&sql)?;
    lane.encoding.as_stored(client).await.map_err(&sql)?;
    let rows = client.query(&list_keys, &[]).await.map_err(&sql)?;
    lane.encoding.as_utf8(client).await.map_err(&sql)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let keys: Option<Vec<Key>> = rows.iter().map(|row| key_of_row(row, lane)).collect();
    let keys = keys.ok_or_else(|| CopyError::NoKey {
        table: lane.table.plain(),
        table_of_keys: lane.dirty_table().plain(),
    })?;
    client.batch_execute(&stage(lane)).await.map_err(&sql)?;
    if lane.is_transformed() {
        through::keys(reader, client, (lane, &keys), round).await?;
        let empty = format!("TRUNCATE {}", lane.dirty_table());
        client.batch_execute(&empty).await.map_err(&sql)?;
        return Ok(keys.len() as u64);
    }
    client.batch_execute(&at_snapshot(lane, round)).await.map_err(&sql)?;
    let statement = client.prepare(&read_again(lane)).await.map_err(&sql)?;
    lane.encoding.as_stored(client).await.map_err(&sql)?;
    for some in keys.chunks(DIRTY_AT_ONCE) {
        client.execute_raw(&statement, &key_arrays(lane, some.iter())).await.map_err(&sql)?;
    }
    lane.encoding.as_utf8(client).await.map_err(&sql)?;
    client.batch_execute(AS_OPERATOR).await.map_err(&sql)?;
    check_file(client, lane, round).await?;
    take_over(client, lane, &unstage(lane)).await.map_err(&sql)?;
    let empty = format!("TRUNCATE {}", lane.dirty_table());
    client.batch_execute(&empty).await.map_err(&sql)?;
    Ok(keys.len() as u64)
}

/// Stages the rows of the keys in the parameters; a chunk of the same round may have copied them already.
fn read_again(lane: &Lane) -> String {
    insert(lane, &staged(lane), &rows_of_keys(lane))
}

/// The rows of the source with the keys in the parameters, for FROM.
fn rows_of_keys(lane: &Lane) -> String {
    let on = apply::same_key(lane, "s", "d");
    let source_columns = list(lane.columns.iter().map(|column| format!("s.{}", column.name)));
    format!(
        "(SELECT {source_columns} FROM {source} s JOIN {keys} AS d({names}) ON {on}) AS s",
        source = lane.source_rows(),
        keys = lane.sent_keys(1),
        names = lane.key_columns(),
    )
}

/// The key in a row whose first columns are the lane's key columns.
fn key_of_row(row: &tokio_postgres::Row, lane: &Lane) -> Option<Key> {
    let values: Vec<Value> = (0..lane.key.len()).map(|at| row.get::<_, Raw>(at).into()).collect();
    Key::new(&values)
}

const HEAP_RELATIONS: &str = include_str!("../../sql/catalog/heap_relations.sql");

/// The relations of a table that hold rows, quoted, and their sizes in blocks.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn heap_relations(
    client: &Client,
    table: &QName,
) -> Result<Vec<(String, u32)>, tokio_postgres::Error> {
    let rows = client.query(HEAP_RELATIONS, &[&table.to_string()]).await?;
    let relation = |row: &tokio_postgres::Row| {
        let name = QName::new(row.get::<_, String>(0), row.get::<_, String>(1));
        (name.to_string(), u32::try_from(row.get::<_, i64>(2)).unwrap_or(u32::MAX))
    };
    Ok(rows.iter().map(relation).collect())
}
