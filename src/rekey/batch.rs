//! Some rows: read in the order of the key, and written by COPY into a temporary table and one UPDATE, in a transaction that is
//! committed only once every value of it has been opened.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::Work;
use super::sealing::{Digest, Sealing};
use crate::error::{Doing, Error, ExitCode};
use crate::lane::raw::Raw;
use crate::pg::copy::CopyRows;
use crate::pg::{self, list};
use crate::phase::locks::Limits;
use crate::phase::steps::SEARCH_PATH;
use crate::phi::Refused;

/// The temporary table with the values of a batch.
const BATCH: &str = "pg_temp.projh_rekey";
/// The temporary table with the key after which a batch begins: it is sent by COPY, because the server may log parameters.
const AFTER: &str = "pg_temp.projh_rekey_after";
/// How long a batch waits for what others have locked, while others may wait for its own: at most that. It does not wait for rows.
const LOCK_WAIT: Duration = Duration::from_millis(300);
/// How long others may wait for the rows of a batch: they are locked until their new values were read back.
const HELD: Duration = Duration::from_millis(200);
/// The most rows of a batch.
const ROWS_MAX: usize = 2_000;

/// Rows that were read, and what becomes of them.
pub(super) struct Batch {
    pub(super) rows: Vec<RowRead>,
    bytes: usize,
}

/// A row with at least one value that is not under its column's key.
pub(super) struct RowRead {
    /// Its key, in PostgreSQL's binary form.
    key: Vec<Option<Bytes>>,
    pub(super) key_text: Vec<Vec<u8>>,
    pub(super) fields: Vec<Field>,
}

/// The key of the last row of a batch, in PostgreSQL's binary form.
pub(super) struct LastKey(Vec<Option<Bytes>>);

/// A column of a row.
pub(super) enum Field {
    /// There is nothing to do.
    Kept,
    /// A value under another key.
    Read(Bytes),
    /// A value that was encrypted again.
    Sealed { old: Bytes, new: Vec<u8>, digest: Digest },
    /// A value that cannot be opened.
    Refused(Refused),
}

/// What was written of a batch.
#[derive(Default)]
pub(super) struct Written {
    pub(super) values: u64,
    /// Rows that others had changed, locked or deleted.
    pub(super) skipped: u64,
}

/// Rows that were updated.
struct Updated {
    /// As the server has them once all triggers have fired.
    rows: Vec<Row>,
    count: u64,
}

impl Batch {
    /// Reads the next rows after this key.
    pub(super) async fn read(
        client: &Client,
        work: &Work,
        after: Option<&LastKey>,
        at_once: usize,
    ) -> Result<Self, Error> {
        let doing = || format!("reading encrypted values of {}", work.name());
        let keys = list(work.key.iter().map(|key| format!("t.{}", key.name)));
        let texts = work.key.iter().map(|key| format!("t.{}::pg_catalog.text", key.name));
        let raw = work.key.iter().map(|key| format!("t.{}", key.name));
        let value = |column: &super::Target| {
            let (name, is_other) = (&column.name, column.is_other("t"));
            format!("CASE WHEN {is_other} THEN t.{name}::pg_catalog.bytea END")
        };
        let fields = list(texts.chain(raw).chain(work.columns.iter().map(value)));
        let bound = (0..work.key.len()).map(|at| format!("(SELECT k{at} FROM {AFTER})"));
        let from = after.map(|_| format!(" AND ({keys}) > ({})", list(bound)));
        let sql = format!(
            "SELECT {fields} FROM {} t WHERE {}{} ORDER BY {keys} LIMIT {at_once}",
            work.table.name,
            work.is_other(),
            from.unwrap_or_default()
        );
        client.batch_execute(&work.begin()).await.doing(doing())?;
        if let Some(LastKey(key)) = after {
            let copy = format!("COPY {AFTER} FROM STDIN (FORMAT binary)");
            let row = CopyRows::of(key.iter().map(Option::as_deref));
            row.send(client, &copy).await.doing(doing())?;
        }
        let no_parameters: [&str; 0] = [];
        let rows = client.query_raw(&sql, no_parameters).await.doing(doing())?;
        let mut rows = std::pin::pin!(rows);
        let (mut batch, count) = (Self { rows: Vec::new(), bytes: 0 }, work.key.len());
        while let Some(row) = rows.try_next().await.doing(doing())? {
            let field = |at: usize| row.get::<_, Raw>(at).0;
            let values = (2 * count..row.len()).map(|at| field(at).map_or(Field::Kept, Field::Read));
            let row = RowRead {
                key: (count..2 * count).map(field).collect(),
                key_text: (0..count).map(|at| field(at).unwrap_or_default().to_vec()).collect(),
                fields: values.collect(),
            };
            batch.bytes += row.bytes();
            batch.rows.push(row);
        }
        client.batch_execute("COMMIT").await.doing(doing())?;
        Ok(batch)
    }

    /// The key of its last row; `None` if it has no row.
    pub(super) fn last_key(&self) -> Option<LastKey> {
        self.rows.last().map(|row| LastKey(row.key.clone()))
    }

    /// The number of rows of which there are so many bytes, at the size of these, and which take no longer to be written and read back
    /// than [`HELD`], at the pace of these.
    pub(super) fn next_size(&self, bytes: u64, took: Duration) -> usize {
        let of_row = (self.bytes / self.rows.len().max(1)).max(1);
        let of_bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / of_row;
        of_bytes.min(written_within(HELD, self.rows.len(), took)).clamp(1, ROWS_MAX)
    }

    /// Why values were left as they are.
    pub(super) fn refused(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| &row.fields).filter_map(|field| match field {
            Field::Refused(why) => Some(why.to_string()),
            _ => None,
        })
    }

    pub(super) fn refused_count(&self) -> u64 {
        self.refused().count() as u64
    }

    /// Writes the values that were encrypted again; `keep`: and commits.
    pub(super) async fn write(
        &self,
        client: &Client,
        work: &Work,
        sealing: &mut Sealing,
        keep: bool,
    ) -> Result<Written, Error> {
        let doing = || format!("writing encrypted values of {}", work.name());
        let sealed = self.rows.iter().filter(|row| row.sealed().next().is_some()).count() as u64;
        if sealed == 0 {
            return Ok(Written::default());
        }
        let rows = match self.update(client, work).await {
            Ok(rows) => rows,
            // Others have some of the rows, or wait for them: later.
            Err(error) if error.code().is_some_and(is_passing) => {
                client.batch_execute("ROLLBACK").await.doing(doing())?;
                return Ok(Written { values: 0, skipped: sealed });
            }
            Err(error) if error.code().is_some_and(is_unknown) && !work.triggers.is_empty() => {
                return Err(not_found(work, &error));
            }
            Err(error) => return Err(error).doing(doing()),
        };
        let Updated { rows, count } = rows;
        if (rows.len() as u64) < count {
            client.batch_execute("ROLLBACK").await.doing(doing())?;
            return Err(not_written(&format!("a row of {} is gone once it is written", work.name())));
        }
        let mut values = 0;
        for row in &rows {
            let written = usize::try_from(row.get::<_, i32>(0)).ok().and_then(|at| self.rows.get(at));
            let Some(written) = written else {
                return Err(Error::Bug("a row that was not sent has come back"));
            };
            for (number, digest) in written.sealed() {
                let value = row.get::<_, Raw>(number + 1).0.unwrap_or_default();
                if !sealing.is_written(written, number, &value, digest) {
                    client.batch_execute("ROLLBACK").await.doing(doing())?;
                    let column = work.columns.get(number).map_or("", |column| column.name.as_str());
                    let what =
                        format!("a value of {}, column {column}, is not what was written", work.name());
                    return Err(not_written(&what));
                }
                values += 1;
            }
        }
        client.batch_execute(if keep { "COMMIT" } else { "ROLLBACK" }).await.doing(doing())?;
        Ok(Written { values, skipped: sealed - count.min(sealed) })
    }

    /// Updates the rows that nobody else has locked, in a transaction that is left open. Whoever waits for a row is not waited
    /// for, so that none of them becomes the victim of a deadlock.
    async fn update(&self, client: &Client, work: &Work) -> Result<Updated, tokio_postgres::Error> {
        let wait = Limits::of(client).await?.brief(LOCK_WAIT).as_millis();
        let limits = format!(
            "SET LOCAL lock_timeout = '{wait}ms'; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; {SEARCH_PATH}"
        );
        client.batch_execute(&format!("{}; {limits}", work.begin())).await?;
        self.sent().send(client, &format!("COPY {BATCH} FROM STDIN (FORMAT binary)")).await?;
        let numbers = |rows: &[Row]| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();
        let free = numbers(&client.query(&work.lock_rows(), &[]).await?);
        let updated = numbers(&client.query(&work.update(), &[&free]).await?);
        // Triggers that were deferred may change them as well.
        client.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        let rows = client.query(&work.read_back(), &[&updated]).await?;
        Ok(Updated { rows, count: updated.len() as u64 })
    }

    fn sent(&self) -> CopyRows {
        let mut rows = CopyRows::new();
        for (number, row) in self.rows.iter().enumerate().filter(|(_, row)| row.sealed().next().is_some()) {
            rows.begin(1 + row.key.len() + 2 * row.fields.len());
            rows.put(Some(&i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes()));
            row.key.iter().for_each(|key| rows.put(key.as_deref()));
            for field in &row.fields {
                let (old, new) = match field {
                    Field::Sealed { old, new, .. } => (Some(&old[..]), Some(&new[..])),
                    _ => (None, None),
                };
                rows.put(old);
                rows.put(new);
            }
        }
        rows
    }
}

impl RowRead {
    fn sealed(&self) -> impl Iterator<Item = (usize, &Digest)> {
        self.fields.iter().enumerate().filter_map(|(number, field)| match field {
            Field::Sealed { digest, .. } => Some((number, digest)),
            _ => None,
        })
    }

    fn bytes(&self) -> usize {
        let of_field = |field: &Field| if let Field::Read(value) = field { value.len() } else { 0 };
        64 + self.fields.iter().map(of_field).sum::<usize>()
    }
}

fn is_passing(code: &SqlState) -> bool {
    [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE]
        .contains(code)
}

/// A name that a session does not find.
fn is_unknown(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_OBJECT,
        SqlState::INVALID_SCHEMA_NAME,
    ]
    .contains(code)
}

fn not_found(work: &Work, error: &tokio_postgres::Error) -> Error {
    let why = format!(
        "writing encrypted values of {}: {}; the functions of its triggers ({}) are called with search_path = \"$user\", public: \
         if they need another one, alter function ... set search_path = ...",
        work.name(),
        pg::describe(error),
        work.triggers.join(", ")
    );
    Error::Answered { code: ExitCode::Failed.into(), why }
}

fn not_written(what: &str) -> Error {
    let why = format!("{what}: a trigger or a rule changes it; this batch was rolled back");
    Error::Answered { code: ExitCode::Differences.into(), why }
}

impl Work {
    /// Makes the temporary tables.
    pub(super) async fn make_batch(&self, client: &Client) -> Result<(), Error> {
        let keys = self.key.iter().enumerate().map(|(at, key)| format!("NULL::{} AS k{at}", key.data_type));
        let keys = list(keys);
        let values = (0..self.columns.len())
            .map(|at| format!("NULL::pg_catalog.bytea AS old{at}, NULL::pg_catalog.bytea AS new{at}"));
        let sql = format!(
            "DROP TABLE IF EXISTS {BATCH}, {AFTER}; \
             CREATE TEMP TABLE projh_rekey ON COMMIT DELETE ROWS AS SELECT NULL::int AS n, {keys}, {} WITH NO DATA; \
             CREATE TEMP TABLE projh_rekey_after ON COMMIT DELETE ROWS AS SELECT {keys} WITH NO DATA; \
             GRANT SELECT, INSERT ON {BATCH}, {AFTER} TO {}",
            list(values),
            self.owner
        );
        client.batch_execute(&sql).await.doing("making temporary tables")
    }

    /// Locks the rows that are not locked, and says which these are.
    fn lock_rows(&self) -> String {
        let table = &self.table.name;
        format!(
            "SELECT b.n FROM {table} t, {BATCH} b WHERE {} FOR NO KEY UPDATE OF t SKIP LOCKED",
            self.is_row()
        )
    }

    /// The values that these rows have.
    fn read_back(&self) -> String {
        let values = self.columns.iter().map(|column| format!("t.{}::pg_catalog.bytea", column.name));
        let (values, table) = (list(values), &self.table.name);
        format!("SELECT b.n, {values} FROM {table} t, {BATCH} b WHERE b.n = ANY ($1) AND {}", self.is_row())
    }

    /// SQL for whether `t` is the row of `b`.
    fn is_row(&self) -> String {
        let each = self.key.iter().enumerate().map(|(at, key)| format!("t.{} = b.k{at}", key.name));
        each.collect::<Vec<_>>().join(" AND ")
    }

    /// Replaces the values of these rows where they still have the old ones.
    fn update(&self) -> String {
        let names = || self.columns.iter().map(|column| &column.name).enumerate();
        let sets = names().map(|(at, name)| {
            format!("{name} = CASE WHEN b.new{at} IS NULL THEN t.{name} ELSE b.new{at} END")
        });
        let same = names()
            .map(|(at, name)| format!("(b.old{at} IS NULL OR t.{name}::pg_catalog.bytea = b.old{at})"));
        let conditions: Vec<String> = [self.is_row()].into_iter().chain(same).collect();
        format!(
            "UPDATE {} t SET {} FROM {BATCH} b WHERE b.n = ANY ($1) AND {} RETURNING b.n",
            self.table.name,
            list(sets),
            conditions.join(" AND ")
        )
    }
}

/// How many rows are written within a time, if so many took so long.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "some thousand rows"
)]
fn written_within(time: Duration, rows: usize, took: Duration) -> usize {
    (rows as f64 * time.as_secs_f64() / took.as_secs_f64().max(1e-6)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_took_long_is_followed_by_a_smaller_one() {
        assert_eq!(written_within(HELD, 2_000, Duration::from_secs(2)), 200);
        assert!(written_within(HELD, 2_000, Duration::from_millis(100)) > 2_000);
        assert_eq!(written_within(HELD, 1, Duration::from_secs(5)), 0, "then one by one");
        assert!(written_within(HELD, 1, Duration::ZERO) > 1);
    }
}
