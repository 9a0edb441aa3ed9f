//! Keys on their way to a statement: arrays as its parameters; or, for a lane with values that this program transforms, rows of a
//! temporary table, by COPY. The server may log parameters, and never logs what COPY transfers; the key of a person may be
//! as confidential as what is encrypted.

use postgres_types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::coalesce::Key;
use super::raw::Array;
use super::row_hash::key_digest;
use super::{Lane, LaneKeyColumn};
use crate::pg::copy::CopyRows;
use crate::pg::{list, rolled_back};

/// The way of a lane's keys, prepared on one connection.
pub(super) struct SentKeys(Option<Statements>);

struct Statements {
    empty: Statement,
    copy: Statement,
}

impl SentKeys {
    /// Makes what [`SentKeys::prepare`] needs on `client`, with the rights of the role that executes.
    pub(super) async fn make(client: &Client, lane: &Lane) -> Result<(), Error> {
        if lane.is_transformed() { client.batch_execute(&make(lane)).await } else { Ok(()) }
    }

    /// The same, unless it has been made before.
    pub(super) async fn ensure(client: &Client, lane: &Lane) -> Result<(), Error> {
        if !lane.is_transformed() {
            return Ok(());
        }
        let sql = "SELECT to_regclass($1) IS NOT NULL";
        let is_made = client.query_one(sql, &[&table(lane)]).await?.get(0);
        if is_made { Ok(()) } else { client.batch_execute(&make(lane)).await }
    }

    /// Prepares the statements.
    pub(super) async fn prepare(client: &Client, lane: &Lane) -> Result<Self, Error> {
        if !lane.is_transformed() {
            return Ok(Self(None));
        }
        let empty = client.prepare(&format!("DELETE FROM {}", table(lane))).await?;
        let copy = client.prepare(&format!("COPY {} FROM STDIN (FORMAT binary)", table(lane))).await?;
        Ok(Self(Some(Statements { empty, copy })))
    }

    /// The parameters of a statement that reads these keys from [`Lane::sent_keys`]; those that it has no parameters for are in
    /// the temporary table, until the end of the transaction that is open on `client`.
    pub(super) async fn send<'a>(
        &self,
        client: &Client,
        lane: &Lane,
        keys: impl Iterator<Item = &'a Key>,
    ) -> Result<Vec<Array>, Error> {
        let Some(Statements { empty, copy }) = &self.0 else { return Ok(key_arrays(lane, keys)) };
        let mut rows = CopyRows::new();
        for key in keys {
            rows.begin(lane.key.len());
            key.values().for_each(|value| rows.put(Some(&value)));
        }
        client.execute(empty, &[]).await?;
        rows.send(client, copy).await?;
        Ok(Vec::new())
    }
}

/// The keys' values as one array per key column.
pub(super) fn key_arrays<'a>(lane: &Lane, keys: impl Iterator<Item = &'a Key>) -> Vec<Array> {
    let mut arrays: Vec<Array> = lane.key.iter().map(|column| Array::of(column.type_oid)).collect();
    for key in keys {
        for (array, value) in arrays.iter_mut().zip(key.values()) {
            array.push(Some(&value));
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
         GRANT SELECT, INSERT, DELETE ON {table} TO {owner}",
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
        let texts = (0..key.len()).map(|at| format!("k{at} text"));
        let begin = format!("BEGIN; CREATE TEMP TABLE projh_refused ({}) ON COMMIT DROP", list(texts));
        let typed = |(at, key): (usize, &LaneKeyColumn)| format!("k{at}::{}", key.type_name);
        let digest = key_digest(self.key.iter().enumerate().map(typed));
        let asked = async {
            let row = CopyRows::of(key.iter().map(|text| Some(text.as_slice())));
            row.send(client, "COPY pg_temp.projh_refused FROM STDIN (FORMAT binary)").await?;
            let sql = format!("SELECT {digest} FROM pg_temp.projh_refused LIMIT $1::bigint");
            let params: [&(dyn ToSql + Sync); 2] = [&1_i64, &self.secret.key()];
            Ok(client.query_one(&sql, &params).await?.get(0))
        };
        rolled_back(client, &begin, asked).await.flatten()
    }
}
