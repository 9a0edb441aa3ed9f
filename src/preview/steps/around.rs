//! The plan's own steps. Which table a statement locks is taken from its words; where they do not show it, that is said.

use crate::lifecycle::{Phase, Way};
use crate::pg::sql::Statement;
use crate::pg::sql::script::{self, Locks};
use crate::phase::in_place::Build;
use crate::phase::steps::{SEARCH_PATH, doing, script as of_step};
use crate::plan::StepTime;

use super::StepList;

impl StepList<'_> {
    /// The steps of this time that are left to execute or undo.
    pub(super) fn around(&mut self, phase: Phase, when: StepTime, way: Way) {
        let steps = self.subject.steps(when, way);
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

    /// What builds indexes in place, as far as it is left; or all that drops them.
    pub(super) fn in_place(&mut self, phase: Phase, way: Way) {
        let subject = self.subject;
        let done = &subject.progress.steps;
        let mut builds: Vec<&Build> = subject.in_place.iter().collect();
        match way {
            Way::Up => builds.retain(|build| !build.is_covered && done.lacks(&build.step.name, way)),
            Way::Down => builds.reverse(),
        }
        for build in builds {
            let Some(statement) = (if way == Way::Up { Some(&build.up) } else { build.down.as_ref() }) else {
                continue;
            };
            let is_own = build.step.transactional;
            if is_own {
                let begin = format!("{}; {SEARCH_PATH}", crate::phase::begin());
                self.step(phase, None, "begin a transaction", begin);
            }
            let step = self.statement(phase, None, statement.clone());
            if way == Way::Up && statement.reads_rows {
                let seconds = build.size.seconds();
                (step.seconds, step.bytes) = (step.seconds + seconds, build.size.index_bytes as u64);
                step.wal_bytes = step.bytes;
                step.locks.iter_mut().for_each(|lock| lock.seconds += seconds);
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
