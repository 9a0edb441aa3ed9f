//! The steps of the plan, and the statements of a phase: which of them were executed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Whether a step is executed, or undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Its `up`.
    Up,
    /// Its `down`.
    Down,
}

/// A step that has begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    is_up: bool,
    /// The statement outside of a transaction that was begun last; those before it are done.
    begun: Option<(Way, usize)>,
}

/// The steps of the plan, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps(BTreeMap<String, State>);

impl Steps {
    pub(super) fn done(&mut self, step: &str, way: Way) {
        self.0.insert(step.to_owned(), State { is_up: way == Way::Up, begun: None });
    }

    pub(super) fn intended(&mut self, step: &str, way: Way, statement: usize) {
        self.0.entry(step.to_owned()).or_default().begun = Some((way, statement));
    }

    /// Whether a step has to be executed or undone: it is not so already, or only in part.
    #[must_use]
    pub fn lacks(&self, step: &str, way: Way) -> bool {
        match self.0.get(step) {
            None => way == Way::Up,
            Some(State { is_up, begun }) => begun.is_some() || *is_up != (way == Way::Up),
        }
    }

    /// The statement that was begun last, if the step is executed or undone in part.
    #[must_use]
    pub fn begun(&self, step: &str, way: Way) -> Option<usize> {
        self.0.get(step)?.begun.filter(|(begun, _)| *begun == way).map(|(_, statement)| statement)
    }

    /// A step that was undone, or is in part.
    #[must_use]
    pub fn undone(&self) -> Option<&str> {
        let is_down = |state: &State| state.begun.map_or(!state.is_up, |(way, _)| way == Way::Down);
        self.0.iter().find(|(_, state)| is_down(state)).map(|(name, _)| name.as_str())
    }

    /// Whether a step is executed in part.
    #[must_use]
    pub fn is_partial(&self, step: &str) -> bool {
        self.0.get(step).is_some_and(|state| state.begun.is_some())
    }
}

/// The statements of a phase that were executed, each by its lane and what it does on what. If version 0.1.0 wrote the
/// fact, by its number among those of the lane; the numbers are kept stable for that.
#[derive(Clone, Debug, Default)]
pub struct StepsDone {
    numbers: BTreeSet<(usize, usize)>,
    names: BTreeSet<(usize, String)>,
}

impl StepsDone {
    pub(super) fn add(&mut self, lane: usize, step: usize, what: &str) {
        if what.is_empty() {
            self.numbers.insert((lane, step));
        } else {
            self.names.insert((lane, what.to_owned()));
        }
    }

    /// Whether a statement of a lane was executed.
    #[must_use]
    pub fn has(&self, lane: usize, step: usize, what: &str) -> bool {
        self.numbers.contains(&(lane, step)) || self.names.contains(&(lane, what.to_owned()))
    }

    /// The number of statements executed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len() + self.names.len()
    }
}
