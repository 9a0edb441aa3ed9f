//! The server's pace, measured on some rows that are copied, hashed and indexed for about a second.
//!
//! Invariants: everything is undone. Rows go into temporary tables, in a transaction that is rolled back; while an
//! expression of the plan is evaluated, the transaction is read-only, so that not even a sequence moves. Blocks are
//! taken from all over the table; time and bytes are bounded.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_postgres::Client;

use crate::lane::Lane;
use crate::lane::compare::Comparison;
use crate::lane::copy::{condition, insert};
use crate::lifecycle::{LaneDesign, Span};
use crate::pg::connect::Session;
use crate::pg::{BLOCK_BYTES, QName, rolled_back};

/// Time for the samples of all tables together.
pub(super) const TIME: Duration = Duration::from_millis(1_000);
/// Blocks per statement.
const BLOCKS: u32 = 64;
/// Most bytes of blue's rows in a sample.
const BYTES_MAX: u64 = 64 << 20;
/// Rows that ANALYZE reads at the default statistics target: 300 times 100.
pub(super) const ROWS_OF_ANALYZE: i64 = 30_000;
/// If a statement of a sample takes longer, its table is measured no further.
const STATEMENT: &str = "SET LOCAL statement_timeout = '2s'";

/// The result of sampling one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// The number of rows copied.
    pub(super) rows: u64,
    /// Rows of blue per block, on average.
    pub(super) rows_per_block: f64,
    /// Rows per second that one connection copies.
    pub(super) copied_per_s: f64,
    /// Rows per second that one connection hashes.
    pub(super) hashed_per_s: f64,
    /// Rows per second that all workers hash together.
    pub(super) hashed_by_all_per_s: f64,
    /// Bytes of green's heap and TOAST per row.
    pub(super) bytes_per_row: f64,
    /// For each index, seconds and bytes per row.
    pub(super) indexes: Vec<(f64, f64)>,
    /// Seconds per row that ANALYZE reads; `None` if that was not measured.
    pub(super) analyze_s: Option<f64>,
}

/// A table to sample, whose green exists.
pub(super) struct Sampled<'a> {
    pub(super) lane: &'a Lane,
    pub(super) design: &'a LaneDesign,
    pub(super) comparison: &'a Comparison,
}

/// Samples one table for its share of the time. `session` is in a transaction in which green exists.
pub(super) async fn sample(
    session: &Session,
    workers: &[Session],
    of: &Sampled<'_>,
    share: Duration,
) -> Result<Sample, tokio_postgres::Error> {
    let Sampled { lane, design, comparison } = *of;
    let mut slices = Slices::of(&design.green.blue.table.heap_bytes);
    let mut sample = Sample::default();
    session.batch_execute(&format!("SAVEPOINT projh_sample; {STATEMENT}; {}", lane.acting)).await?;
    let outcome = async {
        session.batch_execute(&design.green.create_sample().join("; ")).await?;
        copied(session, of, &mut slices, share * 2 / 5, &mut sample).await?;
        indexed(session, design, share * 2 / 5, &mut sample).await?;
        sample.hashed_per_s = hashed(&workers[..1.min(workers.len())], lane, comparison, share / 10).await?;
        sample.hashed_by_all_per_s = hashed(workers, lane, comparison, share / 10).await?;
        Ok(sample)
    }
    .await;
    session.batch_execute("ROLLBACK TO SAVEPOINT projh_sample").await?;
    outcome
}

async fn copied(
    session: &Session,
    of: &Sampled<'_>,
    slices: &mut Slices,
    time: Duration,
    sample: &mut Sample,
) -> Result<(), tokio_postgres::Error> {
    let Sampled { lane, design, .. } = *of;
    let into = design.green.sample().to_string();
    // Once it is released, DDL on temporary tables is allowed again.
    session.batch_execute("SAVEPOINT projh_read_only; SET TRANSACTION READ ONLY").await?;
    let begun = Instant::now();
    let total = u32::try_from(design.green.blue.table.heap_bytes / BLOCK_BYTES).unwrap_or(u32::MAX);
    let mut blocks = 0;
    for span in slices {
        let from = format!("{} WHERE {}", lane.source, condition(span));
        sample.rows += session.execute(&insert(lane, &into, &from), &[]).await?;
        blocks += span.to.unwrap_or(total).min(total).saturating_sub(span.from);
        if begun.elapsed() > time || u64::from(blocks) * BLOCK_BYTES > BYTES_MAX {
            break;
        }
    }
    sample.copied_per_s = per_second(sample.rows, begun.elapsed());
    sample.rows_per_block = sample.rows as f64 / f64::from(blocks.max(1));
    session.batch_execute("RELEASE SAVEPOINT projh_read_only").await?;
    // A table without partitions has no partition tree.
    let sql = "SELECT coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(to_regclass($1))), \
               pg_table_size(to_regclass($1)))::bigint";
    let bytes: i64 = session.query_one(sql, &[&into]).await?.get(0);
    sample.bytes_per_row = bytes as f64 / sample.rows.max(1) as f64;
    Ok(())
}

/// Builds each index on the largest leaf, while there is time.
async fn indexed(
    session: &Session,
    design: &LaneDesign,
    time: Duration,
    sample: &mut Sample,
) -> Result<(), tokio_postgres::Error> {
    let leaf = largest_leaf(session, &design.green.sample()).await?;
    let count = format!("SELECT count(*) FROM {leaf}");
    let rows: i64 = session.query_one(&count, &[]).await?.get(0);
    let begun = Instant::now();
    if rows > 0 {
        session.batch_execute(&format!("ANALYZE {leaf}")).await?;
        let looked_at = rows.min(ROWS_OF_ANALYZE);
        sample.analyze_s = Some(begun.elapsed().as_secs_f64() / looked_at as f64);
    }
    for sql in design.green.index_sample(&leaf) {
        if begun.elapsed() > time || rows == 0 {
            break;
        }
        let before = size_of_indexes(session, &leaf).await?;
        let building = Instant::now();
        session.batch_execute(&sql).await?;
        let seconds = building.elapsed().as_secs_f64();
        let bytes = size_of_indexes(session, &leaf).await? - before;
        sample.indexes.push((seconds / rows as f64, bytes as f64 / rows as f64));
    }
    Ok(())
}

async fn largest_leaf(client: &Client, sample: &QName) -> Result<QName, tokio_postgres::Error> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
               WHERE i.inhparent = to_regclass($1) ORDER BY pg_relation_size(c.oid) DESC LIMIT 1";
    let row = client.query_opt(sql, &[&sample.to_string()]).await?;
    Ok(row.map_or_else(|| sample.clone(), |row| QName::new(sample.schema.clone(), row.get::<_, String>(0))))
}

async fn size_of_indexes(client: &Client, leaf: &QName) -> Result<i64, tokio_postgres::Error> {
    Ok(client.query_one("SELECT pg_indexes_size(to_regclass($1))", &[&leaf.to_string()]).await?.get(0))
}

/// Rows per second that these connections hash in parallel. Blue's alone: green has as many rows.
async fn hashed(
    workers: &[Session],
    lane: &Lane,
    comparison: &Comparison,
    time: Duration,
) -> Result<f64, tokio_postgres::Error> {
    let heap: i64 = match workers.first() {
        Some(first) => {
            let sql = "SELECT pg_relation_size(to_regclass($1))";
            first.query_one(sql, &[&lane.source.to_string()]).await?.get(0)
        }
        None => return Ok(0.0),
    };
    let slices = std::sync::Mutex::new(Slices::of(&u64::try_from(heap).unwrap_or(0)).cycle());
    let begun = Instant::now();
    let begin = format!("BEGIN READ ONLY; {STATEMENT}; {}", lane.acting);
    let work = workers.iter().map(|session| {
        rolled_back(session, &begin, async {
            let mut rows = 0;
            while begun.elapsed() < time {
                let next = slices.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
                let Some(span) = next else { break };
                let sql = comparison.sum_sql(true, &lane.source.to_string(), &condition(span));
                let row = lane.encoding.query_one(session, &sql, &[&comparison.seed()]).await?;
                rows += row.get::<_, i64>(0);
            }
            Ok::<_, tokio_postgres::Error>(rows)
        })
    });
    let rows = join_all(work).await.into_iter().map(Result::flatten).collect::<Result<Vec<i64>, _>>()?;
    Ok(per_second(u64::try_from(rows.iter().sum::<i64>()).unwrap_or(0), begun.elapsed()))
}

fn per_second(rows: u64, time: Duration) -> f64 {
    rows as f64 / time.as_secs_f64().max(1e-6)
}

/// A table's blocks in spans, each once, from all over the table.
#[derive(Clone)]
struct Slices {
    count: u64,
    step: u64,
    next: u64,
}

impl Slices {
    fn of(heap_bytes: &u64) -> Self {
        let count = (heap_bytes / BLOCK_BYTES).div_ceil(u64::from(BLOCKS)).max(1);
        // Steps of about the golden ratio that share no factor with the count visit each span once.
        let mut step = (count as f64 * 0.618) as u64;
        while gcd(step.max(1), count) != 1 {
            step += 1;
        }
        Self { count, step: step.max(1), next: 0 }
    }
}

impl Iterator for Slices {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let number = (self.next < self.count).then(|| self.next * self.step % self.count)?;
        self.next += 1;
        let from = u32::try_from(number * u64::from(BLOCKS)).ok()?;
        Some(Span { from, to: Some(from.saturating_add(BLOCKS)) })
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slice_is_taken_once() {
        for slices in [1, 2, 3, 64, 97, 1_000] {
            let mut seen: Vec<u32> = Slices::of(&(slices * 64 * BLOCK_BYTES)).map(|span| span.from).collect();
            seen.sort_unstable();
            let expected: Vec<u32> = (0..u32::try_from(slices).unwrap()).map(|at| at * BLOCKS).collect();
            assert_eq!(seen, expected);
        }
    }
}
