//! The plan's own steps. Which table a statement locks is taken from its words; where they do not show it, that is said.

use crate::lifecycle::{Phase, Way};
use crate::pg::sql::Statement;
use crate::pg::sql::script::{self, Locks};
use crate::phase::steps::{SEARCH_PATH, doing, script as of_step};
use crate::plan::{Step, StepTime};

use super::StepList;

impl StepList<'_> {
    /// The steps of this time that are left to execute or undo.
    pub(super) fn around(&mut self, phase: Phase, when: StepTime, way: Way) {
        let done = &self.subject.progress.steps;
        let is_left = |step: &&Step| step.when == when && (way == Way::Down || done.lacks(&step.name, way));
        let mut steps: Vec<Step> = self.subject.forward.plan.steps.iter().filter(is_left).cloned().collect();
        if way == Way::Down {
            steps.reverse();
        }
        if when == StepTime::InSwap && way == Way::Up && !steps.is_empty() {
            self.step(
                phase,
                None,
                "the names of the plan's steps are sought as clients' are",
                SEARCH_PATH.to_owned(),
            );
        }
        for step in steps {
            let Some(script) = of_step(&step, way) else { continue };
            let is_own = step.transactional && when != StepTime::InSwap;
            if is_own {
                let begin = format!("{}; {SEARCH_PATH}", crate::phase::begin());
                self.step(phase, None, "begin a transaction", begin);
            }
            for statement in &script.statements {
                let what = format!("{}: {}", doing(&step, way), script::verb(&statement.sql));
                let shown = Statement::new(what, statement.sql.clone());
                let shown = match script::locks(&statement.sql) {
                    Locks::None => shown,
                    Locks::Of(relation, mode) => {
                        Statement { on: Some(relation.clone()), ..shown.locking(&relation, mode) }
                    }
                    Locks::Unknown => {
                        let what = format!("{}; what it locks is not known beforehand", shown.what);
                        shown.called(what)
                    }
                };
                self.statement(phase, None, shown);
            }
            if is_own {
                self.commit(phase);
            }
        }
    }

    /// What undoes the steps of these times. Without a way back, what follows the swap is never undone.
    pub(super) fn undone(&mut self, times: &[StepTime]) {
        let has_way_back = !self.subject.forward.settings.now().soak.is_zero();
        for when in times.iter().filter(|when| has_way_back || **when < StepTime::InSwap) {
            self.around(Phase::Rollback, *when, Way::Down);
        }
    }
}
