//! Foreign keys of other tables that reference the table.
//!
//! A foreign key is bound to the referenced table's OID. In the swap, once the names are exchanged, it is dropped and
//! added again NOT VALID in one statement: new rows are checked from then on, against the table that is live. Settle
//! validates it without blocking reads or writes. Neither table is referenced by anything while it follows the other
//! one, so that no row that the program deletes cascades.
//!
//! Before PostgreSQL 18 a partitioned table cannot have a key that is NOT VALID: its partitions get it, are validated
//! one by one, and the keys are then merged into the parent's.
//!
//! DROP CONSTRAINT takes ACCESS EXCLUSIVE on both tables; the referencing one is locked together with the live tables.
//! A key between two tables of one run is moved by the referencing table, see [`super::foreign_keys`].
//!
//! If the plan widens the referenced key, the foreign key is dropped, or turned to a table of keys: see [`registered`].

mod registered;

use serde::{Deserialize, Serialize};

use super::foreign_keys::{CONSTRAINTS_AT_ONCE, key_list};
use super::part::{AGAIN, Compared, Conflict, Dependent, Part};
use super::shape::Green;
use super::table::comment_on_constraint;
use super::{Fate, Question};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Acting, Colour, Ident, Literal, QName, list};
use crate::plan::TablePlan;

pub(super) const INBOUND: Question = Question {
    what: "the foreign keys that reference it",
    sql: include_str!("../../sql/catalog/inbound.sql"),
};

/// A foreign key of another table that references this one, as found in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundKey {
    /// The constraint's name.
    pub name: Ident,
    /// The referencing table.
    pub child: QName,
    /// The owner of the referencing table.
    pub owner: Ident,
    /// Whether that owner may read every row of it, and the operator can act as the owner.
    pub owner_acts: bool,
    /// Whether the referencing table is partitioned.
    pub partitioned: bool,
    /// The partitions that hold its rows, at all depths; empty if it is not partitioned.
    pub leaves: Vec<QName>,
    /// The rows of the referencing table, as of its last ANALYZE or VACUUM.
    pub estimated_rows: u64,
    /// The owner of a partition, if that is not the table's.
    pub other_owner: Option<Ident>,
    /// The referencing columns, in the order of the key.
    pub columns: Vec<Ident>,
    /// The referenced columns, in the same order.
    pub referenced: Vec<Ident>,
    /// Whether the last column of both is a PERIOD (version 18 and later).
    #[serde(default)]
    pub period: bool,
    /// The definition after the referenced columns, without NOT VALID; `None` if it was not understood.
    pub tail: Option<String>,
    /// Whether it is valid, not NOT VALID.
    pub validated: bool,
    /// The text of COMMENT ON CONSTRAINT.
    pub comment: Option<String>,
}

/// The [`Part`] of foreign keys of other tables.
pub(super) struct InboundKeys;

impl Part for InboundKeys {
    fn conflicts(&self, green: &Green, _plan: &TablePlan) -> Vec<Conflict> {
        green.blue.inbound.iter().filter_map(|key| key.conflict(green)).collect()
    }

    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        green.blue.inbound.iter().enumerate().map(|(number, key)| key.dependent(green, who, number)).collect()
    }

    fn settle(&self, green: &Green, who: Colour) -> Vec<Statement> {
        green.blue.inbound.iter().flat_map(|key| key.settle(green, who)).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        for was in &compared.was.inbound {
            let of = |what: &str| format!("{what} of {}", was.what());
            let same = |is: &&InboundKey| (&is.name, &is.child) == (&was.name, &was.child);
            if compared.green.fate_of(&was.referenced) != Fate::Kept {
                continue;
            }
            let Some(is) = compared.is.inbound.iter().find(same) else {
                compared.note(format!("{} no longer references it", was.what()));
                continue;
            };
            compared.check(of("columns"), &was.columns, &is.columns);
            let referenced = compared.green.green_names(&was.referenced);
            compared.check(of("referenced columns"), &referenced, &is.referenced);
            compared.check(of("definition"), &was.tail, &is.tail);
            compared.check(of("validity"), &was.validated, &is.validated);
            compared.check(of("comment"), &was.comment, &is.comment);
        }
    }
}

impl InboundKey {
    /// The role that reads the rows of the referencing table.
    pub(crate) fn acting(&self) -> Acting {
        Acting::role(self.owner_acts.then(|| self.owner.clone()))
    }

    /// Its kind and name, for people.
    pub(crate) fn what(&self) -> String {
        format!("foreign key {} on {}", self.name.plain(), self.child.plain())
    }

    pub(super) fn drop_hint(&self) -> String {
        format!("alter table {} drop constraint {}", self.child.plain(), self.name.plain())
    }

    fn conflict(&self, green: &Green) -> Option<Conflict> {
        let what = self.what();
        let again = format!("{}; and add it again after the swap", self.drop_hint());
        if self.tail.is_none() {
            return Some(Conflict::new(format!("the definition of {what} is not understood"), again));
        }
        if let Some(column) = green.dropped_of(&self.referenced) {
            let what = format!("{what} references column {column}, which the plan drops");
            return Some(Conflict::new(what, format!("{}; {AGAIN}", self.drop_hint())));
        }
        let fate = green.fate_of(&self.referenced);
        if fate == Fate::Undecided {
            // All such keys together are one conflict.
            return None;
        }
        if self.period && matches!(fate, Fate::Registered(_)) {
            let what = format!("{what} has a PERIOD, which no table of keys can have");
            return Some(Conflict::new(what, format!("`inbound_foreign_keys: drop`; or {again}")));
        }
        if let Some(other) = &self.other_owner {
            let what =
                format!("{what} is on a partitioned table of {}, and {other} owns a partition", self.owner);
            return Some(Conflict::new(what, format!("give its partitions to {}; or {again}", self.owner)));
        }
        let of_referenced = if fate == Fate::Kept { green.row_holders().len() } else { 1 };
        let constraints = self.leaves.len().max(1) * of_referenced;
        (constraints > CONSTRAINTS_AT_ONCE && self.partitioned).then(|| {
            let what = format!(
                "{what} is on a table with {} partitions: with those of the new table the swap would make {constraints} \
                 constraints under its locks, more than {CONSTRAINTS_AT_ONCE}",
                self.leaves.len()
            );
            Conflict::new(what, format!("fewer partitions; or {again}"))
        })
    }

    fn dependent(&self, green: &Green, who: Colour, number: usize) -> Dependent {
        let fate = green.fate_of(&self.referenced);
        let becomes = match (self.validated, self.partitioned) {
            _ if fate == Fate::Dropped => {
                "it is dropped in the swap, as the plan says: from then on nothing checks it or carries out its actions; a \
                 rollback adds it again, NOT VALID, and validates it"
            }
            _ if fate != Fate::Kept => {
                "it references the table of keys instead, with the same actions: before the swap a second key to it is added \
                 and validated, which takes this one's name in the swap"
            }
            (false, _) => "in the swap it is bound to the new table, and stays NOT VALID",
            (true, false) => {
                "in the swap it is bound to the new table, NOT VALID, and validated after it; new rows are checked all the while"
            }
            (true, true) => {
                "in the swap each partition's is bound to the new table, NOT VALID; they are validated after it, and \
                 become the parent's again; new rows are checked all the while"
            }
        };
        Dependent {
            what: self.what(),
            becomes: becomes.to_owned(),
            hint: format!("{}; and add it again after the swap", self.drop_hint()),
            is_table: true,
            is_tables_own: true,
            lock: Some(format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", self.child)),
            trial: self.trial(green, number),
            after: match fate {
                Fate::Kept | Fate::Undecided => self.again(green, who),
                Fate::Dropped => self.without(green, who),
                Fate::Registered(_) => self.turn(green, who, number),
            },
            ..Dependent::of(&self.child, &self.owner)
        }
    }

    /// FOREIGN KEY and what follows, referencing a table that has the names of one colour.
    fn definition(&self, green: &Green, who: Colour, table: &QName) -> String {
        let referenced = match who {
            Colour::Blue => self.referenced.clone(),
            Colour::Green => green.green_names(&self.referenced),
        };
        let tail = self.tail.as_deref().unwrap_or_default();
        format!(
            "FOREIGN KEY ({}) REFERENCES {table} ({}){tail}",
            key_list(&self.columns, self.period),
            key_list(&referenced, self.period)
        )
    }

    /// Drops it, and adds it again with the live name.
    fn again(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let (child, name) = (&self.child, &self.name);
        let definition = self.definition(green, who, green.live());
        let verb = "drop a foreign key, and add it again, on";
        let on = |sql: String| {
            let statement = Statement::on(child, LockMode::AccessExclusive, verb, sql);
            statement.locking(green.live(), LockMode::ShareRowExclusive)
        };
        if self.partitioned && self.validated {
            // Partitions may have been added since; until they are merged, the parent has no key.
            let body = format!(
                "DECLARE leaf pg_catalog.regclass; BEGIN \
                 ALTER TABLE {child} DROP CONSTRAINT IF EXISTS {name}; \
                 FOR leaf IN SELECT relid FROM pg_catalog.pg_partition_tree({}) WHERE isleaf ORDER BY relid LOOP \
                 EXECUTE pg_catalog.format({}, leaf); END LOOP; END",
                Literal(&child.to_string()),
                Literal(&format!(
                    "ALTER TABLE %s DROP CONSTRAINT IF EXISTS {0}, ADD CONSTRAINT {0} {1} NOT VALID",
                    name.to_string().replace('%', "%%"),
                    definition.replace('%', "%%")
                ))
            );
            return vec![on(format!("DO {}", Literal(&body)))];
        }
        let sql = format!(
            "ALTER TABLE {child} DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} {definition} NOT VALID"
        );
        std::iter::once(on(sql)).chain(comment_on_constraint(name, child, self.comment.as_ref())).collect()
    }

    /// The same, between an empty table like green with such a key, and one like the referencing table.
    fn trial(&self, green: &Green, number: usize) -> Vec<Statement> {
        let of = |what: &str| QName {
            schema: green.homes.green.clone(),
            name: format!("projh_{what}_{number}").into(),
        };
        let (parent, child) = (of("referenced"), of("referencing"));
        if green.fate_of(&self.referenced) == Fate::Dropped {
            return Vec::new();
        }
        let referenced = list(green.green_names(&self.referenced));
        let definition = self.definition(green, Colour::Green, &parent);
        let add = format!("ALTER TABLE {child} ADD CONSTRAINT {} {definition} NOT VALID", self.name);
        let without = if self.period { " WITHOUT OVERLAPS" } else { "" };
        let like_green =
            format!("CREATE TABLE {parent} (LIKE {}, UNIQUE ({referenced}{without}))", green.at_home());
        let like_child = format!("CREATE TABLE {child} (LIKE {})", self.child);
        let drop = format!("DROP TABLE {child}, {parent}");
        let on = |table: &QName, sql: String| {
            Statement::making(table, "try", sql).called(format!("try {}", self.what()))
        };
        vec![
            on(&parent, like_green),
            on(&child, like_child).locking(&self.child, LockMode::AccessShare),
            on(&child, add),
            on(&child, drop),
        ]
    }

    fn settle(&self, green: &Green, who: Colour) -> Vec<Statement> {
        let is_bound = who == Colour::Blue || green.fate_of(&self.referenced) == Fate::Kept;
        if !self.validated || !is_bound {
            return Vec::new();
        }
        if !self.partitioned {
            return vec![self.validate(green, &self.child)];
        }
        let mut steps: Vec<Statement> = self.leaves.iter().map(|leaf| self.validate(green, leaf)).collect();
        let definition = self.definition(green, who, green.live());
        let sql = format!("ALTER TABLE {} ADD CONSTRAINT {} {definition}", self.child, self.name);
        let merge = Statement::on(&self.child, LockMode::ShareRowExclusive, "add a foreign key to", sql);
        let what = format!("merge foreign key {} into {}", self.name, self.child.plain());
        steps.push(merge.locking(green.live(), LockMode::AccessExclusive).called(what));
        let comment = comment_on_constraint(&self.name, &self.child, self.comment.as_ref());
        steps.extend(comment.map(|step| step.called(format!("comment on {}", self.what()))));
        steps
    }

    fn validate(&self, green: &Green, relation: &QName) -> Statement {
        let sql = format!("ALTER TABLE {relation} VALIDATE CONSTRAINT {}", self.name);
        let what = format!("validate foreign key {} on {}", self.name, relation.plain());
        let validate = Statement::on(relation, LockMode::ShareUpdateExclusive, "validate", sql);
        validate.called(what).reading_rows().locking(green.live(), LockMode::RowShare)
    }
}
