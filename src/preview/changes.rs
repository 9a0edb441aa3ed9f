//! The catalog's changes in the swap, as a diff between blue and green.

use crate::event::PreviewChange;
use crate::hangs_on::{BlindIndex, Green, GreenColumn, GreenPartition, Source};
use crate::lifecycle::{LaneDesign, Prepared};
use crate::pg::{Colour, Ident, list};
use crate::plan::{Archive, NewIndex, Plan, TablePlan};

/// `archive` is where the old tables are moved in the end.
pub(super) fn of(prepared: &Prepared, archive: Option<&Archive>) -> Vec<PreviewChange> {
    prepared.lanes.iter().flat_map(|lane| of_table(lane, archive)).collect()
}

/// What is done to tables without a copy.
pub(super) fn in_place(plan: &Plan) -> Vec<PreviewChange> {
    let of_table = |table: &TablePlan| {
        let mut diff = Diff { table: table.table.plain(), changes: Vec::new() };
        for NewIndex { name, unique, rest } in &table.indexes {
            let unique = if *unique { "unique " } else { "" };
            diff.add(
                '+',
                "index",
                format!("{unique}{} {rest}, built concurrently on the table itself", name.plain()),
            );
        }
        diff.add('=', "kept", "all else: the table is not copied");
        diff.changes
    };
    plan.in_place.iter().flat_map(of_table).collect()
}

fn of_table(lane: &LaneDesign, archive: Option<&Archive>) -> Vec<PreviewChange> {
    let mut diff = Diff { table: lane.table.plain(), changes: Vec::new() };
    let green = &lane.green;
    diff.partitioning(green);
    diff.columns(green);
    diff.primary_key(green);
    diff.indexes(green);
    for note in &green.notes {
        diff.add('~', "note", note.clone());
    }
    for trigger in &green.blue.triggers {
        diff.add('=', "trigger", trigger.becomes());
    }
    for dependent in green.dependents(Colour::Green) {
        diff.add('=', "depends on it", format!("{}: {}", dependent.what, dependent.becomes));
    }
    for (what, becomes) in green.references_to_itself() {
        diff.add('=', "depends on it", format!("{what}: {becomes}"));
    }
    let home = green.home_of(Colour::Blue).plain();
    let end = archive.map_or_else(
        || "is kept until finish".to_owned(),
        |archive| format!("finish moves it to {}", archive.place(&lane.table).plain()),
    );
    diff.add('~', "old table", format!("becomes {home}, closed to clients, and {end}"));
    diff.add('=', "kept", format!("{}, every name", green.kept().join(", ")));
    diff.changes
}

/// Whose blind index or tag it is.
fn of_column(code: &BlindIndex) -> String {
    format!(", {} of {}, key {}", code.what(), code.of.plain(), code.key)
}

struct Diff {
    table: String,
    changes: Vec<PreviewChange>,
}

impl Diff {
    fn add(&mut self, sign: char, object: &'static str, text: impl Into<String>) {
        self.changes.push(PreviewChange { table: self.table.clone(), sign, object, text: text.into() });
    }

    fn partitioning(&mut self, green: &Green) {
        let key = green.blue.table.partition_key.as_ref();
        let was = key.map(|key| {
            let (strategy, columns) = key.split_once(' ').unwrap_or((key, ""));
            let (strategy, count) = (strategy.to_lowercase(), green.blue.leaves.len());
            format!("partitioned by {strategy} {columns}, {count} partitions")
        });
        let Some(by) = &green.partition else {
            let Some(was) = was else {
                return self.add('~', "table", "another plain table takes its place");
            };
            self.add('-', "table", was);
            return self.add('+', "table", "plain");
        };
        self.add('-', "table", was.as_deref().unwrap_or("plain"));
        let column = by.column.plain();
        let count = by.leaves.len();
        let strategy = by.strategy.to_lowercase();
        self.add('+', "table", format!("partitioned by {strategy} ({column}), {count} partitions"));
        self.add('+', "partitions", format!("in schema {}: {}", by.schema.plain(), leaves(by)));
    }

    fn columns(&mut self, green: &Green) {
        for blue in &green.blue.columns {
            let Some(column) = green.columns.iter().find(|column| column.blue() == Some(&blue.name)) else {
                self.add('-', "column", format!("{} {}", blue.name.plain(), blue.data_type));
                continue;
            };
            let mut parts = Vec::new();
            if column.name != blue.name {
                parts.push(format!("is called {}", column.name.plain()));
            }
            if column.data_type != blue.data_type {
                parts.push(format!("{} -> {}", blue.data_type, column.data_type));
            }
            if let Source::Expression { sql, .. } = &column.source {
                parts.push(format!("from {sql}"));
            }
            if let Source::Encrypted(how) = &column.source {
                parts.push(format!("encrypted, {}, key {}", how.format.name(), how.key));
            }
            if !parts.is_empty() {
                self.add('~', "column", format!("{} {}", blue.name.plain(), parts.join(", ")));
            }
        }
        for (name, code) in green.columns.iter().flat_map(|column| column.source.kept_codes()) {
            self.add(
                '=',
                "column",
                format!("{} bytea{}: compared with its values", name.plain(), of_column(code)),
            );
        }
        let added = |column: &&GreenColumn| column.source.is_new();
        for column in green.columns.iter().filter(added) {
            let of = match &column.source {
                Source::BlindIndex(index) => of_column(index),
                _ => String::new(),
            };
            self.add('+', "column", format!("{} {}{of}", column.name.plain(), column.data_type));
        }
    }

    fn primary_key(&mut self, green: &Green) {
        let old = green.blue.primary_key().and_then(|key| key.plain_keys());
        let new = green.indexes.iter().find(|index| index.primary).and_then(|key| key.keys.clone());
        let shown = |keys: &[Ident]| format!("({})", list(keys.iter().map(Ident::plain)));
        match (old, new) {
            (Some(old), Some(new)) if old != new => {
                self.add('~', "primary key", format!("{} -> {}", shown(&old), shown(&new)));
            }
            (None, Some(new)) => self.add('+', "primary key", shown(&new)),
            _ => {}
        }
    }

    fn indexes(&mut self, green: &Green) {
        for index in green.blue.indexes.iter().filter(|index| !index.primary) {
            if green.indexes.iter().all(|kept| kept.name != index.name) {
                self.add('-', "index", index.name.plain());
            }
        }
        for index in green.indexes.iter().filter(|index| !index.primary) {
            if green.blue.indexes.iter().all(|old| old.name != index.name) {
                let unique = if index.unique { "unique " } else { "" };
                self.add('+', "index", format!("{unique}{} {}", index.name.plain(), index.definition));
            }
        }
    }
}

/// The first and the last names, with `to` between them, and the default partition.
fn leaves(by: &GreenPartition) -> String {
    let names: Vec<String> = by.leaves.iter().map(|leaf| leaf.name.plain()).collect();
    match names.as_slice() {
        [first, .., before_last, last] if names.len() > 4 => format!("{first} to {before_last}, {last}"),
        names => names.join(", "),
    }
}
