//! Are source and target equal, row for row and value for value, at one point in time?
//!
//! Count, sum and xor of 64-bit row hashes, each side read once, in parallel, in the server. If they
//! differ, the same is done by bucket, and in the buckets that differ the rows are compared key
//! by key. A difference is reported with a digest of its key and the columns that differ.
//!
//! Invariant: what was not read is never equal. A side without a relation, a missing column and a
//! sum that cannot be read are errors.

mod by_key;
mod difference;
mod opened;
mod side;
mod sum;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::row_hash::{Lacking, RowHash, SUMS};
use super::{Lane, copy, point};
use crate::lifecycle::Census;
use crate::pg::connect::{ConnectError, Session, Target};
use crate::pg::rolled_back;
use crate::pg::{BLOCK_BYTES, ConnectionRole};

pub use by_key::ByKey;
use difference::Keyed;
pub use difference::{Difference, DifferenceKind, Differences};
use opened::Reader;
use side::{BUCKETS, Side};
use sum::{Sum, Sums};

/// What went wrong in comparing.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The server rejected a statement, or the connection was lost.
    #[error("{table} could not be compared: {}", crate::pg::describe(source))]
    Postgres {
        /// The table, as `schema.table`.
        table: String,
        /// The error of the server or the driver.
        source: tokio_postgres::Error,
    },
    /// Part of the table would not have been compared.
    #[error("{table} could not be compared completely: {why}")]
    Incomplete {
        /// The table, as `schema.table`.
        table: String,
        /// What is missing.
        why: String,
    },
    /// A connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl CompareError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres { source, .. } => crate::pg::is_transient(source),
            Self::Connect(error) => error.is_transient(),
            Self::Incomplete { .. } => false,
        }
    }
}

impl CompareError {
    fn incomplete(lane: &Lane, why: impl Into<String>) -> Self {
        Self::Incomplete { table: lane.table.plain(), why: why.into() }
    }
}

/// Both sides at one point in time.
pub struct Sides<'a> {
    /// The name of the source's exported snapshot.
    pub source: &'a str,
    /// The name of the target's exported snapshot.
    pub target: &'a str,
    /// The run's short id, for the connections' `application_name`.
    pub run: &'a str,
}

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

/// What a full comparison has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the source.
    pub rows: u64,
    /// The rows that differ.
    pub differences: Differences,
    /// The encrypted values of the target.
    pub census: Vec<Census>,
}

/// Called after each piece of a full comparison.
pub type OnRead<'a> = &'a (dyn Fn(Read) + Sync);

/// What a piece of a full comparison has read.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Rows of either side.
    pub rows: u64,
    /// Bytes of the heap.
    pub bytes: u64,
    /// Bytes that all pieces together read.
    pub bytes_total: u64,
}

/// Heap blocks that one statement of a full comparison reads.
const BLOCKS_AT_ONCE: u32 = 16_384;

impl Comparison {
    /// Prepares the comparison of one lane.
    ///
    /// # Errors
    /// [`CompareError::Incomplete`] if the target lacks a column to compare or of the key; or if the server rejected
    /// the query, or the connection was lost.
    pub async fn of(client: &Client, lane: &Lane) -> Result<Self, CompareError> {
        let hash = RowHash::of(client, lane).await.map_err(|source| failed(lane, source))?;
        let hash = hash.map_err(|Lacking(column)| {
            CompareError::incomplete(lane, format!("{} has no column {column}", lane.target.plain()))
        })?;
        if hash.columns.is_empty() {
            return Err(CompareError::incomplete(lane, "there is no column to compare"));
        }
        if lane.key.is_empty() || lane.key_in_target().len() != lane.key.len() {
            return Err(CompareError::incomplete(
                lane,
                format!("not every column of its key is in {}", lane.target.plain()),
            ));
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
        self.hash.of_target
    }

    /// Compares every row. None of the workers may have a transaction open, and none has one afterwards.
    ///
    /// # Errors
    /// If the server rejected a statement, or a connection was lost.
    pub async fn full(
        &self,
        target: &Target,
        sides: &Sides<'_>,
        workers: &[Session],
        on_read: OnRead<'_>,
    ) -> Result<Compared, CompareError> {
        let pieces = self.pieces(workers).await?;
        let (sums, census) = self.sums(&pieces, sides, workers, on_read).await?;
        let rows = u64::try_from(sums.source.count)
            .map_err(|_| CompareError::incomplete(&self.lane, "the count of its rows cannot be read"))?;
        let is_equal = sums.source == sums.target;
        let differences = match is_equal {
            true => Differences::default(),
            false => self.narrow(target, sides).await?,
        };
        if !is_equal && differences.count == 0 {
            return Err(CompareError::incomplete(
                &self.lane,
                "it differs, and the rows that do were not found",
            ));
        }
        Ok(Compared { rows, differences, census })
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
                let why =
                    format!("{} does not exist, or has no relation that could hold rows", table.plain());
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

    /// The sums of the source and of the target. After an error no worker takes another piece, and the pieces in
    /// progress are finished, so that no session is left in a transaction.
    async fn sums(
        &self,
        pieces: &Mutex<Vec<Piece>>,
        sides: &Sides<'_>,
        workers: &[Session],
        on_read: OnRead<'_>,
    ) -> Result<(Sums, Vec<Census>), CompareError> {
        let bytes_total = pieces.lock().await.iter().map(|piece| piece.bytes).sum();
        let work = workers.iter().map(|session| async move {
            let (mut sums, mut census) = (Sums::default(), Vec::new());
            loop {
                let piece = pieces.lock().await.pop();
                let Some(piece) = piece else { return Ok::<_, CompareError>((sums, census)) };
                let sum = self.sum(session, &piece, sides).await;
                if sum.is_err() {
                    pieces.lock().await.clear();
                }
                let (sum, found) = sum?;
                Census::add(&mut census, found);
                let rows = u64::try_from(sum.count).unwrap_or(0);
                on_read(Read { rows, bytes: piece.bytes, bytes_total });
                *(if piece.is_source { &mut sums.source } else { &mut sums.target }) += sum;
            }
        });
        let (mut sums, mut census) = (Sums::default(), Vec::new());
        for part in join_all(work).await {
            let (sum, found) = part?;
            sums += sum;
            Census::add(&mut census, found);
        }
        Ok((sums, census))
    }

    /// The sum of a piece; and its encrypted values, if it is of the target.
    async fn sum(
        &self,
        session: &Session,
        piece: &Piece,
        sides: &Sides<'_>,
    ) -> Result<(Sum, Vec<Census>), CompareError> {
        let snapshot = if piece.is_source { sides.source } else { sides.target };
        let sql = self.piece_sql(piece.is_source, &piece.relation, &piece.condition);
        let seed = self.seed();
        if self.hash.taken.is_some() {
            let reader = Reader::of(self, piece.is_source)?;
            let mut sum = Sum::default();
            let read = async {
                let rows =
                    session.query_raw(&sql, [seed]).await.map_err(|source| failed(&self.lane, source))?;
                reader.read(rows, 0, |_, hash| sum.add_hash(hash)).await
            };
            let read = rolled_back(session, &self.reading(snapshot), read).await;
            let reader = read.map_err(|source| failed(&self.lane, source))??;
            return Ok((sum, reader.census()));
        }
        let read = async { self.lane.encoding.query_one(session, &sql, &[&seed]).await };
        let row = rolled_back(session, &self.reading(snapshot), read).await.flatten();
        let row = row.map_err(|source| failed(&self.lane, source))?;
        let sum = Sum::of(&row, 0).map_err(|why| CompareError::incomplete(&self.lane, why))?;
        Ok((sum, Vec::new()))
    }

    /// What a full comparison asks of a relation (quoted): sums, or rows for this program to hash.
    #[must_use]
    pub fn piece_sql(&self, is_source: bool, relation: &str, condition: &str) -> String {
        let Some(taken) = &self.hash.taken else { return self.sum_sql(is_source, relation, condition) };
        let hash = &self.hash.of_side(is_source).row;
        format!("SELECT {hash} AS h{} FROM ONLY {relation} WHERE {condition}", taken.list(is_source))
    }

    /// SQL that begins a transaction at a snapshot, with the rights to read rows.
    fn reading(&self, snapshot: &str) -> String {
        format!("{}; {}", point::import(snapshot), self.lane.acting)
    }

    /// The seed of this comparison's row hashes: `$1` of its statements.
    #[must_use]
    pub fn seed(&self) -> i64 {
        self.lane.secret.seed()
    }

    /// All rows of a side, for FROM.
    fn relation(&self, is_source: bool) -> String {
        if is_source { self.lane.source_rows() } else { self.lane.target.to_string() }
    }

    /// Count, sum and xor of the hashes of the rows of a relation (quoted) that meet a condition.
    #[must_use]
    pub fn sum_sql(&self, is_source: bool, relation: &str, condition: &str) -> String {
        let hash = &self.hash.of_side(is_source).row;
        format!(
            "SELECT {SUMS} FROM (SELECT {hash} AS h FROM ONLY {relation} WHERE {condition} OFFSET 0) AS projh_rows"
        )
    }

    /// Finds the keys of the rows that differ. Both sides are sorted by the server and merged, so
    /// that any number of differences can be counted.
    async fn narrow(&self, target: &Target, sides: &Sides<'_>) -> Result<Differences, CompareError> {
        let name = ConnectionRole::of_run(sides.run, "compare").to_string();
        let source_session = target.connect(&name, &[]).await?;
        let target_session = target.connect(&name, &[]).await?;
        let sql = |source| failed(&self.lane, source);
        for (session, snapshot) in [(&source_session, sides.source), (&target_session, sides.target)] {
            // The snapshot does not see what was sent before it.
            session.batch_execute(&point::import(snapshot)).await.map_err(sql)?;
            self.lane.send_secret(session).await.map_err(sql)?;
            session.batch_execute(&self.lane.acting.to_string()).await.map_err(sql)?;
        }
        let (source, target) =
            tokio::try_join!(Side::of(self, &source_session, true), Side::of(self, &target_session, false))
                .map_err(sql)?;
        let mut found = match self.hash.taken {
            Some(_) => opened::narrow(self, &source, &target).await?,
            None => {
                let buckets = tokio::try_join!(source.buckets(), target.buckets())?;
                let differing: Vec<i64> =
                    (0..BUCKETS).filter(|bucket| buckets.0.get(bucket) != buckets.1.get(bucket)).collect();
                let keys = tokio::try_join!(source.keys(&differing), target.keys(&differing)).map_err(sql)?;
                let keyed = |rows| Keyed::of_rows(&self.lane, rows);
                Differences::between(&self.lane, keyed(keys.0), keyed(keys.1)).await?
            }
        };
        let digests = found.in_both();
        if !digests.is_empty() {
            let each = tokio::try_join!(source.each(&digests), target.each(&digests))?;
            found.name_columns(&self.hash.columns, &each.0, &each.1);
            found.note_forgotten(&self.lane);
        }
        Ok(found)
    }

    /// The hashes of each row's columns.
    fn each_of(
        &self,
        rows: &[tokio_postgres::Row],
        is_source: bool,
    ) -> Result<difference::Each, CompareError> {
        match self.hash.taken {
            Some(_) => Ok(Reader::of(self, is_source)?.each(rows)),
            None => Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect()),
        }
    }
}

fn failed(lane: &Lane, source: tokio_postgres::Error) -> CompareError {
    CompareError::Postgres { table: lane.table.plain(), source }
}
