//! Publications of others that have the table, by its name or by its schema.
//!
//! In the swap the table that arrives takes the place of the one that leaves, with the same column list and row filter,
//! in the same transaction: a subscriber gets each change once, as one of a table of that name. A private schema of the run is in
//! no publication of a schema, and what happens to a table there is not published. Changes of a partitioned table have its name only
//! if the publication says `publish_via_partition_root`, which holds for all its tables.

use serde::{Deserialize, Serialize};

use super::Question;
use super::part::{Compared, Conflict, Dependent, Part};
use super::shape::{Green, GreenColumn};
use crate::pg::sql::{LockMode, Statement, lexer};
use crate::pg::{Colour, Ident, Literal, QName, list};
use crate::plan::TablePlan;

pub(super) const PUBLICATIONS: Question =
    Question { what: "its publications", sql: include_str!("../../sql/catalog/publications.sql") };

/// A publication that has the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its name.
    pub name: Ident,
    /// Whether it has the table as one of a schema, and not by its name.
    pub by_schema: bool,
    /// Whether changes of partitions are published as those of their root.
    pub via_root: bool,
    /// Whether it publishes UPDATE or DELETE, which need the replica identity.
    pub has_old_rows: bool,
    /// The column list; `None` if it publishes all.
    pub columns: Option<Vec<Ident>>,
    /// The row filter, as SQL text.
    pub filter: Option<String>,
    /// Whether it has other tables that are partitioned.
    pub has_partitioned: bool,
}

/// The [`Part`] of publications.
pub(super) struct Publications;

impl Part for Publications {
    fn conflicts(&self, green: &Green, plan: &TablePlan) -> Vec<Conflict> {
        let of_each = green.blue.publications.iter().map(|publication| publication.conflicts(green, plan));
        of_each.flatten().collect()
    }

    fn dependents(&self, green: &Green, who: Colour) -> Vec<Dependent> {
        green.blue.publications.iter().map(|publication| publication.dependent(green, who)).collect()
    }

    fn kept(&self, green: &Green) -> Vec<String> {
        let name = |publication: &Publication| format!("publication {}", publication.name.plain());
        green.blue.publications.iter().map(name).collect()
    }

    fn compare(&self, compared: &mut Compared<'_>) {
        let needs_root = compared.green.partition.is_some();
        for was in &compared.was.publications {
            let name = was.name.plain();
            let Some(is) = compared.is.publications.iter().find(|is| is.name == was.name) else {
                compared.note(format!("publication {name} lacks the table"));
                continue;
            };
            let mut expected = was.clone();
            expected.via_root |= needs_root;
            expected.has_partitioned = is.has_partitioned;
            compared.check(format!("publication {name}"), &expected, is);
        }
    }
}

impl Publication {
    fn conflicts(&self, green: &Green, plan: &TablePlan) -> Vec<Conflict> {
        let name = self.name.plain();
        let set = |what: &str| format!("alter publication {name} set table ... {what}");
        let mut conflicts: Vec<Conflict> = self.of_partitions(green).into_iter().collect();
        let columns = self.columns.as_deref().unwrap_or_default();
        if let Some(column) = green.dropped_of(columns).or_else(|| green.renamed_of(columns)) {
            let column = column.plain();
            let what = format!("publication {name} lists column {column}, which the plan drops or renames");
            conflicts.push(Conflict::new(what, set("without it")));
        }
        let filter = self.filter.as_deref().unwrap_or_default();
        let read = green.blue.columns.iter().map(|column| &column.name);
        let mut read = read.filter(|column| lexer::mentions(filter, column.as_str()));
        let is_kept = |column: &&Ident| green.name_of(column) == Some(*column);
        if let Some(column) = read.find(|column| !is_kept(column)) {
            let column = column.plain();
            let what = format!(
                "the row filter of publication {name} reads column {column}, which the plan drops or renames"
            );
            conflicts.push(Conflict::new(what, set("with another filter")));
        }
        let key = plan.primary_key.iter().flatten().filter(|_| self.has_old_rows && self.columns.is_some());
        if let Some(column) = key.into_iter().find(|column| !columns.contains(column)) {
            let column = column.plain();
            let what = format!(
                "publication {name} does not list column {column}, which the new primary key has: UPDATE and DELETE \
                 would fail"
            );
            conflicts.push(Conflict::new(what, set("with that column, too")));
        }
        conflicts
    }

    /// What the setting of the whole publication for partitions makes impossible.
    fn of_partitions(&self, green: &Green) -> Option<Conflict> {
        let (name, table) = (self.name.plain(), green.live().plain());
        let set = format!("alter publication {name} set (publish_via_partition_root = true)");
        if green.blue.table.is_partitioned() && !self.via_root {
            let what = format!(
                "publication {name} publishes changes under the partitions' own names, and the new table has others"
            );
            return Some(Conflict::new(what, format!("{set}, once its subscribers have {table} itself")));
        }
        (self.sets_root(green) && self.has_partitioned).then(|| {
            let what = format!(
                "publication {name} publishes changes of partitions under the partitions' names, also those of other \
                 partitioned tables: of the new table its subscribers know the name only"
            );
            let hint = format!(
                "{set}, once its subscribers have those tables by their own names; or {}",
                self.leave(green.live())
            );
            Conflict::new(what, hint)
        })
    }

    /// The statement with which somebody takes the table out of it.
    fn leave(&self, table: &QName) -> String {
        let name = self.name.plain();
        match self.by_schema {
            true => format!("alter publication {name} drop tables in schema {}", table.schema.plain()),
            false => format!("alter publication {name} drop table {}", table.plain()),
        }
    }

    /// Whether the new table needs another setting of the whole publication.
    fn sets_root(&self, green: &Green) -> bool {
        green.partition.is_some() && !self.via_root
    }

    fn dependent(&self, green: &Green, who: Colour) -> Dependent {
        let live = green.live();
        let mut after: Vec<Statement> = Vec::new();
        if !self.by_schema {
            after.push(self.add(live));
        }
        // A partitioned table with a filter or a list requires it.
        match who {
            Colour::Green if self.sets_root(green) => after.insert(0, self.via_root()),
            Colour::Blue if self.sets_root(green) => after.push(self.not_via_root()),
            _ => {}
        }
        let home = green.at_home();
        let tried = || {
            let add = Statement::making(&home, "try a publication of", self.add(&home).sql);
            let drop = Statement::making(&home, "undo the trial of a publication of", self.remove(&home).sql);
            let (set, reset) = (self.via_root(), self.not_via_root());
            match self.sets_root(green) {
                true => vec![set, add, drop, reset],
                false => vec![add, drop],
            }
        };
        Dependent {
            what: format!("publication {}", self.name.plain()),
            becomes: self.becomes(green),
            hint: self.leave(live),
            is_table: true,
            trial: if self.by_schema { Vec::new() } else { tried() },
            before: if self.by_schema { Vec::new() } else { vec![self.remove(live)] },
            after,
            ..Dependent::of(live, &green.blue.table.owner)
        }
    }

    fn becomes(&self, green: &Green) -> String {
        let mut text = match self.by_schema {
            true => "the new table is in its schema from the swap on, and the old one no longer".to_owned(),
            false => "in the swap the new table takes the old one's place in it".to_owned(),
        };
        if self.sets_root(green) {
            text += "; it gets publish_via_partition_root = true, so that changes of partitions have the table's name";
        }
        let is_other = |column: &&GreenColumn| {
            column.source.is_new() || column.blue().is_some_and(|blue| *blue != column.name)
        };
        let added = green.columns.iter().filter(is_other);
        let added: Vec<String> = added.map(|column| column.name.plain()).collect();
        if self.columns.is_none() && !added.is_empty() {
            text += &format!("; its subscribers need column {} before the swap", added.join(", "));
        }
        text
    }

    fn add(&self, table: &QName) -> Statement {
        let columns =
            self.columns.as_ref().map_or_else(String::new, |columns| format!(" ({})", list(columns)));
        let filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" WHERE ({filter})"));
        let sql = format!("ALTER PUBLICATION {} ADD TABLE {table}{columns}{filter}", self.name);
        Statement::on(table, LockMode::ShareUpdateExclusive, "add to a publication", sql)
    }

    fn remove(&self, table: &QName) -> Statement {
        let sql = format!("ALTER PUBLICATION {} DROP TABLE {table}", self.name);
        Statement::on(table, LockMode::ShareUpdateExclusive, "take out of a publication", sql)
    }

    fn via_root(&self) -> Statement {
        let sql = format!("ALTER PUBLICATION {} SET (publish_via_partition_root = true)", self.name);
        Statement::new("publish changes of partitions as the table's", sql)
    }

    /// Unless another table of it is partitioned by now.
    fn not_via_root(&self) -> Statement {
        let body = format!(
            "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_publication p \
             JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
             WHERE p.pubname = {} AND c.relkind = 'p') \
             THEN ALTER PUBLICATION {} SET (publish_via_partition_root = false); END IF; END",
            Literal(self.name.as_str()),
            self.name
        );
        Statement::new("publish changes of partitions as before", format!("DO {}", Literal(&body)))
    }
}
