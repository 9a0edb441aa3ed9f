//! Are source and target equal, row for row and value for value, at one point in time?
//!
//! Count, sum and xor of 64-bit row hashes, each side read once, in parallel, in the server. If they
//! differ, the same is done by bucket, and in the buckets that differ the rows are compared key
//! by key. A difference is told by a digest of its key.

use std::collections::HashMap;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Statement};

use super::coalesce::Key;
use super::row_hash::{RowHash, key_digest};
use super::{Lane, apply, copy, point};
use crate::pg::connect::{ConnectError, Session, Target};

/// What went wrong in comparing.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The server said no, or was gone.
    #[error("{table} could not be compared: {}", crate::pg::describe(source))]
    Postgres {
        /// The table.
        table: String,
        /// The server's or the driver's word.
        source: tokio_postgres::Error,
    },
    /// A connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// One row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// What is wrong.
    pub kind: DifferenceKind,
    /// A digest of the key; `left(md5(row(key columns)::text), 16)` finds the row.
    pub key_digest: String,
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Only the source has it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, with different values.
    Different,
}

/// Both sides at one point in time.
pub struct Sides<'a> {
    /// The snapshot of the source.
    pub source: &'a str,
    /// The snapshot of the target.
    pub target: &'a str,
    /// The run, for the names of connections.
    pub run: &'a str,
}

/// Count, sum and xor of row hashes.
type Sum = (i64, i128, i64);

/// One lane, ready to be compared.
pub struct Comparison {
    lane: Lane,
    hash: RowHash,
}

struct Piece {
    is_source: bool,
    relation: String,
    condition: String,
    bytes: u64,
}

/// A full comparison: told after each piece.
pub type Told<'a> = &'a (dyn Fn(Read) + Sync);

/// What a piece of a full comparison has read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Rows.
    pub rows: u64,
    /// Bytes of heap.
    pub bytes: u64,
    /// Of so many that all pieces read.
    pub bytes_total: u64,
}

/// Blocks that one statement of a full comparison reads.
const BLOCKS_AT_ONCE: u32 = 16_384;
/// PostgreSQL's, unless somebody has compiled another one in.
const BLOCK_BYTES: u64 = 8_192;
/// Buckets that a difference is narrowed down to first.
const BUCKETS: i64 = 1_024;
/// Differences that are told; there may be more.
const DIFFERENCES_MAX: usize = 100;

impl Comparison {
    /// For one lane.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn of(client: &Client, lane: &Lane) -> Result<Self, CompareError> {
        let hash = RowHash::of(client, lane).await.map_err(|source| failed(lane, source))?;
        Ok(Self { lane: lane.clone(), hash })
    }

    /// The same comparison of a lane whose tables have other names.
    pub(crate) fn along(self, lane: &Lane) -> Self {
        Self { lane: lane.clone(), ..self }
    }

    /// How many columns are compared.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.hash.columns
    }

    /// Compares every row. Returns how many rows the source has, and the differences.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn full(
        &self,
        target: &Target,
        sides: &Sides<'_>,
        workers: &[Session],
        told: Told<'_>,
    ) -> Result<(u64, Vec<Difference>), CompareError> {
        let pieces = self.pieces(workers).await?;
        let sums = self.sums(&pieces, sides, workers, told).await?;
        let rows = u64::try_from(sums[0].0).unwrap_or(0);
        if sums[0] == sums[1] {
            return Ok((rows, Vec::new()));
        }
        let differences = self.narrow(target, sides).await?;
        Ok((rows, differences))
    }

    async fn pieces(&self, workers: &[Session]) -> Result<Mutex<Vec<Piece>>, CompareError> {
        let mut pieces = Vec::new();
        let Some(client) = workers.first() else { return Ok(Mutex::new(pieces)) };
        for (is_source, table) in [(true, &self.lane.source), (false, &self.lane.target)] {
            let relations =
                copy::heap_relations(client, table).await.map_err(|source| failed(&self.lane, source))?;
            for (relation, blocks) in relations {
                let mut from = 0;
                loop {
                    let next = from + BLOCKS_AT_ONCE;
                    let last = next >= blocks;
                    let upper = if last { String::new() } else { format!(" AND ctid < '({next},0)'::tid") };
                    let condition = format!("ctid >= '({from},0)'::tid{upper}");
                    let bytes = u64::from(blocks.min(next).saturating_sub(from)) * BLOCK_BYTES;
                    pieces.push(Piece { is_source, relation: relation.clone(), condition, bytes });
                    if last {
                        break;
                    }
                    from = next;
                }
            }
        }
        Ok(Mutex::new(pieces))
    }

    /// The sums of the source and of the target.
    async fn sums(
        &self,
        pieces: &Mutex<Vec<Piece>>,
        sides: &Sides<'_>,
        workers: &[Session],
        told: Told<'_>,
    ) -> Result<[Sum; 2], CompareError> {
        let bytes_total = pieces.lock().await.iter().map(|piece| piece.bytes).sum();
        let work = workers.iter().map(|session| async move {
            let mut sums: [Sum; 2] = Default::default();
            loop {
                let piece = pieces.lock().await.pop();
                let Some(piece) = piece else { return Ok::<_, CompareError>(sums) };
                let sum =
                    self.sum(session, &piece, sides).await.map_err(|source| failed(&self.lane, source))?;
                let rows = u64::try_from(sum.0).unwrap_or(0);
                told(Read { rows, bytes: piece.bytes, bytes_total });
                let side = &mut sums[usize::from(!piece.is_source)];
                *side = (side.0 + sum.0, side.1 + sum.1, side.2 ^ sum.2);
            }
        });
        let parts: Vec<[Sum; 2]> = futures_util::future::try_join_all(work).await?;
        let mut sums: [Sum; 2] = Default::default();
        for part in parts {
            for (sum, part) in sums.iter_mut().zip(part) {
                *sum = (sum.0 + part.0, sum.1 + part.1, sum.2 ^ part.2);
            }
        }
        Ok(sums)
    }

    async fn sum(
        &self,
        session: &Session,
        piece: &Piece,
        sides: &Sides<'_>,
    ) -> Result<Sum, tokio_postgres::Error> {
        let snapshot = if piece.is_source { sides.source } else { sides.target };
        let sql = self.sum_sql(piece.is_source, &piece.relation, &piece.condition);
        session.batch_execute(&point::import(snapshot)).await?;
        let row = session.query_one(&sql, &[]).await?;
        session.batch_execute("COMMIT").await?;
        let sum: String = row.get(1);
        Ok((row.get(0), sum.parse().unwrap_or(i128::MAX), row.get(2)))
    }

    /// Count, sum and xor of the hashes of the rows of a relation (quoted) that meet a condition.
    pub(crate) fn sum_sql(&self, is_source: bool, relation: &str, condition: &str) -> String {
        let hash = if is_source { &self.hash.source } else { &self.hash.target };
        format!(
            "SELECT count(*), coalesce(sum(h), 0)::text, coalesce(bit_xor(h), 0) FROM \
             (SELECT {hash} AS h FROM ONLY {relation} WHERE {condition} OFFSET 0) AS s"
        )
    }

    /// Finds the keys of the rows that differ.
    async fn narrow(&self, target: &Target, sides: &Sides<'_>) -> Result<Vec<Difference>, CompareError> {
        let name = format!("projh-bluegreen {} compare", sides.run);
        let source_session = target.connect(&name, &[]).await?;
        let target_session = target.connect(&name, &[]).await?;
        let sql = |source| failed(&self.lane, source);
        source_session.batch_execute(&point::import(sides.source)).await.map_err(sql)?;
        target_session.batch_execute(&point::import(sides.target)).await.map_err(sql)?;
        let (blue, green) = (self.lane.source.to_string(), self.lane.target.to_string());
        let (source, target) = tokio::try_join!(
            buckets(&source_session, &blue, &self.hash.source),
            buckets(&target_session, &green, &self.hash.target),
        )
        .map_err(sql)?;
        let differing: Vec<i64> =
            (0..BUCKETS).filter(|bucket| source.get(bucket) != target.get(bucket)).collect();
        // A key is told in the target's form on both sides.
        let pairs = self.lane.key_in_target();
        let source_key = key_digest(pairs.iter().map(|key| key.value));
        let target_key = key_digest(pairs.iter().map(|key| key.column));
        let (source, target) = tokio::try_join!(
            keys_of(&source_session, &blue, &self.hash.source, &source_key, &differing),
            keys_of(&target_session, &green, &self.hash.target, &target_key, &differing),
        )
        .map_err(sql)?;
        Ok(self.differences(source, target))
    }

    fn differences(&self, source: HashMap<String, Sum>, mut target: HashMap<String, Sum>) -> Vec<Difference> {
        let table = self.lane.table.plain();
        let told = |kind, key_digest| Difference { table: table.clone(), kind, key_digest };
        let mut differences: Vec<Difference> = source
            .into_iter()
            .filter_map(|(key, sum)| match target.remove(&key) {
                None => Some(told(DifferenceKind::Missing, key)),
                Some(other) if other != sum => Some(told(DifferenceKind::Different, key)),
                Some(_) => None,
            })
            .collect();
        differences.extend(target.into_keys().map(|key| told(DifferenceKind::Extra, key)));
        differences.sort();
        differences.truncate(DIFFERENCES_MAX);
        differences
    }

    /// Prepares the comparison of single keys; each side is read through its own client.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn by_key<'a>(
        &'a self,
        source: &'a Client,
        target: &'a Client,
    ) -> Result<ByKey<'a>, CompareError> {
        let (of_source, of_target) = (self.keys_sql(true), self.keys_sql(false));
        let prepared = tokio::try_join!(source.prepare(&of_source), target.prepare(&of_target));
        let (of_source, of_target) = prepared.map_err(|source| failed(&self.lane, source))?;
        Ok(ByKey { comparison: self, source: (source, of_source), target: (target, of_target) })
    }

    /// The rows of the keys in the parameters, one array a key column: digest of the key, and sum.
    pub(crate) fn keys_sql(&self, is_source: bool) -> String {
        let lane = &self.lane;
        let pairs = lane.key_in_target();
        let (relation, hash) =
            if is_source { (&lane.source, &self.hash.source) } else { (&lane.target, &self.hash.target) };
        let on = lane.key.iter().zip(&pairs).enumerate().map(|(at, (key, there))| {
            let (column, equals) =
                if is_source { (&key.name, key.equals.as_str()) } else { (there.column, there.equals) };
            format!("g.{column} {equals} k.projh_k{at}")
        });
        let values = lane.key.iter().zip(&pairs).enumerate().map(|(at, (key, there))| {
            let value = if is_source { key.name.to_string() } else { there.value.to_owned() };
            format!("{value} AS projh_k{at}")
        });
        format!(
            "SELECT k.projh_digest, count(*), coalesce(sum(h), 0)::text, coalesce(bit_xor(h), 0) \
             FROM (SELECT {values}, {digest} AS projh_digest FROM {arrays} AS s({names}) OFFSET 0) AS k \
             CROSS JOIN LATERAL (SELECT {hash} AS h FROM {relation} AS g WHERE {on} OFFSET 0) AS g GROUP BY 1",
            digest = key_digest(pairs.iter().map(|key| key.value)),
            values = crate::pg::list(values),
            arrays = lane.unnest_keys(1),
            names = lane.key_columns(),
            on = on.collect::<Vec<_>>().join(" AND "),
        )
    }
}

/// A comparison of single keys, prepared.
pub struct ByKey<'a> {
    comparison: &'a Comparison,
    source: (&'a Client, Statement),
    target: (&'a Client, Statement),
}

impl ByKey<'_> {
    /// Compares the rows of some keys; each side as its client sees it.
    ///
    /// # Errors
    /// If the server said no.
    pub async fn compare(&self, keys: &[&Key]) -> Result<Vec<Difference>, CompareError> {
        let mut differences = Vec::new();
        for some in keys.chunks(KEYS_AT_ONCE) {
            let both = tokio::try_join!(self.rows_of(&self.source, some), self.rows_of(&self.target, some));
            let (source, target) = both.map_err(|source| failed(&self.comparison.lane, source))?;
            differences.extend(self.comparison.differences(source, target));
        }
        differences.truncate(DIFFERENCES_MAX);
        Ok(differences)
    }

    async fn rows_of(
        &self,
        (client, statement): &(&Client, Statement),
        keys: &[&Key],
    ) -> Result<HashMap<String, Sum>, tokio_postgres::Error> {
        let arrays = apply::key_arrays(&self.comparison.lane, keys.iter().copied());
        let params: Vec<&(dyn postgres_types::ToSql + Sync)> =
            arrays.iter().map(|array| array as &(dyn postgres_types::ToSql + Sync)).collect();
        let rows = client.query(statement, &params).await?;
        Ok(rows.iter().map(|row| (row.get(0), sum_of(row, 1))).collect())
    }
}

/// Keys that one statement compares.
const KEYS_AT_ONCE: usize = 10_000;

fn sum_of(row: &tokio_postgres::Row, at: usize) -> Sum {
    let sum: String = row.get(at + 1);
    (row.get(at), sum.parse().unwrap_or(i128::MAX), row.get(at + 2))
}

fn failed(lane: &Lane, source: tokio_postgres::Error) -> CompareError {
    CompareError::Postgres { table: lane.table.plain(), source }
}

async fn buckets(
    client: &Client,
    relation: &str,
    hash: &str,
) -> Result<HashMap<i64, Sum>, tokio_postgres::Error> {
    let mask = BUCKETS - 1;
    let sql = format!(
        "SELECT h & {mask}, count(*), coalesce(sum(h), 0)::text, coalesce(bit_xor(h), 0) FROM \
         (SELECT {hash} AS h FROM {relation} OFFSET 0) AS s GROUP BY 1"
    );
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), sum_of(row, 1))).collect())
}

/// The keys, by digest, of the rows in some buckets.
async fn keys_of(
    client: &Client,
    relation: &str,
    hash: &str,
    key_digest: &str,
    buckets: &[i64],
) -> Result<HashMap<String, Sum>, tokio_postgres::Error> {
    let mask = BUCKETS - 1;
    let sql = format!(
        "SELECT d, count(*), coalesce(sum(h), 0)::text, coalesce(bit_xor(h), 0) FROM \
         (SELECT {key_digest} AS d, {hash} AS h FROM {relation} OFFSET 0) AS s WHERE h & {mask} = ANY ($1) GROUP BY 1"
    );
    let rows = client.query(&sql, &[&buckets]).await?;
    Ok(rows.iter().map(|row| (row.get(0), sum_of(row, 1))).collect())
}
