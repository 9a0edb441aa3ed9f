//! The steps of every phase that is left. Each text comes from the function whose text the phase
//! executes.

mod data;
mod definition;

use crate::event::{PreviewLock, PreviewStep, Stage};
use crate::lifecycle::Phase;
use crate::pg::QName;

use super::estimate::Estimate;
use super::statement::{Mode, understand};
use super::subject::Subject;

/// Everything that is left to do, and the two ways to end the run.
pub(super) fn of(subject: &Subject<'_>, estimate: &Estimate) -> Vec<PreviewStep> {
    let mut steps = Steps { subject, estimate, steps: Vec::new() };
    let until = subject.cx.until;
    for phase in subject.progress.left().filter(|phase| until.is_none_or(|until| *phase <= until)) {
        match phase {
            Phase::Prepare => steps.prepare(),
            Phase::Copy => steps.copy(),
            Phase::CatchUp => steps.catch_up(),
            Phase::Index => steps.index(),
            Phase::Verify => steps.verify(),
            Phase::Swap => steps.swap(),
            Phase::Settle => steps.settle(),
        }
    }
    if subject.progress.swapped.is_none() {
        steps.rollback();
    }
    if until.is_none() {
        steps.finish();
    }
    steps.steps
}

struct Steps<'a> {
    subject: &'a Subject<'a>,
    estimate: &'a Estimate,
    steps: Vec<PreviewStep>,
}

impl Steps<'_> {
    /// A statement of DDL or the like, for one lane or for all of them.
    fn statement(&mut self, phase: Stage, lane: Option<usize>, sql: String) -> &mut PreviewStep {
        let design = lane.and_then(|lane| self.subject.prepared.lanes.get(lane));
        let meaning = understand(&sql, design);
        let seconds = self.estimate.ddl_s;
        let locks = meaning.locks.iter().filter(|(relation, _)| self.is_visible(phase, relation));
        let locks = locks.map(|(relation, mode)| lock(relation, *mode, seconds)).collect();
        self.steps.push(PreviewStep {
            phase,
            table: design.map(|design| design.table.plain()),
            relation: meaning.relation.map(|relation| relation.plain()),
            what: meaning.what,
            sql,
            times: Some(1),
            locks,
            seconds,
            bytes: 0,
            wal_bytes: 0,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// A step in words of its own; its locks are added by whoever knows them.
    fn step(&mut self, phase: Stage, lane: Option<usize>, what: &str, sql: String) -> &mut PreviewStep {
        let step = self.statement(phase, lane, sql);
        what.clone_into(&mut step.what);
        step
    }

    /// Nobody but us reaches what is in the run's homes, and partitions of green before the swap makes it live.
    fn is_visible(&self, phase: Stage, relation: &QName) -> bool {
        let prepared = &self.subject.prepared;
        let at_home = relation.schema == prepared.green_home || relation.schema == prepared.blue_home;
        let is_live = matches!(phase, Stage::Settle | Stage::Finish);
        !at_home && (is_live || !prepared.lanes.iter().any(|lane| lane.green.has_leaf(relation)))
    }
}

/// A lock, for people and machines.
fn lock(relation: &QName, mode: Mode, seconds: f64) -> PreviewLock {
    PreviewLock { relation: relation.plain(), mode: mode.name(), blocks: mode.blocks(), seconds }
}
