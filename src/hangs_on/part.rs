//! The verbs of a kind. Each kind of object on a table is one file of this module, which finds it in the catalog and
//! implements [`Part`]: how green gets it, how it changes hands in the swap, and how to see that it did.
//!
//! Invariant: statements are made from the design alone, without a query to the server.

use super::definition::Definition;
use super::old_shape::OldNames;
use super::shape::Green;
use crate::pg::sql::Statement;
use crate::pg::{Colour, Ident, QName};
use crate::plan::TablePlan;

/// One kind of object on a table; each verb is for all objects of that kind. A kind leaves out the verbs that
/// it does not need.
pub(crate) trait Part: Sync {
    /// What in the plan is incompatible with it.
    fn conflicts(&self, _green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        Vec::new()
    }

    /// Its clauses in green's CREATE TABLE, with blue's column names.
    fn clauses(&self, _green: &Green) -> Vec<String> {
        Vec::new()
    }

    /// What follows CREATE TABLE while green has blue's column names: the server rewrites it when
    /// the columns are renamed.
    fn create(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// What else green has before its first row, with green's column names.
    fn adorn(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// Tries on empty tables what would otherwise fail hours later, and undoes it.
    fn rehearse(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// What follows once rows and indexes exist.
    fn complete(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// In a swap, before the names are exchanged: frees what cannot exist twice. `who` is the table that is live until
    /// then.
    fn leave(&self, _green: &Green, _who: Colour) -> Vec<Statement> {
        Vec::new()
    }

    /// In a swap, after the names are exchanged: the table that is live now gets what the other one had. Either table
    /// can arrive any number of times.
    fn arrive(&self, _green: &Green, _who: Colour) -> Vec<Statement> {
        Vec::new()
    }

    /// What depends on the table without being part of it, and how it moves in a swap after which `who` is live.
    fn dependents(&self, _green: &Green, _who: Colour) -> Vec<Dependent> {
        Vec::new()
    }

    /// After a swap, in this order, each in a transaction of its own and under a lock that blocks no client.
    fn settle(&self, _green: &Green, _who: Colour) -> Vec<Statement> {
        Vec::new()
    }

    /// When blue, which clients no longer use, is moved from the run's schema to another one: what does not follow it by
    /// itself, and what would still tie it to the live table.
    fn archive(&self, _green: &Green, _schema: &Ident) -> Vec<Statement> {
        Vec::new()
    }

    /// What of it stays as it is, a few words for each thing.
    fn kept(&self, _green: &Green) -> Vec<String> {
        Vec::new()
    }

    /// What of it the live table lacks, or has in addition.
    fn compare(&self, _compared: &mut Compared<'_>) {}
}

/// An object that depends on a table without being part of it, and what becomes of it in a swap. One that depends on
/// several tables of a run is found for each of them, and moved once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependent {
    /// Its kind and name, for people; the same for every table that it depends on.
    pub(crate) what: String,
    /// What becomes of it in the swap, in one sentence.
    pub(crate) becomes: String,
    /// What to do if the trial fails.
    pub(crate) hint: String,
    /// The relation that is altered.
    pub(crate) relation: QName,
    /// Whether that is a table, on which autovacuum works.
    pub(crate) is_table: bool,
    /// Whether it is the relation's own: if that is a table of the run, too, it is moved as a part of it.
    pub(crate) is_tables_own: bool,
    /// That relation's owner: the program acts with its rights.
    pub(crate) owner: Ident,
    /// Whether the relation is created, or replaced, which requires CREATE on its schema.
    pub(crate) is_created: bool,
    /// Higher than that of every object that it depends on itself.
    pub(crate) rank: u32,
    /// SQL that takes ACCESS EXCLUSIVE on the relation, and does nothing else. `None` if that is the table itself, or
    /// if the swap leaves it alone.
    pub(crate) lock: Option<String>,
    /// Tries on green, before the swap, that `after` will work, and undoes it.
    pub(crate) trial: Vec<Statement>,
    /// What keeps away, before any client waits, autovacuum and whoever would change it meanwhile: neither a table that
    /// LOCK TABLE can lock, nor a view, which has nothing to keep away.
    pub(crate) displace: Vec<Statement>,
    /// What takes it from the table that leaves, before any name is exchanged.
    pub(crate) before: Vec<Statement>,
    /// What binds it to the table that is live, once all names are exchanged.
    pub(crate) after: Vec<Statement>,
    /// The names that `after` has for columns of the tables that are live.
    pub(crate) names: OldNames,
    /// Whether `after` names columns of the relation itself, which may be a table of the run, too.
    pub(crate) names_its_columns: bool,
}

impl Dependent {
    /// An object of this relation, which is no table, that the swap leaves alone.
    pub(crate) fn of(relation: &QName, owner: &Ident) -> Self {
        Self {
            what: String::new(),
            becomes: String::new(),
            hint: String::new(),
            relation: relation.clone(),
            is_table: false,
            is_tables_own: false,
            owner: owner.clone(),
            is_created: false,
            rank: 0,
            lock: None,
            trial: Vec::new(),
            displace: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            names: OldNames::default(),
            names_its_columns: false,
        }
    }

    /// The same object, as it was found for another table of the run.
    pub(crate) fn merge(&mut self, other: Self) {
        self.rank = self.rank.max(other.rank);
        let add = |to: &mut Vec<Statement>, more: Vec<Statement>| {
            let new: Vec<Statement> = more.into_iter().filter(|one| !to.contains(one)).collect();
            to.extend(new);
        };
        // A counterpart is made once, in the schemas of the first table.
        if !self.is_created {
            add(&mut self.displace, other.displace);
            add(&mut self.before, other.before);
        }
        add(&mut self.after, other.after);
        add(&mut self.names.give, other.names.give);
        add(&mut self.names.take, other.names.take);
    }

    /// Whether the swap does something about it.
    pub(crate) fn moves(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty()
    }
}

/// What to do about something that was dropped because green cannot have it.
pub(super) const AGAIN: &str = "and add one that fits the new table once the run is finished";

/// `3 columns`, `1 column`; `None` for 0.
pub(super) fn counted(count: usize, one: &str, many: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
}

/// A conflict between a plan and blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What is wrong, in one sentence.
    pub what: String,
    /// What to type, or what to decide.
    pub hint: String,
}

impl Conflict {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// A definition compared with that of the table that has replaced it.
pub(crate) struct Compared<'a> {
    pub(crate) green: &'a Green,
    pub(crate) was: &'a Definition,
    pub(crate) is: &'a Definition,
    /// What has changed, in sentences.
    pub(crate) found: Vec<String>,
}

impl Compared<'_> {
    pub(super) fn note(&mut self, what: impl Into<String>) {
        self.found.push(what.into());
    }

    pub(super) fn check<T: PartialEq + std::fmt::Debug>(
        &mut self,
        what: impl std::fmt::Display,
        was: &T,
        is: &T,
    ) {
        if was != is {
            self.note(format!("{what}: was {was:?}, is {is:?}"));
        }
    }

    /// Whether one of these has.
    pub(super) fn has_changed(&self, blue: &[Ident]) -> bool {
        blue.iter().any(|name| self.is_changed(name))
    }

    /// Whether a column of blue has another name or type now, so that expressions over it are printed differently.
    pub(super) fn is_changed(&self, blue: &Ident) -> bool {
        !self
            .green
            .columns
            .iter()
            .any(|column| column.source.unchanged() == Some(blue) && column.name == *blue)
    }
}
