//! CHECK constraints of the table.

use serde::{Deserialize, Serialize};

use super::Question;
use super::canonical::same;
use super::part::{AGAIN, Compared, Conflict, Part, counted};
use super::shape::Green;
use super::table::comment_on_constraint;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Ident, QName};
use crate::plan::TablePlan;

pub(super) const CHECKS: Question =
    Question { what: "its CHECK constraints", sql: include_str!("../../sql/catalog/checks.sql") };

/// A CHECK constraint, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The constraint's name.
    pub name: Ident,
    /// `CHECK (...)`, as `pg_get_constraintdef` prints it.
    pub definition: String,
    /// Whether it is valid, not NOT VALID.
    pub validated: bool,
    /// Whether it is NO INHERIT.
    pub no_inherit: bool,
    /// The columns that it reads.
    pub columns: Vec<Ident>,
    /// The text of COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

/// The [`Part`] of CHECK constraints.
pub(super) struct Checks;

impl Part for Checks {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let table = green.live().plain();
        let mut conflicts = Vec::new();
        for check in &green.blue.checks {
            if let Some(column) = green.dropped_of(&check.columns) {
                let what = format!("CHECK {} uses column {column}, which the plan drops", check.name);
                let drop = format!("alter table {table} drop constraint {}", check.name);
                conflicts.push(Conflict::new(what, format!("{drop}; {AGAIN}")));
            }
            if let Some(name) = green.renamed_of(&check.columns).filter(|_| !check.validated) {
                let what =
                    format!("CHECK {} uses column {name}, which is renamed, and is NOT VALID", check.name);
                conflicts.push(Conflict::new(
                    what,
                    format!("alter table {table} validate constraint {}", check.name),
                ));
            }
        }
        conflicts
    }

    fn clauses(&self, green: &Green) -> Vec<String> {
        green.blue.checks.iter().filter_map(|check| check.clause(green.partition.is_some())).collect()
    }

    fn adorn(&self, green: &Green) -> Vec<Statement> {
        let validated = green.blue.checks.iter().filter(|check| check.validated);
        validated.filter_map(|check| check.comment_on(&green.at_home())).collect()
    }

    fn rehearse(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let unvalidated = green.blue.checks.iter().filter(|check| !check.validated);
        let tried = unvalidated.flat_map(|check| {
            let drop = format!("ALTER TABLE {home} DROP CONSTRAINT {}", check.name);
            let drop = Statement::on(&home, LockMode::AccessExclusive, "drop a constraint of", drop);
            [check.add_unvalidated(&home, green.partition.is_some()), drop]
        });
        tried.collect()
    }

    /// Those that existing rows may violate.
    fn complete(&self, green: &Green) -> Vec<Statement> {
        let home = green.at_home();
        let unvalidated = green.blue.checks.iter().filter(|check| !check.validated);
        let added = unvalidated.flat_map(|check| {
            let add = check.add_unvalidated(&home, green.partition.is_some());
            std::iter::once(add).chain(check.comment_on(&home))
        });
        added.collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        counted(green.blue.checks.len(), "CHECK", "CHECKs").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.checks {
            let Some(is) = compared.is.checks.iter().find(|is| is.name == was.name) else {
                compared.note(format!("CHECK {} is missing", was.name));
                continue;
            };
            compared.check(format!("comment on CHECK {}", was.name), &was.comment, &is.comment);
            compared.check(format!("validity of CHECK {}", was.name), &was.validated, &is.validated);
            let changed = was.columns.iter().any(|name| compared.is_changed(name));
            if !changed && !same(Some(was.text(true)), Some(is.text(true))) {
                compared.note(format!("CHECK {}: was {}, is {}", was.name, was.definition, is.definition));
            }
        }
    }
}

impl Check {
    /// `CONSTRAINT name CHECK (...)` for CREATE TABLE, if it is valid. A partitioned table cannot have NO INHERIT, and
    /// means the same without it: it has no rows itself.
    fn clause(&self, partitioned: bool) -> Option<String> {
        self.validated.then(|| format!("CONSTRAINT {} {}", self.name, self.text(partitioned)))
    }

    /// Adds a constraint that existing rows of blue may violate, once they have been copied.
    fn add_unvalidated(&self, table: &QName, partitioned: bool) -> Statement {
        let text = self.text(partitioned);
        let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {} {text} NOT VALID", self.name);
        Statement::on(table, LockMode::AccessExclusive, "add a CHECK to", sql)
    }

    fn comment_on(&self, table: &QName) -> Option<Statement> {
        comment_on_constraint(&self.name, table, self.comment.as_ref())
    }

    fn text(&self, partitioned: bool) -> &str {
        let text = self.definition.strip_suffix(" NOT VALID").unwrap_or(&self.definition);
        if partitioned { text.strip_suffix(" NO INHERIT").unwrap_or(text) } else { text }
    }
}
