//! Foreign keys of the table.
//!
//! Green has none before the swap: while it lags, they would make clients' own DELETE of a referenced row fail. In
//! the swap blue's are dropped and green's are added NOT VALID on each leaf, because a partitioned parent cannot have
//! that before PostgreSQL 18. After the swap they are validated leaf by leaf without blocking anybody, and then
//! merged into the parent.

use serde::{Deserialize, Serialize};

use super::part::{AGAIN, Compared, Conflict, Part, counted};
use super::partitions::Partition;
use super::sequences::integer_type;
use super::shape::Green;
use super::table::{LeafState, comment_on_constraint};
use super::{Fate, Question};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Ident, QName, list};
use crate::plan::TablePlan;

pub(super) const FOREIGN_KEYS: Question =
    Question { what: "its foreign keys", sql: include_str!("../../sql/catalog/foreign_keys.sql") };

/// The most constraints that the swap makes for one foreign key. A partitioned table that references a partitioned one has
/// one for each pair of partitions; a thousand take about 200 ms.
pub(super) const CONSTRAINTS_AT_ONCE: usize = 1_000;

/// The columns of a foreign key for SQL, the last of which may be a PERIOD.
pub(super) fn key_list(columns: &[Ident], period: bool) -> String {
    match columns.split_last().filter(|_| period) {
        Some((last, [])) => format!("PERIOD {last}"),
        Some((last, others)) => format!("{}, PERIOD {last}", list(others)),
        None => list(columns),
    }
}

/// A foreign key, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: Ident,
    /// The referencing columns, in the order of the key.
    pub columns: Vec<Ident>,
    /// The referenced table.
    pub references: QName,
    /// The referenced columns, in the same order; empty in runs of a version that did not ask.
    #[serde(default)]
    pub referenced: Vec<Ident>,
    /// Whether it references its own table.
    pub to_itself: bool,
    /// Whether its last column is a PERIOD (version 18 and later).
    #[serde(default)]
    pub period: bool,
    /// The definition from REFERENCES on, without NOT VALID; `None` if it was not understood.
    pub tail: Option<String>,
    /// The definition after the referenced columns, without NOT VALID; `None` if it was not understood, and in runs of a
    /// version that did not ask.
    #[serde(default)]
    pub actions: Option<String>,
    /// Whether it is valid, not NOT VALID.
    pub validated: bool,
    /// The text of COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

/// The [`Part`] of foreign keys.
pub(super) struct ForeignKeys;

impl Part for ForeignKeys {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        let table = green.live().plain();
        let hint = |key: &ForeignKey| format!("alter table {table} drop constraint {}; {AGAIN}", key.name);
        let conflicts = green.blue.foreign_keys.iter().flat_map(|key| {
            key.conflicts(green).into_iter().map(|what| Conflict::new(what, hint(key))).collect::<Vec<_>>()
        });
        conflicts.collect()
    }

    /// Those of a partitioned table may have been merged into the parent, or not yet.
    fn leave(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let live = green.live();
        let leaves: Vec<QName> = green.holders(who).into_iter().filter(|relation| relation != live).collect();
        let is_plain_blue = who == Colour::Blue && !green.is_partitioned(who);
        let drop = |key: &ForeignKey| -> Vec<Statement> {
            let relations = std::iter::once(live).chain(key.between(green, who)).chain(&leaves);
            match is_plain_blue {
                true => vec![key.drop(live, "")],
                false => {
                    relations.map(|relation| key.on(green, relation).drop(relation, "IF EXISTS ")).collect()
                }
            }
        };
        keys_of(green, who).iter().flat_map(drop).collect()
    }

    fn arrive(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let relations = green.holders(who);
        let add = |key: &ForeignKey| -> Vec<Statement> {
            let columns = key.columns_of(green, who);
            relations.iter().map(|relation| key.on(green, relation).add(relation, &columns, false)).collect()
        };
        keys_of(green, who).iter().flat_map(add).collect()
    }

    fn settle(&self, green: &Green, who: Colour) -> Vec<Statement> {
        keys_of(green, who).iter().flat_map(|key| key.settle(green, who)).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        counted(green.blue.foreign_keys.len(), "foreign key", "foreign keys").into_iter().collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in keys_of(compared.green, Colour::Green) {
            let name = &was.name;
            let Some(is) = compared.is.foreign_keys.iter().find(|is| is.name == *name) else {
                let leaves = &compared.is.leaves;
                let on_leaf = |leaf: &LeafState| leaf.own_foreign_keys.iter().any(|key| key.name == *name);
                if leaves.is_empty() || !leaves.iter().all(on_leaf) {
                    compared.note(format!("foreign key {name} is missing"));
                }
                continue;
            };
            compared.check(format!("comment on foreign key {name}"), &was.comment, &is.comment);
            compared.check(format!("validity of foreign key {name}"), &was.validated, &is.validated);
            compared.check(format!("definition of foreign key {name}"), &was.tail, &is.tail);
            let columns = compared.green.green_names(&was.columns);
            compared.check(format!("columns of foreign key {name}"), &columns, &is.columns);
        }
    }
}

/// The foreign keys that one of the tables has while it is live: a key that the plan widens is referenced in another way
/// by green's, or not at all.
fn keys_of(green: &Green, who: Colour) -> Vec<ForeignKey> {
    let of = |key: &ForeignKey| {
        let Some(redirected) = green.redirected(&key.name).filter(|_| who == Colour::Green) else {
            return Some(key.clone());
        };
        let to = redirected.to.as_ref()?;
        let actions = key.actions.as_deref().unwrap_or_default();
        Some(ForeignKey {
            references: to.table.clone(),
            referenced: to.columns.clone(),
            to_itself: false,
            tail: Some(format!("REFERENCES {} ({}){actions}", to.table, list(&to.columns))),
            ..key.clone()
        })
    };
    green.blue.foreign_keys.iter().filter_map(of).collect()
}

impl Green {
    /// Each foreign key of the table to itself, and what becomes of it in the swap.
    pub(crate) fn references_to_itself(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.blue.foreign_keys.iter().filter(|key| key.to_itself && self.redirected(&key.name).is_none()).map(|key| {
            let what = format!("foreign key {} on {} to itself", key.name.plain(), self.live().plain());
            let becomes = if key.validated {
                "in the swap the new table's own takes its place, NOT VALID, and is validated after it; new rows are \
                 checked all the while"
            } else {
                "in the swap the new table's own takes its place, and stays NOT VALID"
            };
            (what, becomes)
        })
    }
}

impl ForeignKey {
    pub(super) fn conflicts(&self, green: &Green) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(column) = green.dropped_of(&self.columns) {
            found.push(format!("foreign key {} uses column {column}, which the plan drops", self.name));
        }
        for name in &self.columns {
            let new = green.columns.iter().find(|column| column.blue() == Some(name));
            let new = new.filter(|_| green.is_retyped(name)).map(|column| &column.data_type);
            let old = green.blue.column(name).and_then(|column| integer_type(&column.data_type));
            if let Some(new) = new.filter(|new| old.is_none() || integer_type(new).is_none()) {
                found.push(format!("foreign key {} uses column {name}, which becomes {new}", self.name));
            }
        }
        if self.to_itself {
            found.extend(self.conflict_with_itself(green));
        }
        let is_redirected = green.redirected(&self.name).is_some();
        if self.period && green.redirected(&self.name).is_some_and(|redirected| redirected.to.is_some()) {
            found.push(format!("foreign key {} has a PERIOD, which no table of keys can have", self.name));
        }
        if self.tail.is_none() || is_redirected && self.actions.is_none() {
            found.push(format!("the definition of foreign key {} is not understood", self.name));
        }
        if let Some(name) = green.renamed_of(&self.columns).filter(|_| self.names_columns_in_action()) {
            found.push(format!(
                "foreign key {} names column {name}, which is renamed, in its action",
                self.name
            ));
        }
        found
    }

    /// A key that references its own table references green's columns, too.
    fn conflict_with_itself(&self, green: &Green) -> Option<String> {
        let name = &self.name;
        let columns = list(self.referenced.iter().map(Ident::plain));
        let leaves = green.row_holders().len();
        if let Some(column) = green.dropped_of(&self.referenced) {
            return Some(format!("foreign key {name} references column {column}, which the plan drops"));
        }
        if let Some(column) = green.renamed_of(&self.referenced) {
            return Some(format!(
                "foreign key {name} references column {column} of its own table, which is renamed"
            ));
        }
        match green.fate_of(&self.referenced) {
            Fate::Kept => {}
            Fate::Dropped | Fate::Registered(_) => return None,
            Fate::Undecided => {
                return Some(format!(
                    "foreign key {name} references ({columns}) of its own table, and the plan leaves no unique key on \
                     exactly these columns: `inbound_foreign_keys: registry` or `drop` says what becomes of it, too"
                ));
            }
        }
        (leaves * leaves > CONSTRAINTS_AT_ONCE).then(|| {
            format!(
                "foreign key {name} references its own table: with {leaves} partitions the swap would make {} constraints \
                 under its locks, more than {CONSTRAINTS_AT_ONCE}",
                leaves * leaves
            )
        })
    }

    /// `ALTER TABLE ... ADD CONSTRAINT ...`; `columns` are green's names. A valid one on a parent replaces its leaves'
    /// own keys, and drops their triggers on the referenced table.
    pub(super) fn add(&self, relation: &QName, columns: &[Ident], valid: bool) -> Statement {
        let tail = self.tail.as_deref().unwrap_or_default();
        let not_valid = if valid { "" } else { " NOT VALID" };
        let sql = format!(
            "ALTER TABLE {relation} ADD CONSTRAINT {} FOREIGN KEY ({}) {tail}{not_valid}",
            self.name,
            key_list(columns, self.period)
        );
        let mode = if valid { LockMode::AccessExclusive } else { LockMode::ShareRowExclusive };
        let add = Statement::on(relation, LockMode::ShareRowExclusive, "add a foreign key to", sql);
        self.locking_referenced(add, relation, mode)
    }

    /// The same as blue's partitions have it: one may have had another name before it was attached.
    fn on(&self, green: &Green, relation: &QName) -> Self {
        let leaf = green.blue.partitions.iter().find(|leaf| leaf.name == *relation);
        let mut derived = leaf.into_iter().flat_map(|leaf| &leaf.derived_keys);
        let name =
            derived.find(|derived| derived.of == self.name).map_or(&self.name, |derived| &derived.name);
        Self { name: name.clone(), ..self.clone() }
    }

    /// Blue's partitions that are partitioned themselves and have another name for it, those of a lower depth first: merged
    /// into the table's at once, their keys would get its name.
    fn between<'a>(&'a self, green: &'a Green, who: Colour) -> impl DoubleEndedIterator<Item = &'a QName> {
        let partitions = green.blue.partitions.iter().filter(move |of| who == Colour::Blue && !of.leaf);
        let is_own =
            |of: &&Partition| of.derived_keys.iter().any(|key| key.of == self.name && key.name != self.name);
        partitions.filter(is_own).map(|of| &of.name)
    }

    /// The referencing columns, by the names that one of the tables has for them.
    pub(super) fn columns_of(&self, green: &Green, who: Colour) -> Vec<Ident> {
        match who {
            Colour::Blue => self.columns.clone(),
            Colour::Green => green.green_names(&self.columns),
        }
    }

    /// `ALTER TABLE ... DROP CONSTRAINT ...`; `if_exists` is empty or `IF EXISTS `.
    pub(super) fn drop(&self, table: &QName, if_exists: &str) -> Statement {
        let sql = format!("ALTER TABLE {table} DROP CONSTRAINT {if_exists}{}", self.name);
        let drop = Statement::on(table, LockMode::AccessExclusive, "drop a constraint of", sql);
        self.locking_referenced(drop, table, LockMode::AccessExclusive)
    }

    /// Without a long lock: validated leaf by leaf, then merged into the parent.
    fn settle(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let (live, partitioned) = (green.live(), green.is_partitioned(who));
        let relations = green.holders(who);
        let mut steps = Vec::new();
        if self.validated {
            steps.extend(relations.iter().map(|relation| self.on(green, relation).validate(relation)));
        }
        // If a partitioned blue had one that is NOT VALID, it can.
        let is_merged = self.validated || who == Colour::Blue;
        if partitioned && is_merged {
            for relation in self.between(green, who).rev().chain([live]) {
                let what = format!("merge foreign key {} into {}", self.name, relation.plain());
                let key = self.on(green, relation);
                steps.push(key.add(relation, &self.columns_of(green, who), self.validated).called(what));
            }
        }
        if is_merged || !partitioned {
            let comment = comment_on_constraint(&self.name, live, self.comment.as_ref());
            steps.extend(comment.map(|step| step.called(format!("comment on foreign key {}", self.name))));
            let leaves = green.blue.partitions.iter().filter(|_| who == Colour::Blue);
            for (leaf, key) in leaves.flat_map(|leaf| leaf.derived_keys.iter().map(move |key| (leaf, key))) {
                let comment = key.comment.as_ref().filter(|_| key.of == self.name);
                let comment = comment_on_constraint(&key.name, &leaf.name, comment);
                let what = format!("comment on foreign key {} on {}", key.name, leaf.name.plain());
                steps.extend(comment.map(|step| step.called(what)));
            }
        }
        steps
    }

    /// `ALTER TABLE ... VALIDATE CONSTRAINT ...`: reads and writes continue meanwhile.
    pub(super) fn validate(&self, relation: &QName) -> Statement {
        let sql = format!("ALTER TABLE {relation} VALIDATE CONSTRAINT {}", self.name);
        let what = format!("validate foreign key {} on {}", self.name, relation.plain());
        let validate = Statement::on(relation, LockMode::ShareUpdateExclusive, "validate", sql);
        self.locking_referenced(validate.called(what).reading_rows(), relation, LockMode::RowShare)
    }

    fn locking_referenced(&self, statement: Statement, relation: &QName, mode: LockMode) -> Statement {
        if self.references == *relation { statement } else { statement.locking(&self.references, mode) }
    }

    /// Whether the text names referencing columns a second time (`ON DELETE SET NULL (a)`, 15 and later).
    fn names_columns_in_action(&self) -> bool {
        self.tail.iter().any(|tail| tail.contains(" SET NULL (") || tail.contains(" SET DEFAULT ("))
    }
}
