//! The contract with machines: `docs/events.md` is what the program says, and a line that breaks it is noticed.
//! `support` holds each line of each run in all tests against it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use projh_bluegreen::testing::event::schema::json_schema;

use crate::support::contract::expect_documented;

#[test]
fn a_line_that_the_contract_does_not_know_is_noticed() {
    let refused_line = |line: &str| std::panic::catch_unwind(|| expect_documented([line])).is_err();
    let at = r#""at":"2026-01-01T00:00:00.000Z","run":null"#;
    let refused = |event: &str| refused_line(&event.replacen('{', &format!("{{{at},"), 1));
    let good = &format!(r#"{{{at},"type":"throttled","why":null}}"#);
    assert_eq!(expect_documented([good.as_str()])["throttled"], 1);
    assert!(refused(r#"{"type":"throttled"}"#), "a field is missing");
    assert!(refused(r#"{"type":"throttled","why":null,"who":"me"}"#), "a field is not documented");
    assert!(refused(r#"{"type":"throttled","why":7}"#), "a field is of another type");
    assert!(refused(r#"{"type":"stalled"}"#), "a type is not documented");
    assert!(refused_line("throttled"), "it is not JSON");
    assert!(refused_line(r#"{"type":"throttled","why":null}"#), "it says neither when nor of which run");
}

/// `docs/events.md` is written from the schema: `PROJH_WRITE_DOCS=1 cargo test events`.
#[test]
fn the_page_of_the_events_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let page = page(&json_schema());
    if std::env::var_os("PROJH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/events.md is of another version: PROJH_WRITE_DOCS=1 cargo test events");
}

fn page(schema: &Value) -> String {
    let mut page = String::from(
        "# Events\n\n<!-- Written by tests/events.rs from the types: PROJH_WRITE_DOCS=1 cargo test events -->\n\n\
         With `--json`, standard output is one JSON object a line. `type` says what it is; no line holds a value of a row.\n\
         `projh-bluegreen schema --events` prints their JSON Schema, with one definition for each `type` under `$defs`.\n\n\
         Types and fields are added, never changed or removed: ignore what you do not know. A field that may be `null` is\n\
         always there. Times are ISO 8601, or numbers whose names end in their unit: `_s` seconds, `_ms` milliseconds.\n\n\
         Every line has `at`, when it was printed (UTC), and `run`, the short id of the run that the command is about, `null`\n\
         before it is known.\n",
    );
    let events = schema["oneOf"].as_array().unwrap().iter().map(|event| name_of(event).to_owned());
    let events: Vec<String> = events.collect();
    for name in &events {
        section(&mut page, name, &schema["$defs"][name], true);
    }
    page.push_str("\n## Types of fields\n");
    for (name, of) in schema["$defs"].as_object().unwrap() {
        if !events.contains(name) {
            section(&mut page, name, of, false);
        }
    }
    page
}

fn section(page: &mut String, name: &str, of: &Value, is_event: bool) {
    let title = if is_event { format!("## `{name}`") } else { format!("### {name}") };
    write!(page, "\n{title}\n\n{}\n", text(&of["description"])).unwrap();
    if of.get("oneOf").is_some() {
        page.push('\n');
    }
    for one in of["oneOf"].as_array().into_iter().flatten() {
        let word = one["const"].as_str().unwrap();
        writeln!(page, "- `{word}`: {}", text(&one["description"])).unwrap();
    }
    let is_of_every_line = |field: &str, of: &Value| {
        let is_of_the_command = text(&of["description"]).contains("that the command is about");
        field == "type" || field == "at" || field == "run" && is_of_the_command
    };
    let fields = of["properties"].as_object().into_iter().flatten();
    let fields: Vec<_> = fields.filter(|(field, of)| !is_event || !is_of_every_line(field, of)).collect();
    if fields.is_empty() {
        return;
    }
    page.push_str("\n| field | holds | meaning |\n| --- | --- | --- |\n");
    for (field, of) in fields {
        writeln!(page, "| `{field}` | {} | {} |", holds(of), text(&of["description"]).replace('|', "\\|"))
            .unwrap();
    }
}

/// What kind of value a field holds.
fn holds(of: &Value) -> String {
    if of.get("$ref").is_some() {
        return name_of(of).to_owned();
    }
    if let Some(any) = of["anyOf"].as_array() {
        return any.iter().map(holds).collect::<Vec<_>>().join(" or ");
    }
    match &of["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", holds(&of["items"])),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn name_of(reference: &Value) -> &str {
    reference["$ref"].as_str().unwrap().strip_prefix("#/$defs/").unwrap()
}

fn text(description: &Value) -> String {
    description.as_str().unwrap_or_default().replace('\n', " ")
}
