//! Foreign keys that a partition of blue has without its parent.
//!
//! They hold for the rows of that partition only, so green can have them if one of its partitions takes exactly these rows
//! ([`Partition::alike`]). They change hands as the table's own do: dropped in the swap and added NOT VALID to the
//! partition that arrives, validated after it.

use super::foreign_keys::ForeignKey;
use super::part::{AGAIN, Compared, Conflict, Part, counted};
use super::partitions::Partition;
use super::shape::Green;
use super::table::comment_on_constraint;
use crate::pg::sql::Statement;
use crate::pg::{Colour, QName};
use crate::plan::TablePlan;

/// The [`Part`] of these keys.
pub(super) struct LeafKeys;

impl Part for LeafKeys {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let all = green
            .blue
            .partitions
            .iter()
            .flat_map(|leaf| leaf.foreign_keys.iter().map(move |key| (leaf, key)));
        all.flat_map(|(leaf, key)| conflicts(green, leaf, key)).collect()
    }

    fn leave(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let if_exists = if who == Colour::Blue { "" } else { "IF EXISTS " };
        keys_of(green, who).map(|(relation, key)| key.drop(&relation, if_exists)).collect()
    }

    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        keys_of(green, who)
            .map(|(relation, key)| key.add(&relation, &key.columns_of(green, who), false))
            .collect()
    }

    fn settle(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let settled = keys_of(green, who).flat_map(|(relation, key)| {
            let comment = comment_on_constraint(&key.name, &relation, key.comment.as_ref());
            let called = format!("comment on foreign key {}", key.name);
            let validate = key.validated.then(|| key.validate(&relation));
            validate.into_iter().chain(comment.map(|step| step.called(called)))
        });
        settled.collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let kept = green.blue.partitions.iter().filter(|leaf| leaf.alike.is_some());
        let count = kept.map(|leaf| leaf.foreign_keys.len()).sum();
        counted(count, "foreign key of a partition", "foreign keys of partitions").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for (relation, was) in keys_of(compared.green, Colour::Green) {
            let what = format!("foreign key {} of partition {}", was.name, relation.plain());
            let leaf = compared.is.leaves.iter().find(|leaf| leaf.name == relation);
            let mut keys = leaf.into_iter().flat_map(|leaf| &leaf.own_foreign_keys);
            match keys.find(|is| is.name == was.name) {
                Some(is) => compared.check(format!("validity of {what}"), &was.validated, &is.validated),
                None => compared.note(format!("{what} is missing")),
            }
        }
    }
}

/// Each of these keys, with the partition that has it while `who` is live.
fn keys_of(green: &Green, who: Colour) -> impl Iterator<Item = (QName, &ForeignKey)> {
    let relation = move |leaf: &Partition| match who {
        Colour::Blue => Some(leaf.name.clone()),
        Colour::Green => {
            let schema = &green.partition.as_ref()?.schema;
            Some(QName { schema: schema.clone(), name: leaf.alike.clone()? })
        }
    };
    let leaves = green.blue.partitions.iter();
    leaves.flat_map(move |leaf| leaf.foreign_keys.iter().filter_map(move |key| Some((relation(leaf)?, key))))
}

fn conflicts(green: &Green, leaf: &Partition, key: &ForeignKey) -> Vec<Conflict> {
    let (on, table, name) = (leaf.name.plain(), green.live().plain(), &key.name);
    let hint = format!("alter table {on} drop constraint {name}; {AGAIN}");
    if leaf.alike.is_none() {
        let what = format!(
            "foreign key {name} is of partition {on} alone, and the plan has no partition with its bounds ({})",
            leaf.bound
        );
        let instead = format!("give {table} itself such a key, or partition_by these bounds; or {hint}");
        return vec![Conflict::new(what, instead)];
    }
    if key.to_itself || key.references == *green.live() {
        let what = format!("foreign key {name} of partition {on} references {table} itself");
        return vec![Conflict::new(what, hint)];
    }
    let found = key.conflicts(green).into_iter();
    found.map(|what| Conflict::new(format!("{what}; it is of partition {on}"), hint.clone())).collect()
}
