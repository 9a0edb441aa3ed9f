//! `partition_by`: how the new table is partitioned.

use jiff::civil::Date;

use crate::pg::QName;

use super::partition::{self, MAX_LEAVES};
use super::problem::Collected;

use super::template::{Kind, Template};
use super::value::{self, Comparable};
use super::yaml::Node;
use super::{PartitionBy, Partitions, Retention, Then, Unit, sql};

/// Partitions past the present one, unless the plan says otherwise.
const AHEAD: u32 = 3;

/// Reads `partition_by` of a table whose shape has been checked.
pub(super) fn read(node: &Node, table: &QName, found: &mut Collected) -> Option<PartitionBy> {
    let (kind, column) = kind(node, found)?;
    let column = sql::take(column, kind, sql::ident, found);
    refuse_foreign_keys(node, kind, found);
    let into = match kind {
        "range" => range(node, found),
        "list" => list(node, found),
        _ => hash(node, found),
    };
    let schema = match node.get("schema") {
        Some(schema) => Some(sql::take(schema, "schema", sql::ident, found)?),
        None => None,
    };
    let default = default(node, kind, found);
    let time_zone = match node.get("time_zone") {
        Some(zone) => Some(time_zone(zone, found)?),
        None => None,
    };
    let retention = match node.get("retention") {
        Some(retention) => Some(self::retention(retention, found)?),
        None => None,
    };
    let by = PartitionBy { column: column?, into: into?, default, schema, name: None, time_zone, retention };
    let by = PartitionBy { name: name(node, Kind::of(&by.into), found)?, ..by };
    check_leaves(node, table, &by, found);
    Some(by)
}

/// Whether there is a default partition: unless the plan says `false`, and never with hash.
fn default(node: &Node, kind: &str, found: &mut Collected) -> bool {
    let written = node.get("default").and_then(|value| Some((value.at, value.scalar()?.as_bool()?)));
    match written {
        Some((at, true)) if kind == "hash" => {
            let hint = "a hash partition takes every row: leave out `default`".to_owned();
            found.add_with_hint(at, "`default: true` with `hash`", hint);
            false
        }
        Some((_, written)) => written,
        None => kind != "hash",
    }
}

/// The template of the partitions' names, if the plan has one; `None` if it is wrong.
fn name(node: &Node, kind: Kind, found: &mut Collected) -> Option<Option<String>> {
    let Some(name) = node.get("name") else { return Some(None) };
    let scalar = name.scalar()?;
    match Template::parse(&scalar.text, kind) {
        Ok(_) => Some(Some(scalar.text.clone())),
        Err(hint) => {
            let message = format!("`name: {}` cannot name the partitions", scalar.shown());
            found.add_with_hint(name.at, message, hint);
            None
        }
    }
}

/// The kind of partitioning, and its column.
fn kind<'a>(node: &'a Node, found: &mut Collected) -> Option<(&'static str, &'a Node)> {
    let kinds: Vec<_> =
        ["range", "list", "hash"].into_iter().filter_map(|kind| Some((kind, node.get(kind)?))).collect();
    match kinds.as_slice() {
        [one] => Some(*one),
        [] => {
            let hint = "write `range: column` with `every` or `bounds`, `list: column` or `hash: column` with \
                        `partitions`";
            found.add_with_hint(node.at, "the column to partition by is missing", hint.to_owned());
            None
        }
        [first, second, ..] => {
            let message = format!("`{}` and `{}` exclude each other", first.0, second.0);
            found.add_with_hint(second.1.at, message, "keep one of them".to_owned());
            None
        }
    }
}

/// Rejects keys that belong to another kind.
fn refuse_foreign_keys(node: &Node, kind: &str, found: &mut Collected) {
    let foreign: &[(&str, &str)] = match kind {
        "range" => &[("partitions", "`range` goes with `every` or `bounds`")],
        _ => &[
            ("every", "it belongs to `range`"),
            ("bounds", "it belongs to `range`"),
            ("from", "it belongs to `range` with `every`"),
            ("until", "it belongs to `range` with `every`"),
            ("time_zone", "it belongs to `range`"),
            ("ahead", "it belongs to `range` with `every`"),
            ("retention", "it belongs to `range` with `every`"),
        ],
    };
    for (key, hint) in foreign {
        if let Some((word, _)) = node.entries().iter().find(|(word, _)| word.text == *key) {
            found.add_with_hint(word.at, format!("`{key}` cannot be used with `{kind}`"), (*hint).to_owned());
        }
    }
}

fn range(node: &Node, found: &mut Collected) -> Option<Partitions> {
    match (node.get("every"), node.get("bounds")) {
        (Some(node_every), None) => every(node, node_every, found),
        (None, Some(list)) => {
            for key in ["from", "until", "ahead", "retention"] {
                if let Some(value) = node.get(key) {
                    found.add(value.at, format!("`{key}` belongs to `every`, not to `bounds`"));
                }
            }
            bounds(list, found)
        }
        (Some(_), Some(list)) => {
            found.add_with_hint(list.at, "`every` and `bounds` exclude each other", "keep one".to_owned());
            None
        }
        (None, None) => {
            let hint = "`every: 1 month`, or `bounds: [2024-01-01, 2025-01-01]`".to_owned();
            found.add_with_hint(node.at, "`range` needs `every` or `bounds`", hint);
            None
        }
    }
}

fn every(node: &Node, every: &Node, found: &mut Collected) -> Option<Partitions> {
    let scalar = every.scalar()?;
    let Some((count, unit)) = value::interval(&scalar.text) else {
        let message = format!("`every: {}` is not a length of time", scalar.shown());
        let hint = "write `1 month`: a count up to 1000, and day, week, month, quarter or year".to_owned();
        found.add_with_hint(every.at, message, hint);
        return None;
    };
    let ahead = match node.get("ahead") {
        Some(ahead) => ahead.scalar()?.text.parse().ok()?,
        None => AHEAD,
    };
    let mut bound = |key: &str| match node.get(key) {
        Some(value) => Some(Some(end_of_ranges(key, value, unit, found)?)),
        None => Some(None),
    };
    let (from, until) = (bound("from")?, bound("until")?);
    if let (Some(first), Some(end), Some(value)) = (from, until, node.get("until"))
        && end <= first
    {
        found.add_with_hint(
            value.at,
            "`until` is not after `from`",
            "it is the first day that the ranges do not cover".to_owned(),
        );
    }
    Some(Partitions::Every { count, unit, from, until, ahead })
}

/// How long partitions are kept.
fn retention(node: &Node, found: &mut Collected) -> Option<Retention> {
    let keep = node.get("keep")?;
    let text = keep.scalar()?;
    let Some(length) = value::interval(&text.text) else {
        let message = format!("`keep: {}` is not a length of time", text.shown());
        let hint = "write `24 months`: a count up to 1000, and day, week, month, quarter or year".to_owned();
        found.add_with_hint(keep.at, message, hint);
        return None;
    };
    let then = match node.get("then")?.scalar()?.text.as_str() {
        "drop" => Then::Drop,
        _ => Then::Archive,
    };
    let schema = match node.get("schema") {
        Some(schema) => Some(sql::take(schema, "schema", sql::ident, found)?),
        None => None,
    };
    Some(Retention { keep: length, then, schema })
}

/// The time zone in which the days of the ranges begin.
fn time_zone(node: &Node, found: &mut Collected) -> Option<String> {
    let scalar = node.scalar()?;
    if scalar.text != "UTC" && jiff::tz::TimeZone::get(&scalar.text).is_err() {
        let message = format!("`time_zone: {}` is not a time zone known to this machine", scalar.shown());
        let hint = "write `UTC`, or an IANA name such as `Europe/Berlin`".to_owned();
        found.add_with_hint(node.at, message, hint);
        return None;
    }
    Some(scalar.text.clone())
}

fn end_of_ranges(key: &str, node: &Node, unit: Unit, found: &mut Collected) -> Option<Date> {
    let scalar = node.scalar()?;
    let Some(date) = value::date(&scalar.text) else {
        let message = format!("`{key}: {}` is not a date", scalar.shown());
        found.add_with_hint(node.at, message, "write it as `2024-01-31`".to_owned());
        return None;
    };
    let by_month = matches!(unit, Unit::Month | Unit::Quarter | Unit::Year);
    if by_month && date.day() != 1 {
        let message = format!("`{key}: {}` is not the first day of a month", scalar.shown());
        found.add_with_hint(node.at, message, format!("write `{}`", date.first_of_month()));
        return None;
    }
    if date.year() < 1 {
        found.add(node.at, format!("`{key}` is before the year 1"));
        return None;
    }
    Some(date)
}

fn bounds(list: &Node, found: &mut Collected) -> Option<Partitions> {
    let mut bounds: Vec<String> = Vec::new();
    let mut last: Option<Comparable> = None;
    for item in list.items() {
        let Some(scalar) = item.scalar() else { continue };
        let this = value::comparable(&scalar.text);
        let order = last.as_ref().zip(this.as_ref()).and_then(|(last, this)| last.compare(this));
        if bounds.contains(&scalar.text) || order.is_some_and(std::cmp::Ordering::is_eq) {
            found.add(item.at, format!("the bound `{}` is given twice", scalar.shown()));
        } else if order.is_some_and(std::cmp::Ordering::is_gt) {
            let hint = "put the bounds in ascending order".to_owned();
            found.add_with_hint(
                item.at,
                format!("the bound `{}` is below the one before it", scalar.shown()),
                hint,
            );
        }
        last = this;
        bounds.push(scalar.text.clone());
    }
    Some(Partitions::Bounds(bounds))
}

fn list(node: &Node, found: &mut Collected) -> Option<Partitions> {
    const HINT: &str = "write `partitions: {open: [scheduled], closed: [done, cancelled]}`";
    let Some(partitions) = node.get("partitions") else {
        found.add_with_hint(node.at, "`list` needs `partitions`", HINT.to_owned());
        return None;
    };
    if partitions.entries().is_empty() {
        found.add_with_hint(
            partitions.at,
            "`partitions` of `list` needs names with their values",
            HINT.to_owned(),
        );
        return None;
    }
    let mut lists: Vec<(String, Vec<Option<String>>)> = Vec::new();
    for (word, node) in partitions.entries() {
        let mut values = Vec::new();
        for item in node.items() {
            let value = item.scalar().map(|scalar| scalar.text.clone());
            let owner =
                lists.iter().find(|(_, values)| values.contains(&value)).map(|(name, _)| name.as_str());
            if let Some(owner) = owner.or(values.contains(&value).then_some(&word.text)) {
                let shown =
                    value.as_ref().and(item.scalar()).map_or("null".to_owned(), super::yaml::Scalar::shown);
                let hint = format!("it is already in `{owner}`; a value belongs to one partition");
                found.add_with_hint(item.at, format!("the value `{shown}` is given twice"), hint);
            }
            values.push(value);
        }
        lists.push((word.text.clone(), values));
    }
    Some(Partitions::List(lists))
}

fn hash(node: &Node, found: &mut Collected) -> Option<Partitions> {
    let Some(partitions) = node.get("partitions") else {
        let hint = "say how many: `partitions: 16`".to_owned();
        found.add_with_hint(node.at, "`hash` needs `partitions`", hint);
        return None;
    };
    let Some(scalar) = partitions.scalar() else {
        let hint = "say how many: `partitions: 16`".to_owned();
        found.add_with_hint(partitions.at, "`partitions` of `hash` must be a number", hint);
        return None;
    };
    scalar.text.parse().ok().map(Partitions::Hash)
}

/// Checks the names of the partitions that are known without the data.
fn check_leaves(node: &Node, table: &QName, by: &PartitionBy, found: &mut Collected) {
    let today = Date::constant(2000, 1, 1);
    let from = match by.into {
        Partitions::Every { from, until, .. } => from.or(until).unwrap_or(today),
        _ => today,
    };
    let at = node.get("name").or(node.get("partitions")).unwrap_or(node).at;
    if let Err(error) = partition::leaves(table, by, partition::KeyType::Other, None, from) {
        let hint = match error {
            partition::PartitionError::TooMany { .. } => format!("at most {MAX_LEAVES} partitions"),
            _ => {
                "give the partitions' `name` a template that tells them apart and is short enough".to_owned()
            }
        };
        found.add_with_hint(at, error.to_string(), hint);
    }
}
