//! The JSON Schema (2020-12) of the plan, for editors; generated from the table that the reader uses.
//!
//! A schema cannot express everything that the reader checks (two tables of one name, for example); whatever it
//! rejects, the reader rejects too.

use serde_json::{Map, Value, json};

use super::keys;
use super::shape::{MapShape, PlanKey, Shape, expected};

/// What `${NAME}` looks like: an editor cannot judge a value that the environment supplies.
const FROM_ENVIRONMENT: &str = r"\$\{[A-Za-z_]\w*(:-[^}]*)?\}";

/// The JSON Schema of a plan, as `projh-bluegreen schema` prints it.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = of(&keys::PLAN);
    if let Value::Object(map) = &mut schema {
        map.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert("title".to_owned(), json!("A plan of projh-bluegreen"));
    }
    schema
}

fn of(shape: &Shape) -> Value {
    match shape {
        Shape::Map(map) => of_map(map),
        Shape::MapOf(of_value) => json!({"type": "object", "additionalProperties": of(of_value)}),
        Shape::List { of: item, min } => json!({"type": "array", "items": of(item), "minItems": min}),
        Shape::Word(words) => or_from_environment(&json!({"enum": words})),
        Shape::Bool => or_from_environment(&json!({"type": "boolean"})),
        Shape::Integer { min, max } => {
            or_from_environment(&json!({"type": "integer", "minimum": min, "maximum": max}))
        }
        Shape::Size { .. } => {
            pattern(r"^\s*\d+(\.\d+)?\s*([KkMmGgTtPpEe]i?)?[Bb]\s*$|^\s*\d+(\.\d+)?\s*[KkMmGgTtPpEe]i?\s*$")
        }
        Shape::Duration { .. } => pattern(r"^\s*\d.*[A-Za-z]\s*$"),
        Shape::OrNone(shape) => json!({"anyOf": [of(shape), {"const": "none"}]}),
        Shape::Text { pattern: Some(text) } => pattern(text),
        Shape::Text { pattern: None } => json!({"type": ["string", "number", "boolean"], "minLength": 1}),
        Shape::Any => json!({"type": ["string", "number", "boolean", "null"]}),
        Shape::Either(shapes) => json!({"anyOf": shapes.iter().map(of).collect::<Vec<_>>()}),
    }
}

fn pattern(text: &str) -> Value {
    json!({"type": "string", "pattern": format!("{text}|{FROM_ENVIRONMENT}")})
}

fn or_from_environment(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "string", "pattern": FROM_ENVIRONMENT}]})
}

fn of_map(map: &MapShape) -> Value {
    let properties: Map<String, Value> =
        map.keys.iter().map(|key| (key.name.to_owned(), of_key(key))).collect();
    let required: Vec<&str> = map.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let rules: Vec<Value> = map.rules.iter().filter_map(|rule| serde_json::from_str(rule).ok()).collect();
    if let Value::Object(schema) = &mut schema {
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !rules.is_empty() {
            schema.insert("allOf".to_owned(), json!(rules));
        }
    }
    schema
}

/// The schema of a key's value, with its description.
fn of_key(key: &PlanKey) -> Value {
    let about = match &key.shape {
        Shape::OrNone(Shape::Text { .. }) => format!("`{}` {}", key.name, key.about),
        Shape::Integer { .. } | Shape::Size { .. } | Shape::Duration { .. } | Shape::OrNone(_) => {
            format!("`{}` {}: {}", key.name, key.about, expected(&key.shape))
        }
        _ => format!("`{}` {}", key.name, key.about),
    };
    let schema = of(&key.shape);
    match key.may_be_empty() {
        true => json!({"description": about, "anyOf": [schema, {"type": "null"}]}),
        false => json!({"description": about, "allOf": [schema]}),
    }
}
