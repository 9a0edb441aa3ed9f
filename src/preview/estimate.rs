//! Estimates of time, disk and WAL, from the catalog's sizes and the pace that a sample showed.

use std::time::Instant;

use crate::error::{Doing, Error};
use crate::lane::compare::Comparison;
use crate::lifecycle::LaneDesign;
use crate::pg::connect::Session;
use crate::pg::{BLOCK_BYTES, Colour};

use super::sample::Sample;
use super::subject::Subject;
use super::trial::Trial;

/// Bytes of blue that all workers together copy, hash and index per second, if nothing was measured.
const COPIED_PER_S: f64 = (40 << 20) as f64;
const HASHED_PER_S: f64 = (200 << 20) as f64;
const INDEXED_PER_S: f64 = (60 << 20) as f64;
/// Slowdown of a WAL-logged table against the sample's temporary one.
const LOGGED: f64 = 1.8;
/// Seconds for a transaction of its own, with its fact: the WAL has to be flushed.
pub(super) const COMMIT_S: f64 = 0.003;
/// Seconds per row that ANALYZE reads, if nothing was measured.
const ANALYZED_S: f64 = 0.000_005;
/// Seconds per DDL statement, if nothing was measured.
const DDL_S: f64 = 0.001;
/// Seconds per trigger of a partition that is enabled or disabled.
const TRIGGER_S: f64 = 0.000_03;
/// Bytes of WAL per row beyond the row itself.
const WAL_PER_ROW: f64 = 16.0;
/// The gate lets the swap begin once a marker takes at most 20 ms to arrive: half of that on average.
const DRAIN_S: f64 = 0.010;
/// Seconds to look a key up in one partition; it is looked up in each.
const COMPARED_S: f64 = 0.000_001;
/// Seconds to wait for the lock, and to commit.
const LOCK_AND_COMMIT_S: f64 = 0.010;
/// Keys that are left to compare under the lock.
const KEYS: f64 = 200.0;
/// Changes that the stream applies per second.
const APPLIED_PER_S: f64 = 30_000.0;

/// The estimates for one table.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Rows of blue, as of its last ANALYZE or VACUUM.
    pub(super) rows: f64,
    /// Seconds per row to copy, with all workers together.
    pub(super) copy_s: f64,
    pub(super) hash_s: f64,
    /// Seconds per row that ANALYZE reads, and the number of rows that it reads: those of each leaf, and the parent's.
    pub(super) analyze_s: f64,
    pub(super) analyzed: f64,
    /// Bytes of green's heap and TOAST per row.
    pub(super) bytes: f64,
    /// For each index, seconds (of all workers together) and bytes per row.
    pub(super) indexes: Vec<(f64, f64)>,
}

impl Pace {
    pub(super) fn wal(&self, rows: f64) -> f64 {
        rows * (self.bytes + WAL_PER_ROW)
    }
}

/// The figures that everything is estimated from.
pub(super) struct Estimate {
    pub(super) paces: Vec<Pace>,
    /// Seconds per DDL statement.
    pub(super) ddl_s: f64,
    /// Changes of the tables per second, by clients.
    pub(super) changes_per_s: f64,
    /// The number of statements in the exchange.
    exchange: usize,
    /// Triggers of partitions that the exchange enables.
    triggers: usize,
    /// Partitions of the table that has the most.
    leaves: usize,
    /// The lanes' comparisons; empty once the lanes are swapped.
    pub(super) comparisons: Vec<Comparison>,
    pub(super) basis: Vec<String>,
}

impl Estimate {
    pub(super) async fn make(session: &Session, subject: &Subject<'_>) -> Result<Self, Error> {
        let counted = (Instant::now(), changes(session, subject).await?);
        let tried = Trial::make(session, subject).await?;
        let seconds = counted.0.elapsed().as_secs_f64().max(0.001);
        let changed = changes(session, subject).await? - counted.1;
        let changes_per_s = changed.max(0) as f64 / seconds;
        let workers = subject.forward.settings.now().workers;
        let mut paces = Vec::new();
        for (number, design) in subject.prepared.lanes.iter().enumerate() {
            let sample = tried.samples.get(number).and_then(Option::as_ref);
            paces.push(sample.map_or_else(|| assumed(design), |sample| measured(design, sample, workers)));
        }
        let exchange = subject.prepared.lanes.iter().map(|lane| lane.green.exchange(Colour::Green).len());
        let triggers = subject.prepared.lanes.iter().map(|lane| lane.green.triggers_of_leaves());
        let mut estimate = Self {
            triggers: triggers.sum(),
            paces,
            ddl_s: tried.ddl_s.unwrap_or(DDL_S),
            changes_per_s,
            exchange: exchange.sum(),
            leaves: subject
                .prepared
                .lanes
                .iter()
                .map(|lane| lane.green.row_holders().len())
                .max()
                .unwrap_or(1),
            comparisons: Vec::new(),
            basis: Vec::new(),
        };
        estimate.basis = basis(subject, &tried, &estimate);
        estimate.comparisons = tried.comparisons;
        Ok(estimate)
    }

    /// Seconds that the exchange takes.
    pub(super) fn exchange(&self) -> f64 {
        self.exchange as f64 * self.ddl_s + self.triggers as f64 * TRIGGER_S
    }

    /// Seconds for which writes wait, once.
    pub(super) fn stall(&self) -> f64 {
        LOCK_AND_COMMIT_S + DRAIN_S + self.compared() + self.exchange()
    }

    /// Seconds that the last comparison takes.
    pub(super) fn compared(&self) -> f64 {
        KEYS * self.leaves as f64 * COMPARED_S
    }

    /// Seconds to apply what clients change in `seconds`.
    pub(super) fn applied(&self, seconds: f64) -> f64 {
        self.changes_per_s * seconds / APPLIED_PER_S
    }
}

/// Rows of the tables inserted, updated or deleted so far.
async fn changes(session: &Session, subject: &Subject<'_>) -> Result<i64, Error> {
    let names: Vec<String> = subject.prepared.lanes.iter().map(|lane| lane.table.to_string()).collect();
    let sql = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables \
               WHERE relid IN (SELECT to_regclass(t)::oid FROM unnest($1::text[]) AS t)";
    let row = session.query_one(sql, &[&names]).await.doing("reading statistics")?;
    Ok(row.get(0))
}

fn measured(design: &LaneDesign, sample: &Sample, workers: usize) -> Pace {
    let table = &design.green.blue.table;
    let blocks = table.heap_bytes as f64 / BLOCK_BYTES as f64;
    let rows =
        if table.estimated_rows > 0 { table.estimated_rows as f64 } else { blocks * sample.rows_per_block };
    // The workers speed a copy up as much as they speed hashing up.
    let together = (sample.hashed_by_all_per_s / sample.hashed_per_s.max(1.0)).clamp(1.0, workers as f64);
    let assumed = assumed(design);
    let last = sample.indexes.last().copied();
    let indexes = assumed.indexes.iter().enumerate().map(|(number, assumed)| {
        let (seconds, bytes) = sample.indexes.get(number).copied().or(last).unwrap_or(*assumed);
        (LOGGED * seconds / together, bytes)
    });
    Pace {
        rows,
        copy_s: LOGGED / (sample.copied_per_s.max(1.0) * together),
        analyze_s: sample.analyze_s.unwrap_or(ANALYZED_S),
        analyzed: analyzed(design, rows),
        hash_s: 1.0 / sample.hashed_by_all_per_s.max(1.0),
        bytes: sample.bytes_per_row,
        indexes: indexes.collect(),
    }
}

fn assumed(design: &LaneDesign) -> Pace {
    let table = &design.green.blue.table;
    let rows = if table.estimated_rows > 0 {
        table.estimated_rows as f64
    } else {
        (table.heap_bytes as f64 / 100.0).max(1.0)
    };
    let bytes = table.table_bytes as f64 / rows;
    let index = table.index_bytes as f64 / rows / design.green.blue.indexes.len().max(1) as f64;
    Pace {
        rows,
        copy_s: bytes / COPIED_PER_S,
        analyze_s: ANALYZED_S,
        analyzed: analyzed(design, rows),
        hash_s: bytes / HASHED_PER_S,
        bytes,
        indexes: vec![(index / INDEXED_PER_S, index); design.green.indexes.len()],
    }
}

/// Rows that ANALYZE reads: 300 times the greatest statistics target, in each leaf and once more for the parent.
fn analyzed(design: &LaneDesign, rows: f64) -> f64 {
    let targets = design.green.blue.columns.iter().filter_map(|column| column.statistics_target);
    let most = 300.0 * f64::from(targets.max().unwrap_or(100).max(100));
    let leaves = design.green.row_holders().len() as f64;
    let parent = if design.green.partition.is_some() { rows.min(most) } else { 0.0 };
    (rows / leaves).min(most) * leaves + parent
}

/// What the estimates are based on, in sentences.
fn basis(subject: &Subject<'_>, tried: &Trial, estimate: &Estimate) -> Vec<String> {
    let mut basis = vec!["sizes: the catalog's, as of the last ANALYZE or VACUUM of each table".to_owned()];
    for (design, sample) in subject.prepared.lanes.iter().zip(&tried.samples) {
        let Some(sample) = sample else { continue };
        basis.push(format!(
            "pace of {}: a sample of {} rows, copied at {:.0} rows/s by one connection into a temporary table, \
             hashed at {:.0} rows/s by {}, indexes built: {}; what writes WAL is taken to need {LOGGED} times as long",
            design.table.plain(),
            sample.rows,
            sample.copied_per_s,
            sample.hashed_by_all_per_s,
            subject.forward.settings.now().workers,
            sample.indexes.len(),
        ));
    }
    if let Some(why) = &tried.why_not {
        basis.push(format!("pace: assumed, not measured ({why})"));
    }
    if !subject.in_place.is_empty() {
        basis.push(
            "pace of indexes in place: assumed, from the sizes of the tables and of their indexes".to_owned(),
        );
    }
    let ddl = if tried.ddl_s.is_some() { "measured" } else { "assumed" };
    basis.push(format!(
        "DDL: {:.2} ms a statement, {ddl}; a commit: {:.0} ms, assumed",
        estimate.ddl_s * 1_000.0,
        COMMIT_S * 1_000.0
    ));
    basis.push(format!("load: {:.0} changes/s of these tables while this was made", estimate.changes_per_s));
    basis
}
