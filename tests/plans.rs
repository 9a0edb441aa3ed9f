//! The plans that come with the project are valid, to the reader and to the schema that it prints.

use std::path::{Path, PathBuf};

use projh_bluegreen::testing::plan::{Plan, json_schema};

fn plans(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            plans(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_plan_that_comes_along_is_valid_to_the_reader_and_to_the_schema() {
    let mut found = Vec::new();
    plans(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plans"), &mut found);
    assert!(found.len() >= 2, "{found:?}");
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    for path in found {
        if let Err(problems) = Plan::load(&path, &|_| None) {
            panic!("{problems}");
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}
