//! The contract with machines that read `--json`: a JSON Schema (2020-12) for each `type`, written from the
//! types that are serialized.
//!
//! Readers must ignore fields that they do not know: new ones are added, none is changed or removed.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Event;
use super::line::FIELDS;

/// One schema for all lines; `$defs` holds one for each `type`, under its name.
#[must_use]
pub fn json_schema() -> Value {
    let generated = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut root = generated.into_root_schema_for::<Event>().to_value();
    let mut defs =
        root.get_mut("$defs").and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default();
    let variants =
        root.get_mut("oneOf").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let mut one_of = Vec::new();
    for mut event in variants {
        let name =
            event.pointer("/properties/type/const").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(of) = event.as_object_mut() {
            take_in_named(of, &mut defs);
            add_line_fields(of);
        }
        one_of.push(json!({"$ref": format!("#/$defs/{name}")}));
        defs.insert(name, event);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of projh-bluegreen --json",
        "description": "One JSON object a line on standard output; `type` says which of these it is. \
                        Types and fields are added, never changed or removed: ignore what you do not know.",
        "oneOf": one_of,
        "$defs": defs,
    })
}

/// Adds the fields that every line has beside its event. An event's own field of the same name is kept.
fn add_line_fields(event: &mut Map<String, Value>) {
    for (name, meaning) in FIELDS {
        let kind = if name == "run" { json!(["string", "null"]) } else { json!("string") };
        if let Some(Value::Object(properties)) = event.get_mut("properties")
            && !properties.contains_key(name)
        {
            properties.insert(name.to_owned(), json!({"type": kind, "description": meaning}));
            if let Some(Value::Array(required)) = event.get_mut("required") {
                required.push(name.into());
            }
        }
    }
}

/// Inlines the fields of an event that is a type of its own.
fn take_in_named(event: &mut Map<String, Value>, defs: &mut Map<String, Value>) {
    let Some(Value::String(named)) = event.remove("$ref") else { return };
    let Some(named) = named.strip_prefix("#/$defs/").and_then(|name| defs.remove(name)) else { return };
    for list in ["properties", "required"] {
        match (event.get_mut(list), named.get(list)) {
            (Some(Value::Object(ours)), Some(Value::Object(its))) => ours.extend(its.clone()),
            (Some(Value::Array(ours)), Some(Value::Array(its))) => ours.extend(its.iter().cloned()),
            _ => {}
        }
    }
}
