//! Keys on their way to a statement: arrays as its parameters; or, for a lane with values that this program transforms, rows of a
//! temporary table, by COPY. The server may log parameters, and never logs what COPY transfers; the key of a person may be
//! as confidential as what is encrypted.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::{Client, Error, Statement};

use super::coalesce::Key;
use super::raw::Array;
use super::row_hash::key_digest;
use super::{Lane, LaneKeyColumn};
use crate::pg::copy::CopyRows;
use crate::pg::{list, rolled_back};

/// The way of a lane's keys, prepared on one connection.
pub(super) struct SentKeys(Option<Refilled>);

impl SentKeys {
    /// Makes what [`SentKeys::prepare`] and digests of keys need on `client`, with the rights of the role that executes.
    pub(super) async fn make(client: &Client, lane: &Lane) -> Result<(), Error> {
        if lane.is_transformed() {
            client.batch_execute(&make(lane)).await?;
        }
        lane.send_secret(client).await
    }

    /// The same, unless it has been made before.
    pub(super) async fn ensure(client: &Client, lane: &Lane) -> Result<(), Error> {
        if !lane.is_transformed() {
            return Ok(());
        }
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        let is_made = client.query_one(sql, &[&table(lane)]).await?.get(0);
        if is_made { Ok(()) } else { Self::make(client, lane).await }
    }

    /// Prepares the statements.
    pub(super) async fn prepare(client: &Client, lane: &Lane) -> Result<Self, Error> {
        if !lane.is_transformed() {
            return Ok(Self(None));
        }
        Ok(Self(Some(Refilled::prepare(client, &table(lane)).await?)))
    }

    /// The parameters of a statement that reads these keys from [`Lane::sent_keys`]; those that it has no parameters for are in
    /// the temporary table, until the end of the transaction that is open on `client`.
    pub(super) async fn send<'a>(
        &self,
        client: &Client,
        lane: &Lane,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Result<Vec<Array>, Error> {
        let Some(table) = &self.0 else { return Ok(key_arrays(lane, keys)) };
        let mut rows = CopyRows::new();
        for key in keys {
            rows.begin(lane.key.len());
            key.values().for_each(|value| rows.put(Some(value)));
        }
        table.fill(client, rows).await?;
        Ok(Vec::new())
    }
}

/// A temporary table of this program's whose rows are replaced by others, prepared on one connection. It is empty when a
/// transaction begins.
pub(super) struct Refilled {
    delete: Statement,
    truncate: Statement,
    copy: Statement,
    /// Rows that were sent since it was truncated.
    rows: AtomicU64,
}

/// Deleted rows stay in the table until the end of a transaction, and are read each time. Whenever so many rows were sent, it is
/// truncated instead, which gives it another file and plans anew what reads it.
const TRUNCATE_AFTER: u64 = 100_000;

impl Refilled {
    pub(super) async fn prepare(client: &Client, table: &str) -> Result<Self, Error> {
        Ok(Self {
            delete: client.prepare(&format!("DELETE FROM {table}")).await?,
            truncate: client.prepare(&format!("TRUNCATE {table}")).await?,
            copy: client.prepare(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?,
            rows: AtomicU64::new(0),
        })
    }

    pub(super) async fn fill(&self, client: &Client, rows: CopyRows) -> Result<(), Error> {
        let is_full = self.rows.load(Ordering::Relaxed) >= TRUNCATE_AFTER;
        client.execute(if is_full { &self.truncate } else { &self.delete }, &[]).await?;
        if is_full {
            self.rows.store(0, Ordering::Relaxed);
        }
        self.rows.fetch_add(rows.send(client, &self.copy).await?, Ordering::Relaxed);
        Ok(())
    }
}

/// The keys' values as one array per key column.
pub(super) fn key_arrays<'a>(lane: &Lane, keys: impl Iterator<Item = &'a Key>) -> Vec<Array> {
    let mut arrays: Vec<Array> = lane.key.iter().map(|column| Array::of(column.type_oid)).collect();
    for key in keys {
        for (array, value) in arrays.iter_mut().zip(key.values()) {
            array.push(Some(value));
        }
    }
    arrays
}

fn table(lane: &Lane) -> String {
    format!("pg_temp.projh_keys_{}", lane.number)
}

fn make(lane: &Lane) -> String {
    let keys = lane.key.iter().enumerate().map(|(at, key)| format!("NULL::{} AS k{at}", key.type_name));
    format!(
        "DROP TABLE IF EXISTS {table}; \
         CREATE TEMP TABLE projh_keys_{number} ON COMMIT DELETE ROWS AS SELECT {keys} WITH NO DATA; \
         GRANT SELECT, INSERT, DELETE, TRUNCATE ON {table} TO {owner}",
        table = table(lane),
        number = lane.number,
        keys = list(keys),
        owner = lane.owner,
    )
}

impl Lane {
    /// The keys that a statement is sent, one column for each of the key's, for FROM: `unnest($1::uuid[], ...)` if `$1` is its
    /// first parameter with keys, or the temporary table.
    #[must_use]
    pub fn sent_keys(&self, first: usize) -> String {
        if self.is_transformed() {
            return table(self);
        }
        let arrays =
            self.key.iter().enumerate().map(|(at, key)| format!("${}::{}[]", first + at, key.type_name));
        format!("unnest({})", list(arrays))
    }

    /// The number of parameters that the keys are in.
    pub(super) fn key_parameters(&self) -> usize {
        if self.is_transformed() { 0 } else { self.key.len() }
    }

    /// The digest of a key in the source that is given as text. No transaction may be open on `client`.
    pub(super) async fn digest_of_text(&self, client: &Client, key: &[Vec<u8>]) -> Result<String, Error> {
        let texts = (0..key.len()).map(|at| format!("k{at} text")).chain(["secret text".to_owned()]);
        let begin = format!("BEGIN; CREATE TEMP TABLE projh_refused ({}) ON COMMIT DROP", list(texts));
        let typed = |(at, key): (usize, &LaneKeyColumn)| format!("k{at}::{}", key.type_name);
        let digest = key_digest("secret", self.key.iter().enumerate().map(typed));
        let secret = self.secret.key().as_bytes();
        let asked = async {
            let fields: Vec<_> = key.iter().map(Vec::as_slice).chain([secret]).map(Some).collect();
            let row = CopyRows::of(fields.into_iter());
            row.send(client, "COPY pg_temp.projh_refused FROM STDIN (FORMAT binary)").await?;
            let sql = format!("SELECT {digest} FROM pg_temp.projh_refused");
            Ok(client.query_one(&sql, &[]).await?.get(0))
        };
        rolled_back(client, &begin, asked).await.flatten()
    }
}
