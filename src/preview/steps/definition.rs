//! The phases that change definitions (prepare, index, swap, settle), and the two ways to end a run.

use crate::hangs_on::InboundKey;
use crate::lifecycle::LaneDesign;
use crate::lifecycle::{Phase, Way};
use crate::pg::sql::Statement;
use crate::pg::{Colour, QName, RunObjects};
use crate::phase::{self, analyze, index, keys, settle, swap};
use crate::plan::StepTime;

use super::StepList;
use crate::preview::estimate::COMMIT_S;

impl StepList<'_> {
    pub(super) fn prepare(&mut self) {
        let phase = Phase::Prepare;
        for sql in self.subject.journal.clone() {
            let journal = sql.trim().trim_end_matches(';').to_owned();
            self.step(phase, None, "make the journal, schema projh_bluegreen", journal);
        }
        self.around(phase, StepTime::Prepare, Way::Up);
        self.in_place(phase, Way::Up);
        let statements = phase::prepare::statements(&self.subject.prepared);
        if statements.is_empty() {
            return;
        }
        self.begin(phase);
        let count = statements.len();
        for (number, (lane, statement)) in statements.into_iter().enumerate() {
            // One transaction: each lock is held until its end.
            let held = (count - number) as f64 * self.estimate.ddl_s;
            for lock in &mut self.statement(phase, lane, statement).locks {
                lock.seconds = held;
            }
        }
        self.commit(phase);
    }

    /// The statements that build indexes: those of the keys, or all others.
    pub(super) fn indexes(&mut self, phase: Phase, keys: bool) {
        let steps = index::statements(&self.subject.prepared);
        let is_left = |step: &index::IndexStep| {
            step.is_key == keys && !self.subject.progress.index_steps.has(step.lane, step.step, &step.name)
        };
        let (leaves, parents): (Vec<_>, Vec<_>) =
            steps.into_iter().filter(is_left).partition(|step| step.on_leaf);
        for index::IndexStep { lane, step, on_leaf, statement, .. } in leaves.into_iter().chain(parents) {
            let (seconds, bytes) = if on_leaf { self.index_of_leaf(lane, step) } else { (0.0, 0.0) };
            let step = self.statement(phase, Some(lane), statement);
            step.seconds += seconds + COMMIT_S;
            step.bytes = bytes as u64;
            step.wal_bytes = bytes as u64;
        }
    }

    /// Seconds and bytes of one statement, if rows are spread evenly over the leaves.
    fn index_of_leaf(&self, lane: usize, step: usize) -> (f64, f64) {
        let green = &self.subject.prepared.lanes[lane].green;
        let leaves = green.row_holders().len();
        let per_index = leaves + usize::from(green.partition.is_some());
        let pace = &self.estimate.paces[lane];
        let (seconds, bytes) = pace.indexes.get(step / per_index).copied().unwrap_or_default();
        let rows = pace.rows / leaves as f64;
        (rows * seconds, rows * bytes)
    }

    pub(super) fn index(&mut self) {
        let phase = Phase::Index;
        self.indexes(phase, false);
        for (lane, design) in self.subject.prepared.lanes.iter().enumerate() {
            let pace = &self.estimate.paces[lane];
            let seconds = pace.analyzed * pace.analyze_s;
            self.statement(phase, Some(lane), analyze::analyze(design)).seconds += seconds;
        }
        self.registries();
        self.begin(phase);
        for (lane, statement) in index::completion(&self.subject.prepared) {
            self.statement(phase, lane, statement);
        }
        self.commit(phase);
    }

    /// What fills the tables of keys, and has foreign keys reference them.
    fn registries(&mut self) {
        let phase = Phase::Index;
        for (lane, design) in self.subject.prepared.lanes.iter().enumerate() {
            let registries = &design.green.widened.registries;
            if registries.is_empty() {
                continue;
            }
            self.transaction(phase, keys::followed(&design.green));
            for registry in registries {
                let pace = &self.estimate.paces[lane];
                let times = (pace.rows / keys::KEYS_AT_ONCE as f64).ceil();
                let seconds = pace.rows * pace.hash_s * 3.0 + times * COMMIT_S;
                let step = self.statement(phase, Some(lane), keys::fill(&design.green, registry));
                (step.seconds, step.times) = (seconds, Some(times.max(1.0) as u64));
            }
        }
        for step in keys::stand_ins(&self.subject.prepared) {
            self.transaction(phase, vec![step.statement]);
        }
    }

    pub(super) fn swap(&mut self) {
        let phase = Phase::Swap;
        self.around(phase, StepTime::BeforeSwap, Way::Up);
        let statements = self.subject.swap();
        for statement in swap::fill(&self.subject.prepared) {
            self.statement(phase, None, statement);
        }
        let stall = self.estimate.stall();
        for statement in [statements.begin, statements.displace] {
            self.statement(phase, None, statement);
        }
        let of_tables = std::iter::once(statements.lock_live).chain(statements.lock_sequences);
        let locks = statements.lock_dependents.into_iter().chain(of_tables);
        for statement in locks {
            for lock in &mut self.statement(phase, None, statement).locks {
                lock.seconds = stall;
            }
        }
        self.statement(phase, None, statements.time_outs);
        self.drain_and_compare();
        for (lane, statement) in statements.exchange {
            let step = self.statement(phase, Some(lane), statement);
            // All that clients could wait for is already locked.
            let tables = || statements.locked.iter().chain(&statements.sequences);
            let locked = || tables().chain(&statements.dependents);
            step.locks.retain(|lock| locked().all(|locked| locked.plain() != lock.relation));
            for lock in &mut step.locks {
                lock.seconds = stall;
            }
        }
        self.around(phase, StepTime::InSwap, Way::Up);
        self.statement(phase, None, statements.boundary);
        let told: f64 = self.steps.iter().filter(|step| step.phase == phase).map(|step| step.seconds).sum();
        // The rest of the stall is for draining the stream, and for the flush of the commit.
        self.commit(phase).seconds = (stall - told).max(COMMIT_S);
    }

    pub(super) fn settle(&mut self) {
        let phase = Phase::Settle;
        let ours = RunObjects::of_slot(&self.subject.prepared.slot);
        if self.subject.forward.settings.now().soak.is_zero() {
            self.step(phase, None, "drop the slot", phase::stream::DROP_SLOT.to_owned());
            for statement in settle::drop_publications(&ours) {
                let step = self.statement(phase, None, statement);
                step.sql = format!("{};\n{};\nCOMMIT", phase::begin(), step.sql);
            }
        }
        for (lane, number, step) in self.subject.prepared.settle(Colour::Green) {
            if self.subject.progress.settled_steps.has(lane, number, &step.what) {
                continue;
            }
            let green = &self.subject.prepared.lanes[lane].green;
            let pace = &self.estimate.paces[lane];
            let inbound = step.on.as_ref().and_then(|on| green.inbound_of(on));
            let of_child = |key: &InboundKey| key.estimated_rows as f64 / key.leaves.len().max(1) as f64;
            let rows = inbound.map_or(pace.rows / green.row_holders().len() as f64, of_child);
            let scanned = rows * pace.hash_s;
            let reads_rows = step.reads_rows;
            let shown = self.statement(phase, Some(lane), step);
            shown.seconds += COMMIT_S;
            shown.sql = format!("{};\n{};\nCOMMIT", phase::begin(), shown.sql);
            if reads_rows {
                shown.seconds += scanned;
                for lock in &mut shown.locks {
                    lock.seconds += scanned;
                }
            }
        }
        self.around(phase, StepTime::AfterSwap, Way::Up);
    }

    pub(super) fn rollback(&mut self) {
        let phase = Phase::Rollback;
        self.undone(&[StepTime::AfterSwap, StepTime::InSwap, StepTime::BeforeSwap]);
        let prepared = &self.subject.prepared;
        let live: Vec<QName> = prepared.lanes.iter().map(|lane| lane.table.clone()).collect();
        let parts =
            phase::rollback::transactions(&prepared.lanes, &RunObjects::of_slot(&prepared.slot), &live);
        for statement in parts.portions {
            self.transaction(phase, parts.hold.iter().cloned().chain([statement]).collect());
        }
        self.transaction(phase, parts.hold.into_iter().chain(parts.last).collect());
        if !prepared.lanes.is_empty() {
            self.step(phase, None, "drop the slot", phase::stream::DROP_SLOT.to_owned());
        }
        self.in_place(phase, Way::Down);
        self.undone(&[StepTime::Prepare]);
    }

    pub(super) fn finish(&mut self) {
        self.around(Phase::Finish, StepTime::Finish, Way::Up);
        let prepared = &self.subject.prepared;
        let archive = self.subject.forward.plan.settings.archive.as_ref();
        let archived = archive.map_or_else(Vec::new, |archive| phase::finish::targets(prepared, archive));
        let live: Vec<QName> = prepared.lanes.iter().map(|lane| lane.table.clone()).collect();
        self.transaction(Phase::Finish, phase::finish::statements(prepared, &archived, &live));
    }

    /// Adds these statements as one transaction.
    fn transaction(&mut self, phase: Phase, statements: Vec<Statement>) {
        if statements.is_empty() {
            return;
        }
        self.begin(phase);
        for statement in statements {
            let lane = statement.on.as_ref().and_then(|on| self.lane_of(on));
            self.statement(phase, lane, statement);
        }
        self.commit(phase);
    }

    /// The lane of a live table, or of blue after the swap.
    fn lane_of(&self, relation: &QName) -> Option<usize> {
        let is_of =
            |lane: &LaneDesign| lane.table == *relation || lane.green.home_of(Colour::Blue) == *relation;
        self.subject.prepared.lanes.iter().position(is_of)
    }
}
