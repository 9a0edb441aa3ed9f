//! `in_place: true`: a table that gets indexes as it is, without a copy; and what of a plan is for a swap only.

use super::problem::Collected;
use super::steps::{Step, StepTime};
use super::yaml::{Node, Scalar};
use super::{Gate, TablePlan};

/// The keys of a table that is not copied.
const KEYS: [&str; 3] = ["table", "indexes", "in_place"];

/// Whether a table says that its indexes are built on the table itself.
pub(super) fn is_set(table: &Node) -> bool {
    table.get("in_place").and_then(|node| node.scalar().and_then(Scalar::as_bool)) == Some(true)
}

/// Checks the other keys of such a table: each of them needs a new table.
pub(super) fn check(table: &Node, found: &mut Collected) {
    if !is_set(table) {
        return;
    }
    for (key, value) in table.entries().iter().filter(|(key, _)| !KEYS.contains(&&*key.text)) {
        let what = format!("`{}` needs a new table, and `in_place` builds none", key.text);
        let hint = "leave out `in_place`: the table is copied, and its indexes are built on the copy";
        found.add_with_hint(value.at, what, hint.to_owned());
    }
    if let Some(node) = table.get("in_place").filter(|_| table.get("indexes").is_none()) {
        found.add(node.at, "`in_place` needs `indexes`: it builds nothing else");
    }
}

/// Checks that a plan without a swap has nothing that is done or asked around one.
pub(super) fn check_around(root: &Node, steps: &[Step], gates: &[Gate], found: &mut Collected) {
    let is_swap =
        |step: &&Step| matches!(step.when, StepTime::BeforeSwap | StepTime::InSwap | StepTime::AfterSwap);
    let why = "no table of the plan is copied, so there is no swap";
    if let (Some(step), Some(node)) = (steps.iter().find(is_swap), root.get("steps")) {
        let what = format!("step `{}` would never be executed: {why}", step.name);
        found.add_with_hint(node.at, what, "`when: prepare`, or `finish`".to_owned());
    }
    if let (Some(gate), Some(node)) = (gates.first(), root.get("gates")) {
        found.add(node.at, format!("gate `{}` would never be asked: {why}", gate.name));
    }
}

impl TablePlan {
    /// Whether the plan gives it indexes, and nothing else that its own keys say.
    #[must_use]
    pub fn has_only_indexes(&self) -> bool {
        !self.indexes.is_empty()
            && self.partition_by.is_none()
            && self.primary_key.is_none()
            && self.columns.is_empty()
            && self.add_columns.is_empty()
            && self.drop_indexes.is_empty()
            && self.compatibility.is_none()
    }
}
