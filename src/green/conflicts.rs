//! What in a plan is incompatible with blue: all conflicts at once, each with what to type.

use super::nearest::nearest;
use super::{defaults, encrypted};
use crate::hangs_on::{Conflict, Green, GreenPartition, PARTS, Source, integer_type};
use crate::pg::Ident;
use crate::pg::sql::lexer::{self, mentions};
use crate::plan::{ColumnChange, NewIndex, TablePlan};

/// All conflicts of this design.
pub(super) fn all(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = unknown_names(green, plan);
    conflicts.extend(columns(green, plan));
    conflicts.extend(encrypted::conflicts(green, plan));
    conflicts.extend(PARTS.iter().flat_map(|part| part.conflicts(green, plan)));
    conflicts.extend(names(green, plan));
    conflicts.extend(key(green, plan));
    if let Some(partition) = &green.partition {
        conflicts.extend(partitioning(green, plan, partition));
    }
    conflicts
}

fn unknown_names(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let table = green.live().plain();
    let blue: Vec<&Ident> = green.blue.columns.iter().map(|column| &column.name).collect();
    let kept: Vec<&Ident> = green.columns.iter().map(|column| &column.name).collect();
    let indexes: Vec<&Ident> = green.blue.indexes.iter().map(|index| &index.name).collect();
    let unknown = |what: &str, name: &Ident, known: &[&Ident]| {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) if near.plain() == near.as_str() => format!("did you mean {near}?"),
            Some(near) => format!("did you mean {}?", near.in_plan()),
            None => format!("it has {}", crate::pg::list(known.iter().map(|name| name.in_plan()))),
        };
        (!known.contains(&name)).then(|| Conflict::new(format!("{table} has no {what} {name}"), hint))
    };
    let changed = plan.columns.keys().filter_map(|name| unknown("column", name, &blue));
    let partition =
        green.partition.iter().filter_map(|by| unknown("column (after the changes)", &by.column, &kept));
    let key = plan
        .primary_key
        .iter()
        .flatten()
        .filter_map(|name| unknown("column (after the changes)", name, &kept));
    let dropped = plan.drop_indexes.iter().filter_map(|name| unknown("index", name, &indexes));
    changed.chain(partition).chain(key).chain(dropped).collect()
}

/// Changes that a column cannot have.
fn columns(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (name, change) in &plan.columns {
        let (Some(column), ColumnChange::Change { data_type, using, default, .. }) =
            (green.blue.column(name), change)
        else {
            continue;
        };
        let other_type = data_type.as_ref().filter(|new| **new != column.data_type);
        if column.generated.is_some() && (other_type.is_some() || using.is_some()) {
            let what = format!(
                "column {name} is generated: the server computes it, so it can have no other type or value"
            );
            conflicts
                .push(Conflict::new(what, "drop it, and add it under add_columns with the new definition"));
        }
        let is_lost = |new: &&String| defaults::is_lost(&green.blue, column, using.as_deref(), new);
        if default.is_none() && other_type.filter(is_lost).is_some() {
            let what = format!(
                "the default of column {name} cannot be converted by `using`, which reads other columns"
            );
            conflicts.push(Conflict::new(what, format!("{}: {{..., default: ...}}", name.in_plan())));
        }
        if let Some(new) = other_type.filter(|new| column.identity.is_some() && integer_type(new).is_none()) {
            let what = format!("column {name} is an identity and cannot become {new}");
            conflicts.push(Conflict::new(what, "smallint, integer or bigint, or drop the identity first"));
        }
    }
    for added in &plan.add_columns {
        if let Some(word) = index_word(&added.definition) {
            let what = format!("added column {} has {word} in its definition", added.name);
            let hint = "an index under `indexes`, a key under `primary_key`, a foreign key after the swap";
            conflicts.push(Conflict::new(what, hint));
        }
    }
    conflicts
}

/// A keyword that would create an index or a foreign key before the copy.
fn index_word(definition: &str) -> Option<&'static str> {
    let tokens = lexer::tokens(definition).unwrap_or_default();
    let words = [("primary", "PRIMARY"), ("unique", "UNIQUE"), ("references", "REFERENCES")];
    let found = words.into_iter().find(|(word, _)| tokens.iter().any(|token| token.is_word(word)));
    found.map(|(_, shown)| shown)
}

/// Names that would be used twice.
fn names(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let mut seen: Vec<&Ident> = Vec::new();
    for column in &green.columns {
        if seen.contains(&&column.name) {
            let what = format!("two columns would be called {}", column.name);
            conflicts.push(Conflict::new(what, "another name"));
        }
        seen.push(&column.name);
    }
    for column in &green.columns {
        let renamed = column.blue().is_some_and(|blue| *blue != column.name);
        let taken = green.blue.column(&column.name).is_some() && green.name_of(&column.name).is_some();
        if renamed && taken && green.name_of(&column.name) != Some(&column.name) {
            let what = format!("column {} takes the name of a column that is renamed itself", column.name);
            conflicts.push(Conflict::new(what, "rename them in two migrations, one after the other"));
        }
    }
    let leaves = green.partition.iter().flat_map(|partition| &partition.leaves).map(|leaf| &leaf.name);
    let indexes = green.indexes.iter().map(|index| &index.name);
    let sequences = green.blue.sequences.iter().map(|sequence| &sequence.name.name);
    let mut relations = vec![&green.live().name];
    for name in indexes.chain(sequences).chain(leaves) {
        if relations.contains(&name) {
            let what =
                format!("two relations (table, indexes, sequences, partitions) would be called {name}");
            conflicts.push(Conflict::new(what, "another name"));
        }
        relations.push(name);
    }
    conflicts.extend(like_leaf_indexes(green, plan));
    conflicts
}

/// The server names a partition's indexes after the partition, and would use the name of a new one.
fn like_leaf_indexes(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let leaves = || green.partition.iter().flat_map(|partition| &partition.leaves);
    let like = |index: &&NewIndex| {
        let index = index.name.as_str();
        leaves().any(|leaf| index.strip_prefix(leaf.name.as_str()).is_some_and(|rest| rest.starts_with('_')))
    };
    let conflict = |index: &NewIndex| {
        let what = format!("index {} is named as the server names indexes of a partition", index.name);
        Conflict::new(what, "another name, one that does not begin with a partition's")
    };
    plan.indexes.iter().filter(like).map(conflict).collect()
}

/// The primary key, and the key by which the stream identifies rows.
fn key(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let table = green.live().plain();
    if let Some(primary) = green.indexes.iter().find(|index| index.primary) {
        for name in primary.keys.iter().flatten() {
            let column = green.columns.iter().find(|column| column.name == *name);
            let blue = column.and_then(|column| column.blue()).and_then(|blue| green.blue.column(blue));
            if let Some(blue) = blue.filter(|blue| !blue.not_null) {
                let what = format!("column {name} of the primary key can be NULL");
                conflicts.push(Conflict::new(
                    what,
                    format!("alter table {table} alter column {} set not null", blue.name),
                ));
            }
        }
    }
    for name in &plan.drop_indexes {
        if green.blue.primary_key().is_some_and(|index| index.name == *name) {
            let what = format!("{name} is the primary key");
            conflicts.push(Conflict::new(
                what,
                "take it out of drop_indexes; `primary_key` says what takes its place",
            ));
        }
    }
    match green.blue.usable_key(plan.replica_identity_full, plan.primary_key.as_deref()) {
        Err(none) => conflicts.push(Conflict::new(none.to_string(), none.hint)),
        Ok(key) => {
            let blue: Vec<Ident> = key.columns.iter().map(|column| column.name.clone()).collect();
            if let Some(column) = green.dropped_of(&blue) {
                let what = format!("the key {} uses column {column}, which the plan drops", key.index);
                let hint = "keep it until a later migration: the stream of changes identifies rows by it";
                conflicts.push(Conflict::new(what, hint));
            }
            let wanted = green.green_names(&blue);
            let found = green
                .indexes
                .iter()
                .filter(|index| index.unique)
                .filter_map(|index| index.keys.as_ref())
                .any(|keys| {
                    keys.len() >= wanted.len()
                        && keys.iter().take(wanted.len()).all(|name| wanted.contains(name))
                });
            if wanted.len() == blue.len() && !found {
                let what = format!(
                    "no unique key of green begins with ({}), by which the stream of changes finds rows",
                    crate::pg::list(&wanted)
                );
                conflicts.push(Conflict::new(what, proposed_key(&wanted, green.partition.as_ref())));
            }
        }
    }
    conflicts
}

/// `primary_key: [a, b]`: the columns of `key`, then the partition key.
fn proposed_key(key: &[Ident], partition: Option<&GreenPartition>) -> String {
    let more = partition.map(|partition| &partition.column).filter(|column| !key.contains(column));
    let columns: Vec<String> = key.iter().chain(more).map(Ident::in_plan).collect();
    format!("write in the plan: primary_key: [{}]", columns.join(", "))
}

/// The requirements of a partitioned table.
fn partitioning(green: &Green, plan: &TablePlan, partition: &GreenPartition) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let table = green.live().plain();
    let column = &partition.column;
    let Some(found) = green.columns.iter().find(|green| green.name == *column) else { return conflicts };
    match &found.source {
        Source::Generated(_) => {
            let what = format!("partition key {column} is a generated column");
            conflicts.push(Conflict::new(what, "partition by a column that is stored as written"));
        }
        Source::Encrypted(_) | Source::BlindIndex(_) => {
            let what = format!("partition key {column} is encrypted");
            conflicts.push(Conflict::new(what, "partition by another column"));
        }
        Source::Added => {
            let what =
                format!("partition key {column} is an added column: every row would go to one partition");
            conflicts.push(Conflict::new(what, "partition by a column that blue has"));
        }
        Source::Same(blue) | Source::Expression { blue, .. } => {
            let has_default = partition.leaves.iter().any(|leaf| leaf.bound.ends_with("DEFAULT"));
            let nullable = green.blue.column(blue).is_some_and(|column| !column.not_null);
            let in_key = green
                .indexes
                .iter()
                .any(|index| index.primary && index.keys.iter().flatten().any(|key| key == column));
            if nullable && !in_key && !has_default && partition.strategy == "RANGE" {
                let what = format!("partition key {column} can be NULL, and no partition takes NULL");
                conflicts.push(Conflict::new(
                    what,
                    format!("alter table {table} alter column {blue} set not null"),
                ));
            }
        }
    }
    for index in green.indexes.iter().filter(|index| index.unique) {
        let has_it = match &index.keys {
            Some(keys) => keys.contains(column),
            None => {
                plan.indexes.iter().any(|new| new.name == index.name && mentions(&new.rest, column.as_str()))
            }
        };
        if has_it {
            continue;
        }
        let what = format!(
            "unique index {} lacks the partition key {column}: a partitioned table cannot have it",
            index.name
        );
        let keys = index.keys.clone().unwrap_or_default();
        let hint = if index.primary {
            proposed_key(&keys, Some(partition))
        } else if plan.indexes.iter().any(|new| new.name == index.name) {
            format!("add {column} to its columns")
        } else {
            let hash = keys
                .first()
                .map(|key| format!(", or partition_by: {{hash: {}, partitions: 16}}", key.in_plan()));
            format!("drop_indexes: [{}]{}", index.name.in_plan(), hash.unwrap_or_default())
        };
        conflicts.push(Conflict::new(what, hint));
    }
    conflicts
}
