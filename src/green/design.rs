//! From blue and the plan to green, or to all conflicts between them.

use super::{conflicts, defaults, encrypted};
use crate::hangs_on::{
    Column, Conflict, Definition, Green, GreenColumn, GreenIndex, GreenPartition, Homes, Source, Widened,
    without_length,
};
use crate::pg::Ident;
use crate::plan::partition::Leaf;
use crate::plan::{ColumnChange, Partitions, TablePlan};

impl Green {
    /// Designs green. Pure: the same blue and plan give the same green.
    ///
    /// # Errors
    /// All conflicts between the plan and blue at once.
    pub fn design(
        definition: &Definition,
        plan: &TablePlan,
        leaves: &[Leaf],
        homes: &Homes,
    ) -> Result<Self, Vec<Conflict>> {
        let columns = columns(definition, plan);
        let partition = plan.partition_by.as_ref().map(|by| GreenPartition {
            column: by.column.clone(),
            strategy: strategy(&by.into).to_owned(),
            schema: by.schema.clone().unwrap_or_else(|| definition.table.name.schema.clone()),
            leaves: leaves.to_vec(),
        });
        let mut green = Self {
            homes: homes.clone(),
            blue: definition.clone(),
            columns,
            partition,
            indexes: Vec::new(),
            notes: Vec::new(),
            widened: Widened::default(),
            compatibility: None,
        };
        green.indexes = indexes(&green, plan);
        green.decide_on_widened_keys(plan);
        let conflicts = conflicts::all(&green, plan);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        green.notes = notes(&green, plan);
        Ok(green)
    }
}

pub(super) fn strategy(into: &Partitions) -> &'static str {
    match into {
        Partitions::Every { .. } | Partitions::Bounds(_) => "RANGE",
        Partitions::List(_) => "LIST",
        Partitions::Hash(_) => "HASH",
    }
}

fn columns(definition: &Definition, plan: &TablePlan) -> Vec<GreenColumn> {
    let kept = definition.columns.iter().flat_map(|column| match plan.columns.get(&column.name) {
        Some(change @ ColumnChange::Encrypt { .. }) => encrypted::columns(definition, plan, column, change),
        change => green_column(definition, column, change).into_iter().collect(),
    });
    let added = plan.add_columns.iter().map(|added| GreenColumn {
        name: added.name.clone(),
        data_type: added.definition.clone(),
        source: Source::Added,
        default: None,
    });
    let (indexes, kept): (Vec<_>, Vec<_>) = kept.partition(|column| column.source.is_new());
    kept.into_iter().chain(indexes).chain(added).collect()
}

fn green_column(
    definition: &Definition,
    column: &Column,
    change: Option<&ColumnChange>,
) -> Option<GreenColumn> {
    let blue = column.name.clone();
    let Some(change) = change else {
        let source = if column.generated.is_some() {
            Source::Generated(blue.clone())
        } else {
            Source::Same(blue.clone())
        };
        return Some(GreenColumn { name: blue, data_type: column.data_type.clone(), source, default: None });
    };
    let ColumnChange::Change { rename, data_type, using, back, one_way, default } = change else {
        return None;
    };
    let name = rename.clone().unwrap_or_else(|| blue.clone());
    let new_type = data_type.clone().unwrap_or_else(|| column.data_type.clone());
    let source = if column.generated.is_some() {
        Source::Generated(blue.clone())
    } else if let Some(sql) = using {
        Source::Expression { blue: blue.clone(), sql: sql.clone(), back: back.clone() }
    } else if new_type == column.data_type {
        Source::Same(blue.clone())
    } else {
        let cast = |from: &Ident, to: &str| format!("CAST({from} AS {})", without_length(to));
        let back = back.clone().unwrap_or_else(|| cast(&name, &column.data_type));
        let sql = cast(&blue, &new_type);
        Source::Expression { sql, blue: blue.clone(), back: (!one_way).then_some(back) }
    };
    let default = default.clone().or_else(|| {
        let is_retyped = matches!(source, Source::Expression { .. }) && new_type != column.data_type;
        defaults::through(definition, column, using.as_deref(), &new_type).filter(|_| is_retyped)
    });
    Some(GreenColumn { name, data_type: new_type, source, default })
}

/// The key first, because the stream identifies rows by it; then blue's other indexes, then the plan's.
fn indexes(green: &Green, plan: &TablePlan) -> Vec<GreenIndex> {
    let blue = &green.blue;
    let mut indexes = Vec::new();
    match (blue.primary_key(), &plan.primary_key) {
        (Some(index), columns) => {
            let columns = columns.clone().unwrap_or_else(|| green.green_names(&plain(&index.keys)));
            indexes.push(GreenIndex::primary_key_like(green, index, &columns));
        }
        (None, Some(columns)) => {
            let name = Ident::from(format!("{}_pkey", blue.table.name.name.as_str()));
            indexes.push(GreenIndex::primary_key(name, columns));
        }
        (None, None) => {}
    }
    let carried =
        |index: &&crate::hangs_on::Index| !index.primary && !plan.drop_indexes.contains(&index.name);
    let mut secondary: Vec<GreenIndex> =
        blue.indexes.iter().filter(carried).filter_map(|index| GreenIndex::like(green, index)).collect();
    let key =
        blue.usable_key(plan.replica_identity_full, plan.primary_key.as_deref()).ok().map(|key| key.index);
    secondary.sort_by_key(|index| (key.as_ref() != Some(&index.name), !index.unique));
    indexes.extend(secondary);
    indexes.extend(plan.indexes.iter().map(GreenIndex::new_in_plan));
    indexes
}

fn notes(green: &Green, plan: &TablePlan) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(begins_in_utc(green, plan));
    notes.extend(green.notes_of_partitions());
    if green.partition.is_some() {
        for check in green.blue.checks.iter().filter(|check| check.no_inherit) {
            notes.push(format!(
                "CHECK {} loses NO INHERIT, which a partitioned table cannot have and does not need",
                check.name
            ));
        }
        for key in green.blue.foreign_keys.iter().filter(|key| !key.validated) {
            notes.push(format!(
                "foreign key {} stays NOT VALID, and therefore on each partition instead of their parent",
                key.name
            ));
        }
        for index in green.indexes.iter().filter(|index| index.clustered) {
            notes.push(format!("CLUSTER ON {} is set on each partition", index.name));
        }
    }
    notes
}

/// Notes that days of a key with a time zone are in UTC, unless the plan says otherwise.
fn begins_in_utc(green: &Green, plan: &TablePlan) -> Option<String> {
    let by = plan.partition_by.as_ref().filter(|by| by.time_zone.is_none())?;
    let blue = green.blue.column(green.blue_name_of(&by.column))?;
    let has_zone = blue.base_type.ends_with("with time zone") && matches!(by.into, Partitions::Every { .. });
    let note = || {
        format!(
            "the ranges of {} begin at midnight UTC; `time_zone` in partition_by gives another zone",
            by.column
        )
    };
    has_zone.then(note)
}

/// The plain columns among an index's keys.
fn plain(keys: &[Option<Ident>]) -> Vec<Ident> {
    keys.iter().flatten().cloned().collect()
}
