//! Are source and target equal, row for row and value for value, at one point in time?
//!
//! Count, sum and xor of 64-bit row hashes, each side read once, in parallel, in the server. If they
//! differ, the same is done by bucket, and in the buckets that differ the rows are compared key
//! by key. A difference is told by a digest of its key, and by the columns that differ.
//!
//! Invariant: what was not read is never equal. A side without a relation, a column that is not there and a
//! sum that cannot be read are errors.

mod by_key;
mod difference;

use std::collections::HashMap;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Statement};

use super::row_hash::{Lacking, RowHash, SUMS, key_digest};
use super::{Lane, copy, point};
use crate::pg::ConnectionRole;
use crate::pg::connect::{ConnectError, Session, Target};

pub use by_key::ByKey;
pub use difference::{Difference, Differences};

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
    /// Something would not have been compared.
    #[error("{table} could not be compared completely: {why}")]
    Incomplete {
        /// The table.
        table: String,
        /// What is missing.
        why: String,
    },
    /// A connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl CompareError {
    fn incomplete(lane: &Lane, why: impl Into<String>) -> Self {
        Self::Incomplete { table: lane.table.plain(), why: why.into() }
    }
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

impl Comparison {
    /// For one lane.
    ///
    /// # Errors
    /// If the server said no, or a column that is to be compared is not there.
    pub async fn of(client: &Client, lane: &Lane) -> Result<Self, CompareError> {
        let hash = RowHash::of(client, lane).await.map_err(|source| failed(lane, source))?;
        let hash = hash.map_err(|Lacking(column)| {
            CompareError::incomplete(lane, format!("green has no column {column}"))
        })?;
        if hash.columns.is_empty() {
            return Err(CompareError::incomplete(lane, "there is no column to compare"));
        }
        if lane.key.is_empty() || lane.key_in_target().len() != lane.key.len() {
            return Err(CompareError::incomplete(lane, "not every column of the key is in green"));
        }
        Ok(Self { lane: lane.clone(), hash })
    }

    /// The same comparison of a lane whose tables have other names.
    pub(crate) fn along(self, lane: &Lane) -> Self {
        Self { lane: lane.clone(), ..self }
    }

    /// How many columns are compared.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.hash.columns.len()
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
    ) -> Result<(u64, Differences), CompareError> {
        let pieces = self.pieces(workers).await?;
        let sums = self.sums(&pieces, sides, workers, told).await?;
        let rows = u64::try_from(sums[0].0)
            .map_err(|_| CompareError::incomplete(&self.lane, "the count of its rows cannot be read"))?;
        if sums[0] == sums[1] {
            return Ok((rows, Differences::default()));
        }
        let differences = self.narrow(target, sides).await?;
        Ok((rows, differences))
    }

    async fn pieces(&self, workers: &[Session]) -> Result<Mutex<Vec<Piece>>, CompareError> {
        let mut pieces = Vec::new();
        let Some(client) = workers.first() else {
            return Err(CompareError::incomplete(&self.lane, "there is no connection to read it through"));
        };
        for (is_source, table) in [(true, &self.lane.source), (false, &self.lane.target)] {
            let relations =
                copy::heap_relations(client, table).await.map_err(|source| failed(&self.lane, source))?;
            if relations.is_empty() {
                let why = format!("{} is not there, or has nothing that could hold rows", table.plain());
                return Err(CompareError::incomplete(&self.lane, why));
            }
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
                let sum = self.sum(session, &piece, sides).await?;
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

    async fn sum(&self, session: &Session, piece: &Piece, sides: &Sides<'_>) -> Result<Sum, CompareError> {
        let snapshot = if piece.is_source { sides.source } else { sides.target };
        let sql = self.sum_sql(piece.is_source, &piece.relation, &piece.condition);
        let read = async {
            session.batch_execute(&self.reading(snapshot)).await?;
            let row = self.lane.encoding.query_one(session, &sql, &[&self.seed()]).await?;
            session.batch_execute("COMMIT").await?;
            Ok(row)
        };
        let row = read.await.map_err(|source| failed(&self.lane, source))?;
        sum_of(&row, 0).map_err(|why| CompareError::incomplete(&self.lane, why))
    }

    /// Begins a transaction at a snapshot, which reads rows.
    fn reading(&self, snapshot: &str) -> String {
        format!("{}; {}", point::import(snapshot), self.lane.acting)
    }

    /// What the row hashes of this comparison start from: `$1` of its statements.
    #[must_use]
    pub fn seed(&self) -> i64 {
        self.lane.secret.seed()
    }

    fn hash_of(&self, is_source: bool) -> &str {
        if is_source { &self.hash.source } else { &self.hash.target }
    }

    /// All rows of a side, for FROM. The source's are its own alone, as the copy and the stream have them; green
    /// may have partitions.
    fn relation(&self, is_source: bool) -> String {
        if is_source { format!("ONLY {}", self.lane.source) } else { self.lane.target.to_string() }
    }

    /// Count, sum and xor of the hashes of the rows of a relation (quoted) that meet a condition.
    #[must_use]
    pub fn sum_sql(&self, is_source: bool, relation: &str, condition: &str) -> String {
        let hash = self.hash_of(is_source);
        format!(
            "SELECT {SUMS} FROM (SELECT {hash} AS h FROM ONLY {relation} WHERE {condition} OFFSET 0) AS s"
        )
    }

    /// Finds the keys of the rows that differ. Both sides are sorted by the server and read side by side, so
    /// that any number of differences can be counted.
    async fn narrow(&self, target: &Target, sides: &Sides<'_>) -> Result<Differences, CompareError> {
        let name = ConnectionRole::of_run(sides.run, "compare").to_string();
        let source_session = target.connect(&name, &[]).await?;
        let target_session = target.connect(&name, &[]).await?;
        let sql = |source| failed(&self.lane, source);
        source_session.batch_execute(&self.reading(sides.source)).await.map_err(sql)?;
        target_session.batch_execute(&self.reading(sides.target)).await.map_err(sql)?;
        let sides =
            tokio::try_join!(Side::of(self, &source_session, true), Side::of(self, &target_session, false));
        let both = <[Side<'_>; 2]>::from(sides.map_err(sql)?);
        let (source, target) = tokio::try_join!(both[0].buckets(), both[1].buckets())?;
        let differing: Vec<i64> =
            (0..BUCKETS).filter(|bucket| source.get(bucket) != target.get(bucket)).collect();
        let keys = tokio::try_join!(both[0].keys(&differing), both[1].keys(&differing)).map_err(sql)?;
        let mut found = Differences::between(&self.lane, keys.0, keys.1).await?;
        let digests = found.in_both();
        if !digests.is_empty() {
            let each = tokio::try_join!(both[0].each(&digests), both[1].each(&digests)).map_err(sql)?;
            found.name_columns(&self.hash.columns, &each.0, &each.1);
        }
        Ok(found)
    }
}

/// One side of a comparison that is narrowed down, on a session of its own.
struct Side<'a> {
    client: &'a Client,
    lane: &'a Lane,
    buckets: Statement,
    keys: Statement,
    each: Statement,
}

impl<'a> Side<'a> {
    async fn of(
        comparison: &'a Comparison,
        client: &'a Client,
        is_source: bool,
    ) -> Result<Self, tokio_postgres::Error> {
        let Comparison { lane, hash } = comparison;
        let pairs = lane.key_in_target();
        // A key is told in the target's form on both sides.
        let digest = if is_source {
            key_digest(pairs.iter().map(|key| key.value))
        } else {
            key_digest(pairs.iter().map(|key| key.column))
        };
        let each = if is_source { &hash.each.0 } else { &hash.each.1 };
        let (hash, relation) = (comparison.hash_of(is_source), comparison.relation(is_source));
        let mask = BUCKETS - 1;
        let buckets = format!(
            "SELECT h & {mask}, {SUMS} FROM (SELECT {hash} AS h FROM {relation} OFFSET 0) AS s GROUP BY 1"
        );
        let keys = format!(
            "SELECT d, {SUMS} FROM (SELECT {digest} AS d, {hash} AS h FROM {relation} OFFSET 0) AS s \
             WHERE h & {mask} = ANY ($3) GROUP BY d ORDER BY d"
        );
        let each = format!(
            "SELECT d, h FROM (SELECT {digest} AS d, {each} AS h FROM {relation} OFFSET 0) AS s WHERE d = ANY ($3)"
        );
        let (buckets, keys, each) =
            tokio::try_join!(client.prepare(&buckets), client.prepare(&keys), client.prepare(&each))?;
        lane.encoding.as_stored(client).await?;
        Ok(Self { client, lane, buckets, keys, each })
    }

    /// The sums by bucket.
    async fn buckets(&self) -> Result<HashMap<i64, Sum>, CompareError> {
        let rows = self.client.query(&self.buckets, &[&self.lane.secret.seed()]).await;
        let rows = rows.map_err(|source| failed(self.lane, source))?;
        let bucket = |row: &tokio_postgres::Row| {
            let sum = sum_of(row, 1).map_err(|why| CompareError::incomplete(self.lane, why))?;
            Ok((row.get(0), sum))
        };
        rows.iter().map(bucket).collect()
    }

    /// The sums by key of the rows in some buckets, in the order of the keys' digests.
    async fn keys(&self, buckets: &[i64]) -> Result<tokio_postgres::RowStream, tokio_postgres::Error> {
        let secret = &self.lane.secret;
        let params: [&(dyn postgres_types::ToSql + Sync); 3] = [&secret.seed(), &secret.key(), &buckets];
        self.client.query_raw(&self.keys, params).await
    }

    /// The hash of each column of some rows.
    async fn each(&self, digests: &[String]) -> Result<difference::Each, tokio_postgres::Error> {
        let secret = &self.lane.secret;
        let rows = self.client.query(&self.each, &[&secret.seed(), &secret.key(), &digests]).await?;
        Ok(each_of(&rows))
    }
}

fn each_of(rows: &[tokio_postgres::Row]) -> difference::Each {
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Count, sum and xor, from column `at` on.
fn sum_of(row: &tokio_postgres::Row, at: usize) -> Result<Sum, String> {
    let sum: String = row.get(at + 1);
    let sum = sum.parse().map_err(|_| "a sum of its rows cannot be read".to_owned())?;
    Ok((row.get(at), sum, row.get(at + 2)))
}

fn failed(lane: &Lane, source: tokio_postgres::Error) -> CompareError {
    CompareError::Postgres { table: lane.table.plain(), source }
}
