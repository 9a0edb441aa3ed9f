//! The differences between two plans: a run is resumed only with the plan that it began with.

use serde_json::Value;

/// The differences between a plan before and after, one per line; empty exactly if they are equal.
///
/// Both are `serde_json::to_value(&plan)`, which leaves out connection and settings: those may change. Entries of a
/// list are identified by their names, or else by their index from 0.
#[must_use]
pub fn changes(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    lines
}

fn compare(path: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    let known = lines.len();
    match (parts(before), parts(after)) {
        (Some(old), Some(new)) => {
            for (key, value) in &old {
                match new.iter().find(|(other, _)| other == key) {
                    Some((_, other)) => compare(&join(path, key), value, other, lines),
                    None => lines.push(format!("{}: was removed: {}", join(path, key), show(value))),
                }
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.iter().any(|(other, _)| other == key)) {
                lines.push(format!("{}: was added: {}", join(path, key), show(value)));
            }
            if lines.len() == known {
                lines.push(format!("{path}: the order changed"));
            }
        }
        _ => lines.push(format!("{path}: was {}, is {}", show(before), show(after))),
    }
}

/// The members of a map, or of a list whose entries can be identified.
fn parts(value: &Value) -> Option<Vec<(String, &Value)>> {
    match value {
        Value::Object(_) if table_name(value).is_some() => None,
        Value::Object(map) => Some(map.iter().map(|(key, value)| (key.clone(), value)).collect()),
        Value::Array(items) => {
            let named: Option<Vec<(String, &Value)>> =
                items.iter().map(|item| Some((format!("[{}]", entry_name(item)?), item))).collect();
            let unique = |parts: &Vec<(String, &Value)>| {
                parts
                    .iter()
                    .enumerate()
                    .all(|(at, (key, _))| parts[..at].iter().all(|(other, _)| other != key))
            };
            let numbered = || items.iter().enumerate().map(|(at, item)| (format!("[{at}]"), item)).collect();
            Some(named.filter(|parts| !parts.is_empty() && unique(parts)).unwrap_or_else(numbered))
        }
        _ => None,
    }
}

fn entry_name(item: &Value) -> Option<String> {
    let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
    item.get("table").and_then(table_name).or(name)
}

/// `{"schema": "public", "name": "appointments"}` in SQL notation.
fn table_name(value: &Value) -> Option<String> {
    let map = value.as_object().filter(|map| map.len() == 2)?;
    Some(format!("{}.{}", map.get("schema")?.as_str()?, map.get("name")?.as_str()?))
}

fn join(path: &str, key: &str) -> String {
    match path.is_empty() || key.starts_with('[') {
        true => format!("{path}{key}"),
        false => format!("{path}.{key}"),
    }
}

/// A JSON value without members that are not set, shortened.
fn show(value: &Value) -> String {
    const LONGEST: usize = 160;
    let text = match value {
        Value::Null => "not set".to_owned(),
        _ => table_name(value).unwrap_or_else(|| without_unset(value).to_string()),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn without_unset(value: &Value) -> Value {
    let is_unset = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !is_unset(value));
            Value::Object(kept.map(|(key, value)| (key.clone(), without_unset(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_unset).collect()),
        _ => value.clone(),
    }
}
