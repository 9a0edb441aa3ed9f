//! The verbs of a kind. Each kind of thing that hangs on a table is one file of this module, which finds it in the
//! catalog, and implements [`Part`]: how green gets it, how it changes hands in the swap, and how to see that it did.
//!
//! Invariant: statements are made from the design alone, without a look at the server.

use super::definition::Definition;
use super::shape::{Green, Source};
use crate::pg::Ident;
use crate::pg::sql::Statement;
use crate::plan::TablePlan;

/// One kind of thing that hangs on a table; all verbs are about all things of that kind. A kind leaves out what it
/// does not need.
pub(crate) trait Part: Sync {
    /// What in the plan does not go together with it.
    fn conflicts(&self, _green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        Vec::new()
    }

    /// What of it stands in green's CREATE TABLE, under blue's names of the columns.
    fn clauses(&self, _green: &Green) -> Vec<String> {
        Vec::new()
    }

    /// What follows CREATE TABLE while green has blue's names of the columns: the server itself rewrites it when
    /// they are renamed.
    fn create(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// What else green has before its first row, under green's names of the columns.
    fn adorn(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// Tries on empty tables what would otherwise fail hours later, and undoes it.
    fn rehearse(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// What follows once rows and indexes are there.
    fn complete(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// In the swap, before the names are exchanged: frees what cannot exist twice.
    fn leave(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// In the swap, after the names are exchanged: green gets what blue had.
    fn arrive(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// After the swap, in this order, each in a transaction of its own and under a lock that hurts no client.
    fn settle(&self, _green: &Green) -> Vec<Statement> {
        Vec::new()
    }

    /// What of it stays as it is, in a few words each.
    fn kept(&self, _green: &Green) -> Vec<String> {
        Vec::new()
    }

    /// What of it the table that is live now lacks, or has too much.
    fn compare(&self, _compared: &mut Compared<'_>) {}
}

/// `3 columns`, `1 column`; nothing where there is none.
pub(super) fn counted(count: usize, one: &str, many: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
}

/// What in a plan does not go together with blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What is wrong.
    pub what: String,
    /// What to type, or to decide.
    pub hint: String,
}

impl Conflict {
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// A definition held against that of the table which has taken its place.
pub(crate) struct Compared<'a> {
    pub(crate) green: &'a Green,
    pub(crate) was: &'a Definition,
    pub(crate) is: &'a Definition,
    /// What is not as it was, in sentences.
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

    /// Whether a column of blue has another name or type now: texts over it are printed differently.
    pub(super) fn is_changed(&self, blue: &Ident) -> bool {
        let same = |source: &Source| matches!(source, Source::Same(of) | Source::Generated(of) if of == blue);
        !self.green.columns.iter().any(|column| same(&column.source) && column.name == *blue)
    }
}
