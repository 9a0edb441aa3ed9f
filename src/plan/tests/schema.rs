//! The schema agrees with the reader, judged by an independent YAML reader and validator.

use super::*;

fn validator() -> jsonschema::Validator {
    let schema = json_schema();
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::validator_for(&schema).unwrap()
}

fn json(text: &str) -> Option<serde_json::Value> {
    serde_saphyr::from_str(text).ok()
}

#[test]
fn the_schema_has_not_changed_unseen() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&json_schema()).unwrap());
}

#[test]
fn a_full_plan_is_valid() {
    let plan = json(FULL).unwrap();
    let errors: Vec<String> = validator().iter_errors(&plan).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    assert!(validator().is_valid(&json(&one_table("")).unwrap()));
}

#[test]
fn every_key_of_the_contract_is_in_the_full_plan() {
    let schema = json_schema();
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 35, "{keys:?}");
    for key in keys {
        assert!(FULL.contains(&format!("{key}:")), "full.yaml lacks `{key}`");
    }
}

fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    match schema {
        serde_json::Value::Object(map) => {
            for (name, value) in map {
                if let ("properties", Some(properties)) = (name.as_str(), value.as_object()) {
                    keys.extend(properties.keys().cloned());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_keys(item, keys)),
        _ => {}
    }
}

/// What only the reader can see, by what it says of it.
const BEYOND_A_SCHEMA: &[&str] = &[
    "twice",
    "exclude",
    "is below",
    "already",
    "would be called",
    "would get the same name",
    "is not one of",
    "bounds are not",
    "64 bytes",
    "lacks",
    "drops",
    "calls it",
    "a comma",
    "`;`",
    "no type",
    "is listed under",
    "leave out `if",
    "not a date",
    "is not the first day",
    "not a table's name",
    "same name",
    "must be a size",
    "must be a duration",
    "`a b`: this",
    "needs keys",
    "would never be",
];

#[test]
fn the_schema_refuses_what_the_reader_refuses_where_it_can() {
    let validator = validator();
    let (mut refused, mut wrong) = (0, Vec::new());
    for text in refusals::plans_refused() {
        let told = parse(&text).unwrap_err().to_string();
        let Some(value) = json(&text) else { continue };
        if !validator.is_valid(&value) {
            refused += 1;
        } else {
            let beyond = BEYOND_A_SCHEMA.iter().any(|words| told.contains(words));
            wrong.extend((!beyond).then(|| format!("the schema lets pass:\n{text}\n{told}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(refused > 50, "{refused}");
}
