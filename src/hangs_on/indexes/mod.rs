//! Indexes, and the primary key and unique constraints that they implement.

mod of_green;
mod rename;

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{Compared, Conflict, Part, counted};
use super::shape::Green;
use crate::pg::Ident;
use crate::pg::sql::Statement;
use crate::plan::TablePlan;

pub use of_green::GreenIndex;
pub(super) use of_green::name_on_leaf;

pub(super) const INDEXES: Question =
    Question { what: "its indexes", sql: include_str!("../../../sql/catalog/indexes.sql") };

/// An index, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The index's name.
    pub name: Ident,
    /// Whether it is unique, by itself or for a constraint.
    pub unique: bool,
    /// Whether it is the primary key's.
    pub primary: bool,
    /// Whether it is checked at once (not deferrable).
    pub immediate: bool,
    /// Whether it belongs to an exclusion constraint, or to a key WITHOUT OVERLAPS.
    pub exclusion: bool,
    /// Whether it is valid, ready and live.
    pub valid: bool,
    /// Whether CLUSTER would use it.
    pub clustered: bool,
    /// Whether some of its keys are expressions.
    pub has_expressions: bool,
    /// Its key columns in order; `None` for an expression.
    pub keys: Vec<Option<Ident>>,
    /// The columns of INCLUDE.
    pub included: Vec<Ident>,
    /// Every column that it reads, in keys, expressions and predicate.
    pub columns: Vec<Ident>,
    /// `USING btree (...) ...`: the definition after the table's name, up to WHERE; `None` if the
    /// text was not understood.
    pub body: Option<String>,
    /// The condition of WHERE, as SQL text.
    pub predicate: Option<String>,
    /// Storage parameters, as `name=value` (`body` contains them too).
    pub options: Vec<String>,
    /// The tablespace, if it is not the database's default.
    pub tablespace: Option<Ident>,
    /// The text of COMMENT ON INDEX.
    pub comment: Option<String>,
    /// The statistics targets of its expressions.
    pub statistics_targets: Vec<StatisticsTarget>,
    /// The extensions that it depends on.
    #[serde(default)]
    pub extensions: Vec<Ident>,
    /// The constraint that it implements.
    pub constraint: Option<IndexConstraint>,
}

/// The statistics target of one column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatisticsTarget {
    /// The column's number in the index, from 1.
    pub column: i16,
    /// The target that SET STATISTICS gave.
    pub target: i32,
}

/// A primary key, unique or exclusion constraint, which an index implements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexConstraint {
    /// The constraint's name, which is also the index's.
    pub name: Ident,
    /// The definition, as `pg_get_constraintdef` prints it.
    pub definition: String,
    /// Whether it is DEFERRABLE.
    pub deferrable: bool,
    /// The text of COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

/// The [`Part`] of indexes.
pub(super) struct Indexes;

impl Part for Indexes {
    fn conflicts(&self, green: &Green, plan: &TablePlan) -> Vec<Conflict> {
        let carried = green.blue.indexes.iter().filter(|index| index.is_carried(plan));
        carried.flat_map(|index| index.conflicts(green)).collect()
    }

    fn rehearse(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        green.indexes.iter().flat_map(|index| index.rehearse(&home)).collect()
    }

    fn complete(&self, green: &Green) -> Vec<Statement> {
        green.indexes.iter().flat_map(|index| index.settings(green)).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let is_kept = |index: &&Index| green.indexes.iter().any(|kept| kept.name == index.name);
        let carried = green.blue.indexes.iter().filter(|index| !index.primary).filter(is_kept);
        counted(carried.count(), "index", "indexes").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for planned in &compared.green.indexes {
            let name = &planned.name;
            let Some(is) = compared.is.indexes.iter().find(|is| is.name == *name) else {
                compared.note(format!("index {name} is missing"));
                continue;
            };
            compared.check(format!("validity of index {name}"), &true, &is.valid);
            let kind = (is.primary, is.unique, is.constraint.is_some());
            let wanted = (planned.primary, planned.unique, planned.constraint);
            compared.check(format!("kind of index {name}"), &wanted, &kind);
            if planned.keys.is_some() {
                compared.check(format!("columns of index {name}"), &planned.keys, &is.plain_keys());
            }
            if let Some(was) = compared.was.indexes.iter().find(|was| was.name == *name) {
                was.compare(is, compared);
            }
        }
    }
}

impl Index {
    /// The names of its key columns; `None` if one is an expression.
    #[must_use]
    pub fn plain_keys(&self) -> Option<Vec<Ident>> {
        self.keys.iter().cloned().collect()
    }

    /// Whether it distinguishes all rows: unique, valid, not partial, plain columns, not deferrable.
    #[must_use]
    pub fn identifies_rows(&self) -> bool {
        self.unique
            && self.valid
            && self.immediate
            && !self.exclusion
            && self.predicate.is_none()
            && !self.has_expressions
    }

    /// Whether it is a key WITHOUT OVERLAPS, which a foreign key with a PERIOD may reference (18 and later).
    pub(super) fn is_without_overlaps(&self) -> bool {
        self.unique && self.exclusion && self.valid && self.immediate
    }

    /// Whether it is NULLS NOT DISTINCT (15 and later).
    fn nulls_not_distinct(&self) -> bool {
        self.body.iter().any(|body| body.contains(" NULLS NOT DISTINCT"))
    }

    /// Whether green gets it too.
    fn is_carried(&self, plan: &TablePlan) -> bool {
        let replaced = self.primary && plan.primary_key.is_some();
        !replaced && !plan.drop_indexes.contains(&self.name)
    }

    /// What it is, if only a plain table can have it: exclusion constraints of partitions are not merged into one of their
    /// parent, and rows that wait for the end of a transaction cannot be told apart across partitions.
    fn only_on_plain(&self) -> Option<&'static str> {
        let deferrable = self.constraint.as_ref().is_some_and(|constraint| constraint.deferrable);
        match (self.exclusion, deferrable) {
            (true, _) => Some("exclusion constraint"),
            (false, true) => Some("deferrable constraint"),
            (false, false) => None,
        }
    }

    fn conflicts(&self, green: &Green) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        let leave_out = format!("drop_indexes: [{}]", self.name.in_plan());
        if let Some(column) = green.dropped_of(&self.columns) {
            let (kind, hint) = if self.primary {
                ("primary key", "primary_key: [...] without it".to_owned())
            } else {
                ("index", leave_out.clone())
            };
            let what = format!("{kind} {} uses column {column}, which the plan drops", self.name);
            conflicts.push(Conflict::new(what, hint));
        }
        if self.body.is_none() {
            let what = format!("the definition of index {} is not understood", self.name);
            conflicts.push(Conflict::new(what, leave_out.clone()));
        }
        let in_text = self.has_expressions || self.predicate.is_some();
        if let Some(kind) = self.only_on_plain().filter(|_| green.partition.is_some()) {
            let what = format!("{kind} {} cannot be carried to a partitioned table", self.name);
            let hint = match self.primary {
                true => "leave out partition_by, or give the plan a `primary_key`, which is not deferrable"
                    .to_owned(),
                false => format!("leave out partition_by, or give it up: {leave_out}"),
            };
            conflicts.push(Conflict::new(what, hint));
        }
        if let Some(name) = green.renamed_of(&self.columns).filter(|_| in_text) {
            let what = format!(
                "index {} has column {name}, which is renamed, in an expression or its WHERE",
                self.name
            );
            conflicts
                .push(Conflict::new(what, format!("{leave_out}, and write the new one under `indexes`")));
        }
        conflicts
    }

    fn compare(&self, is: &Self, compared: &mut Compared<'_>) {
        let of = |what: &str| format!("{what} of index {}", self.name);
        let comment =
            |index: &Self| index.constraint.as_ref().and_then(|constraint| constraint.comment.clone());
        compared.check(of("comment"), &self.comment, &is.comment);
        compared.check(of("constraint's comment"), &comment(self), &comment(is));
        let deferral = |index: &Self| index.constraint.as_ref().map(IndexConstraint::deferral);
        compared.check(of("deferral"), &deferral(self), &deferral(is));
        compared.check(of("statistics targets"), &self.statistics_targets, &is.statistics_targets);
        compared.check(of("extensions"), &self.extensions, &is.extensions);
        compared.check(of("storage parameters"), &self.options, &is.options);
        if !compared.is.table.is_partitioned() {
            compared.check(of("tablespace"), &self.tablespace, &is.tablespace);
            compared.check(of("CLUSTER mark"), &self.clustered, &is.clustered);
        }
        let changed = self.columns.iter().any(|name| compared.is_changed(name));
        // The operators of an exclusion constraint are not in the index's text.
        let operators = |index: &Self| {
            let constraint = index.constraint.as_ref().filter(|_| index.exclusion);
            constraint.map(|constraint| constraint.definition.clone())
        };
        let equal = same(self.body.as_deref(), is.body.as_deref())
            && same(self.predicate.as_deref(), is.predicate.as_deref())
            && same(operators(self).as_deref(), operators(is).as_deref());
        if !changed && !self.primary && !equal {
            let (was, is) = ((&self.body, &self.predicate), (&is.body, &is.predicate));
            compared.note(format!(
                "{}: was {:?} {:?}, is {:?} {:?}",
                of("definition"),
                was.0,
                was.1,
                is.0,
                is.1
            ));
        }
    }
}
