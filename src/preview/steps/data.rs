//! The phases that move and compare rows: copy, catch up, verify.

use crate::lane::apply::ApplySql;
use crate::lane::copy::{ChunkSql, Round, condition};
use crate::lane::point;
use crate::lifecycle::{Phase, Span, WayBack};
use crate::pg::sql::LockMode;
use crate::pg::{BLOCK_BYTES, Colour, RunObjects};
use crate::phase::copy::blocks_per_chunk;
use crate::phase::way_back;
use crate::replication::{create_slot, start_replication};

use super::{StepList, lock};
use crate::preview::estimate::COMMIT_S;

/// Placeholders for values that only exist during a run.
const SNAPSHOT: &str = "<snapshot>";
const LSN: &str = "<lsn>";

impl StepList<'_> {
    pub(super) fn copy(&mut self) {
        let phase = Phase::Copy;
        let first = self.subject.progress.slot.is_none();
        let slot = self.subject.prepared.slot.as_str().to_owned();
        if first {
            let sql = create_slot(&slot, false, self.subject.version);
            self.step(phase, None, "make the slot; it gives the first consistent point", sql);
        } else {
            self.indexes(phase, true);
            let sql = create_slot(&format!("{slot}_<random>"), true, self.subject.version);
            self.step(phase, None, "a consistent point for this round, by a temporary slot", sql);
        }
        self.stream(phase);
        for lane in 0..self.subject.lanes.len() {
            self.chunks(lane, first);
        }
        if first {
            self.indexes(phase, true);
        }
    }

    fn stream(&mut self, phase: Phase) {
        let slot = self.subject.prepared.slot.as_str().to_owned();
        self.step(phase, None, "stream the changes", start_replication(&slot, &slot, LSN));
    }

    /// One step for all chunks of a table: they only differ in their blocks.
    fn chunks(&mut self, number: usize, first: bool) {
        let lane = &self.subject.lanes[number];
        let table = &self.subject.prepared.lanes[number].green.blue.table;
        let blocks = u32::try_from(table.heap_bytes / BLOCK_BYTES).unwrap_or(u32::MAX);
        let copied = self.subject.progress.copied.get(number).cloned().unwrap_or_default();
        let missing = copied.missing(blocks, blocks_per_chunk(&self.subject.forward.settings.now(), blocks));
        let Some(span) = missing.first() else { return };
        let left: u64 =
            missing.iter().map(|span| u64::from(span.to.unwrap_or(blocks).max(span.from) - span.from)).sum();
        let pace = &self.estimate.paces[number];
        let rows = pace.rows * (left as f64 / f64::from(blocks.max(1))).min(1.0);
        let round = Round { snapshot: SNAPSHOT.to_owned(), skip_present: !first, files: Vec::new() };
        let ChunkSql { staging, read, write } = ChunkSql::of(lane, *span, &round);
        let mut sql = vec![point::import(SNAPSHOT), read];
        sql.extend(write);
        if let Some(staging) = staging {
            sql.insert(0, staging.make);
            sql.extend(["COMMIT; BEGIN".to_owned(), staging.take]);
        }
        sql.push("COMMIT".to_owned());
        let (seconds, bytes, wal) =
            (rows * pace.copy_s + missing.len() as f64 * COMMIT_S, rows * pace.bytes, pace.wal(rows));
        let held = lock(&lane.source, LockMode::AccessShare, seconds / missing.len() as f64);
        let step = self.step(Phase::Copy, Some(number), "copy a chunk of", sql.join(";\n"));
        step.relation = step.table.clone();
        step.what = format!("copy about {rows:.0} rows, a chunk of blocks a time");
        step.times = Some(missing.len() as u64);
        (step.seconds, step.bytes, step.wal_bytes) = (seconds, bytes as u64, wal as u64);
        step.locks = vec![held];
    }

    pub(super) fn catch_up(&mut self) {
        let phase = Phase::CatchUp;
        if self.subject.progress.copy_finished && !self.subject.is_live {
            self.stream(phase);
        }
        let copying: f64 =
            self.steps.iter().filter(|step| step.phase == Phase::Copy).map(|step| step.seconds).sum();
        let seconds = self.estimate.applied(copying) / self.subject.lanes.len().max(1) as f64;
        for number in 0..self.subject.lanes.len() {
            let sql = ApplySql::of(&self.subject.lanes[number]);
            let replace = sql.replace.map(|sql| ("update, in place, rows that keep their key", sql));
            let steps = [
                Some(("delete the old rows of the changed keys", sql.delete)),
                replace,
                Some(("insert the new rows", sql.insert)),
                Some(("replace rows whose large values the stream does not repeat", sql.rewrite)),
            ];
            for (at, (what, sql)) in steps.into_iter().flatten().enumerate() {
                let step = self.step(phase, Some(number), what, sql);
                step.times = None;
                step.seconds = if at == 0 { seconds } else { 0.0 };
            }
        }
    }

    pub(super) fn verify(&mut self) {
        let phase = Phase::Verify;
        let prepared = &self.subject.prepared;
        if !self.subject.forward.settings.now().soak.is_zero()
            && self.subject.progress.way_back == WayBack::None
        {
            let slot = RunObjects::of_slot(&prepared.slot).slot(Colour::Green);
            let publish = way_back::publish(prepared, &slot);
            self.statement(phase, None, publish);
            self.step(
                phase,
                None,
                "the slot of green's changes, for the way back",
                create_slot(slot.as_str(), false, self.subject.version),
            );
        }
        let slot = format!("{}_<random>", self.subject.prepared.slot.as_str());
        let sql = create_slot(&slot, true, self.subject.version);
        self.step(phase, None, "a consistent point, by a temporary slot", sql);
        for number in 0..self.estimate.comparisons.len() {
            let comparison = &self.estimate.comparisons[number];
            let lane = &self.subject.lanes[number];
            let pace = &self.estimate.paces[number];
            let all = condition(Span { from: 0, to: None });
            let holders = self.subject.prepared.lanes[number].green.row_holders();
            let (seconds, of_leaf) =
                (pace.rows * pace.hash_s, pace.rows * pace.hash_s / holders.len() as f64);
            let sql = |is_source, relation: &str| {
                let sum = comparison.piece_sql(is_source, relation, &all);
                format!("{};\n{sum};\nCOMMIT", point::import(SNAPSHOT))
            };
            let blue = sql(true, &lane.source.to_string());
            let greens: Vec<_> =
                holders.iter().map(|leaf| (leaf.plain(), sql(false, &leaf.to_string()))).collect();
            let held = lock(&lane.source, LockMode::AccessShare, seconds);
            let step = self.step(phase, Some(number), "count and hash every row of blue", blue);
            step.relation = step.table.clone();
            (step.seconds, step.locks) = (seconds, vec![held]);
            for (leaf, sql) in greens {
                let step = self.step(phase, Some(number), "count and hash every row of", sql);
                (step.seconds, step.what) = (of_leaf, format!("count and hash every row of {leaf}"));
                step.relation = Some(leaf);
            }
        }
        self.keys(phase, "compare the keys that changed meanwhile");
    }

    /// Under the lock: applies what was committed before it, and compares what changed last.
    pub(super) fn drain_and_compare(&mut self) {
        let sql = crate::lane::feed::EMIT.to_owned();
        self.step(Phase::Swap, None, "a marker; the stream is drained through it", sql);
        self.keys(Phase::Swap, "compare the keys that changed last");
    }

    fn keys(&mut self, phase: Phase, what: &str) {
        let seconds = self.estimate.compared() / self.estimate.comparisons.len().max(1) as f64 / 2.0;
        for number in 0..self.estimate.comparisons.len() {
            for (is_source, side) in [(true, "blue"), (false, "green")] {
                let sql = self.estimate.comparisons[number].keys_sql(is_source);
                let step = self.step(phase, Some(number), &format!("{what}: {side}"), sql);
                step.times = if phase == Phase::Swap { Some(1) } else { None };
                step.seconds = seconds;
            }
        }
    }
}
