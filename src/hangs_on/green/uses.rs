//! What still uses a column that the plan drops, renames or gives another type.

use super::conflict::Conflict;
use super::{Green, Source};
use crate::hangs_on::indexes::Index;
use crate::hangs_on::sequences::integer_type;
use crate::pg::Ident;
use crate::pg::sql::lexer::mentions;
use crate::plan::TablePlan;

/// Uses of dropped columns, each named.
pub(super) fn dropped(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let gone: Vec<&Ident> = green
        .blue
        .columns
        .iter()
        .map(|column| &column.name)
        .filter(|name| green.name_of(name).is_none())
        .collect();
    let mut conflicts = Vec::new();
    let table = green.live().plain();
    let uses = |columns: &[Ident]| columns.iter().find(|name| gone.contains(name)).cloned();
    let mut found = |kind: &str, name: &Ident, column: Option<Ident>, mend: String| {
        if let Some(column) = column {
            conflicts.push(Conflict::new(
                format!("{kind} {name} uses column {column}, which the plan drops"),
                mend,
            ));
        }
    };
    for check in &green.blue.checks {
        let mend = format!("alter table {table} drop constraint {}", check.name);
        found("CHECK", &check.name, uses(&check.columns), mend);
    }
    for index in green.blue.indexes.iter().filter(|index| is_carried(index, plan)) {
        let (kind, mend) = if index.primary {
            ("primary key", "primary_key: [...] without it".to_owned())
        } else {
            ("index", format!("drop_indexes: [{}]", index.name.as_str()))
        };
        found(kind, &index.name, uses(&index.columns), mend);
    }
    for column in green.blue.columns.iter().filter(|column| !gone.contains(&&column.name)) {
        let reads =
            column.generated.as_ref().map(|generated| generated.columns.as_slice()).unwrap_or_default();
        found("generated column", &column.name, uses(reads), format!("{}: drop", column.name.as_str()));
    }
    for key in &green.blue.foreign_keys {
        let mend = format!("alter table {table} drop constraint {}", key.name);
        found("foreign key", &key.name, uses(&key.columns), mend);
    }
    for policy in &green.blue.policies {
        found(
            "policy",
            &policy.name,
            uses(&policy.columns),
            format!("drop policy {} on {table}", policy.name),
        );
    }
    if let Ok(key) = green.blue.usable_key(plan.replica_identity_full) {
        let columns: Vec<Ident> = key.columns.iter().map(|column| column.name.clone()).collect();
        let mend = "keep it until a later migration: the stream of changes knows rows by it".to_owned();
        found("the key", &key.index, uses(&columns), mend);
    }
    conflicts
}

/// Uses of renamed and retyped columns that the server cannot rewrite by itself.
pub(super) fn changed(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = renamed(green, plan);
    let table = green.live().plain();
    let expressed = |name: &&Ident| {
        green
            .columns
            .iter()
            .any(|column| matches!(&column.source, Source::Expression { blue, .. } if blue == *name))
    };
    for column in &green.blue.columns {
        let reads = column.generated.iter().flat_map(|generated| &generated.columns);
        if let (Some(read), Some(_)) = (reads.into_iter().find(expressed), green.name_of(&column.name)) {
            let what = format!("generated column {} reads {read}, whose values change", column.name);
            conflicts.push(Conflict::new(
                what,
                format!("{}: drop, and add it under add_columns", column.name.as_str()),
            ));
        }
    }
    for key in &green.blue.foreign_keys {
        for name in &key.columns {
            let new = green.columns.iter().find(|column| column.blue() == Some(name));
            let new = new.filter(|_| green.is_retyped(name)).map(|column| &column.data_type);
            let old = green.blue.column(name).and_then(|column| integer_type(&column.data_type));
            if let Some(new) = new.filter(|new| old.is_none() || integer_type(new).is_none()) {
                let what = format!("foreign key {} uses column {name}, which becomes {new}", key.name);
                conflicts
                    .push(Conflict::new(what, format!("alter table {table} drop constraint {}", key.name)));
            }
        }
        if key.tail.is_none() {
            let what = format!("the definition of foreign key {} is not understood", key.name);
            conflicts.push(Conflict::new(what, format!("alter table {table} drop constraint {}", key.name)));
        }
    }
    for index in green.blue.indexes.iter().filter(|index| is_carried(index, plan) && index.body.is_none()) {
        let what = format!("the definition of index {} is not understood", index.name);
        conflicts.push(Conflict::new(what, format!("drop_indexes: [{}]", index.name.as_str())));
    }
    conflicts
}

fn renamed(green: &Green, plan: &TablePlan) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let table = green.live().plain();
    let renamed = |name: &&Ident| green.name_of(name).is_some_and(|new| new != *name);
    for index in green.blue.indexes.iter().filter(|index| is_carried(index, plan)) {
        let in_text = index.has_expressions || index.predicate.is_some();
        if let Some(name) = index.columns.iter().find(renamed).filter(|_| in_text) {
            let what = format!(
                "index {} has column {name}, which is renamed, in an expression or its WHERE",
                index.name
            );
            let mend = format!("drop_indexes: [{}], and the new one under `indexes`", index.name.as_str());
            conflicts.push(Conflict::new(what, mend));
        }
    }
    for check in green.blue.checks.iter().filter(|check| !check.validated) {
        if let Some(name) = check.columns.iter().find(renamed) {
            let what = format!("CHECK {} uses column {name}, which is renamed, and is NOT VALID", check.name);
            conflicts
                .push(Conflict::new(what, format!("alter table {table} validate constraint {}", check.name)));
        }
    }
    for key in green.blue.foreign_keys.iter().filter(|key| key.names_columns_in_action()) {
        if let Some(name) = key.columns.iter().find(renamed) {
            let what =
                format!("foreign key {} names column {name}, which is renamed, in its action", key.name);
            conflicts.push(Conflict::new(what, format!("alter table {table} drop constraint {}", key.name)));
        }
    }
    let all_renamed: Vec<&Ident> =
        green.blue.columns.iter().map(|column| &column.name).filter(renamed).collect();
    for policy in green.late_policies() {
        let texts = || policy.using.iter().chain(&policy.check);
        if let Some(name) = all_renamed.iter().find(|name| texts().any(|sql| mentions(sql, name.as_str()))) {
            let what =
                format!("policy {} reads {table} again, and column {name}, which is renamed", policy.name);
            conflicts.push(Conflict::new(
                what,
                format!("drop policy {} on {table}, and create it after the swap", policy.name),
            ));
        }
    }
    conflicts
}

/// Whether an index is carried to green.
pub(super) fn is_carried(index: &Index, plan: &TablePlan) -> bool {
    let replaced = index.primary && plan.primary_key.is_some();
    !replaced && !plan.drop_indexes.contains(&index.name)
}
