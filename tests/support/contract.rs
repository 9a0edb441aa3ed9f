//! Every line of `--json` is of a `type` that is documented, and has the fields that its schema says, no more
//! and no fewer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use projh_bluegreen::testing::event::schema::json_schema;

/// A validator a type.
static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let mut schema = closed(json_schema());
    let names = schema.as_object_mut().unwrap().remove("oneOf").unwrap();
    let of_one = |name: &Value| {
        let mut schema = schema.clone();
        schema["$ref"] = name["$ref"].clone();
        (name["$ref"].as_str().unwrap().replace("#/$defs/", ""), jsonschema::validator_for(&schema).unwrap())
    };
    names.as_array().unwrap().iter().map(of_one).collect()
});

/// Panics unless each line is an event that the contract knows; counts them by type. The program's
/// runs in all tests come by here.
pub fn expect_documented<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let name = event["type"].as_str().unwrap_or_else(|| panic!("no type: {line}")).to_owned();
        let validator = VALIDATORS.get(&name);
        let validator = validator.unwrap_or_else(|| panic!("type `{name}` is not documented: {line}"));
        let wrong = validator.iter_errors(&event).map(|error| format!("{}: {error}", error.instance_path()));
        let wrong: Vec<String> = wrong.collect();
        assert!(wrong.is_empty(), "{line}\n{}", wrong.join("\n"));
        *seen.entry(name).or_default() += 1;
    }
    seen
}

/// The schema, but no field passes that it does not know.
fn closed(mut schema: Value) -> Value {
    if let Some(map) = schema.as_object_mut() {
        if map.contains_key("properties") {
            map.insert("additionalProperties".to_owned(), false.into());
        }
        map.values_mut().for_each(|value| *value = closed(value.take()));
    } else if let Some(list) = schema.as_array_mut() {
        list.iter_mut().for_each(|value| *value = closed(value.take()));
    }
    schema
}
