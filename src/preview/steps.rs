//! The steps of every phase that is left. Each text comes from the function that the phase itself executes.

mod around;
mod data;
mod definition;

use crate::event::{Blocks, PreviewLock, PreviewStep};
use crate::lifecycle::Phase;
use crate::pg::QName;
use crate::pg::sql::{LockMode, Statement};
use crate::plan::StepTime;

use super::estimate::Estimate;
use super::subject::Subject;

/// The steps that are left, and the two ways to end the run.
pub(super) fn of(subject: &Subject<'_>, estimate: &Estimate) -> Vec<PreviewStep> {
    let mut steps = StepList { subject, estimate, steps: Vec::new() };
    for phase in subject.progress.left().filter(|phase| subject.forward.reaches(*phase)) {
        match phase {
            // A check changes nothing; rollback and finish are shown below.
            Phase::Check | Phase::Rollback | Phase::Finish => {}
            Phase::Prepare => steps.prepare(),
            Phase::Copy => steps.copy(),
            Phase::CatchUp => steps.catch_up(),
            Phase::Index => steps.index(),
            Phase::Verify => steps.verify(),
            Phase::Swap => steps.swap(),
            Phase::Settle => steps.settle(),
            // The streams run; nothing is executed that the phases before have not shown.
            Phase::Soak => {}
        }
    }
    if subject.progress.swapped.is_none() {
        steps.rollback();
    } else {
        steps.undone(&[StepTime::AfterSwap, StepTime::InSwap, StepTime::BeforeSwap]);
    }
    if subject.forward.until.is_none() {
        steps.finish();
    }
    steps.steps
}

struct StepList<'a> {
    subject: &'a Subject<'a>,
    estimate: &'a Estimate,
    steps: Vec<PreviewStep>,
}

impl StepList<'_> {
    /// Adds a statement of a phase, for one lane or for all of them.
    fn statement(&mut self, phase: Phase, lane: Option<usize>, statement: Statement) -> &mut PreviewStep {
        let design = lane.and_then(|lane| self.subject.prepared.lanes.get(lane));
        let seconds = self.estimate.ddl_s;
        let locks = statement.locks.iter().filter(|(relation, _)| self.is_visible(phase, relation));
        let locks = locks.map(|(relation, mode)| lock(relation, *mode, seconds)).collect();
        self.steps.push(PreviewStep {
            phase,
            table: design.map(|design| design.table.plain()),
            relation: statement.on.map(|relation| relation.plain()),
            what: statement.what,
            sql: statement.sql,
            times: Some(1),
            locks,
            seconds,
            bytes: 0,
            wal_bytes: 0,
        });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// Adds a step with a description of its own; the caller adds its locks.
    fn step(&mut self, phase: Phase, lane: Option<usize>, what: &str, sql: String) -> &mut PreviewStep {
        self.statement(phase, lane, Statement::new(what, sql))
    }

    fn begin(&mut self, phase: Phase) {
        self.step(phase, None, "begin a transaction", crate::phase::begin());
    }

    fn commit(&mut self, phase: Phase) -> &mut PreviewStep {
        self.step(phase, None, "commit", "COMMIT".to_owned())
    }

    /// Whether others can reach a relation: not in the run's schemas, nor partitions of green before the swap.
    fn is_visible(&self, phase: Phase, relation: &QName) -> bool {
        let prepared = &self.subject.prepared;
        let at_home =
            prepared.homes().iter().any(|homes| [&homes.blue, &homes.green].contains(&&relation.schema));
        let is_live = phase > Phase::Swap && phase != Phase::Rollback;
        !at_home && (is_live || !prepared.lanes.iter().any(|lane| lane.green.has_leaf(relation)))
    }
}

/// A lock, as the preview's events show it.
fn lock(relation: &QName, mode: LockMode, seconds: f64) -> PreviewLock {
    let blocks = match mode {
        LockMode::AccessShare
        | LockMode::RowShare
        | LockMode::RowExclusive
        | LockMode::ShareUpdateExclusive => Blocks::Ddl,
        LockMode::Share | LockMode::ShareRowExclusive => Blocks::Writes,
        LockMode::AccessExclusive => Blocks::ReadsAndWrites,
    };
    PreviewLock { relation: relation.plain(), mode: mode.name(), blocks, seconds }
}
