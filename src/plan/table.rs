//! `tables`: the migration of each table.

use crate::pg::{Ident, QName};
use crate::phi::KeysPlan;

use super::column::{self, Columns};
use super::problem::{Collected, Position};
use super::sql::{self};
use super::yaml::Node;
use super::{NewIndex, PartitionBy, TablePlan, in_place, partition_by, widened};

/// Reads `tables` of a plan whose shape has been checked.
pub(super) fn read_all(plan: &Node, keys: Option<&KeysPlan>, found: &mut Collected) -> Vec<TablePlan> {
    let mut tables: Vec<TablePlan> = Vec::new();
    let mut index_names: Vec<QName> = Vec::new();
    for node in plan.get("tables").map_or(&[][..], Node::items) {
        let Some(name) = node.get("table") else { continue };
        let Some(table) = sql::take(name, "table", sql::qname, found) else { continue };
        in_place::check(node, found);
        refuse_same_table(&tables, &table, name.at, found);
        let mut read = read(node, table, (keys, &mut index_names), found);
        read.compatibility = node.get("compatibility").and_then(|at| schema(plan, &read.table, at, found));
        tables.push(read);
    }
    tables
}

fn refuse_same_table(tables: &[TablePlan], table: &QName, at: Position, found: &mut Collected) {
    let plain = table.plain();
    if tables.iter().any(|other| other.table == *table) {
        let hint = "put everything about one table into one entry".to_owned();
        found.add_with_hint(at, format!("`{plain}` is in this plan twice"), hint);
    }
}

fn read(
    node: &Node,
    table: QName,
    (keys, index_names): (Option<&KeysPlan>, &mut Vec<QName>),
    found: &mut Collected,
) -> TablePlan {
    let names = |key: &str, found: &mut Collected| node.get(key).map(|list| names(list, key, found));
    let partition_by = node.get("partition_by").and_then(|by| partition_by::read(by, &table, found));
    let primary_key = names("primary_key", found);
    let drop_indexes = names("drop_indexes", found).unwrap_or_default();
    let columns = column::read(node, keys, found);
    check_keys(node, partition_by.as_ref(), primary_key.as_deref(), &columns, found);
    let indexes = node.get("indexes").map_or(&[][..], Node::items);
    let indexes = indexes.iter().filter_map(|item| index(item, &table, index_names, found)).collect();
    let (inbound_foreign_keys, uniqueness) = widened::read(node, found);
    TablePlan {
        table,
        partition_by,
        primary_key,
        replica_identity_full: node.get("replica_identity").is_some(),
        columns: columns.changed,
        add_columns: columns.added,
        indexes,
        compatibility: None,
        drop_indexes,
        inbound_foreign_keys,
        uniqueness,
        in_place: in_place::is_set(node),
    }
}

/// The schema of the views of old shapes: that of the table, with the name of the plan.
fn schema(plan: &Node, table: &QName, view: &Node, found: &mut Collected) -> Option<Ident> {
    let name = &plan.get("name")?.scalar()?.text;
    let schema = format!("{}_{name}", table.schema.as_str());
    if schema.len() > 63 {
        found.add(
            view.at,
            format!("the schema of the view would be `{schema}`, which is longer than 63 bytes"),
        );
    }
    Some(Ident(schema))
}

/// A list of names, each given once.
pub(super) fn names(list: &Node, key: &str, found: &mut Collected) -> Vec<Ident> {
    let mut names: Vec<Ident> = Vec::new();
    for item in list.items() {
        let Some(name) = sql::take(item, key, sql::ident, found) else { continue };
        if names.contains(&name) {
            found.add(item.at, format!("`{key}` has `{}` twice", name.as_str()));
        } else {
            names.push(name);
        }
    }
    names
}

/// Checks that keys name columns of green, and that the primary key contains the partition key.
fn check_keys(
    node: &Node,
    by: Option<&PartitionBy>,
    primary_key: Option<&[Ident]>,
    columns: &Columns,
    found: &mut Collected,
) {
    let by_node =
        node.get("partition_by").and_then(|by| ["range", "list", "hash"].iter().find_map(|k| by.get(k)));
    if let (Some(by), Some(by_node)) = (by, by_node) {
        columns.require(&by.column, by_node.at, found);
    }
    let Some((key, key_node)) = primary_key.zip(node.get("primary_key")) else { return };
    for item in key_node.items() {
        if let Some(Ok(name)) = item.scalar().map(|scalar| sql::ident(&scalar.text)) {
            columns.require(&name, item.at, found);
        }
    }
    if let Some(by) = by.filter(|by| !key.contains(&by.column)) {
        let wider: Vec<String> = key.iter().chain([&by.column]).map(Ident::in_plan).collect();
        found.add_with_hint(
            key_node.at,
            format!("`primary_key` lacks `{}`, by which the table is partitioned", by.column.as_str()),
            format!("PostgreSQL requires it there: `primary_key: [{}]`", wider.join(", ")),
        );
    }
}

fn index(item: &Node, table: &QName, seen: &mut Vec<QName>, found: &mut Collected) -> Option<NewIndex> {
    let head = sql::take(item, "indexes", sql::index, found)?;
    let same_schema = head.schema.as_ref().is_none_or(|schema| *schema == table.schema);
    if head.table != table.name || !same_schema {
        let on = QName { schema: head.schema.unwrap_or_else(|| table.schema.clone()), name: head.table };
        found.add_with_hint(
            item.at,
            format!("this index is on `{}`, but is listed under `{}`", on.plain(), table.plain()),
            "move it to its own table's `indexes`, or correct the name".to_owned(),
        );
        return None;
    }
    let full_name = QName { schema: table.schema.clone(), name: head.name.clone() };
    if seen.contains(&full_name) {
        found.add(item.at, format!("the index `{}` is in this plan twice", full_name.name.as_str()));
    }
    seen.push(full_name);
    Some(NewIndex { name: head.name, unique: head.unique, rest: head.rest })
}
