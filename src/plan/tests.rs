//! The plan as a whole: what is read, what is rejected, and how that is reported.

mod properties;
mod refusals;
mod schema;

use std::fs;

use super::*;

/// A plan with every key of this version.
const FULL: &str = include_str!("tests/full.yaml");

/// An environment of two variables.
fn env(name: &str) -> Option<String> {
    match name {
        "DATABASE_URL" => Some("postgres://app:hunter2@db/clinic".to_owned()),
        "SECRET" => Some("Hunter 2".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Plan, Problems> {
    Plan::parse("plan.yaml", text, &env)
}

/// A plan of one table with these lines under it, each indented as a key of the table.
fn one_table(lines: &str) -> String {
    let lines = lines.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!("version: 1\nname: one\ntables:\n  - table: public.t\n{lines}")
}

fn table(lines: &str) -> TablePlan {
    parse(&one_table(lines)).unwrap_or_else(|problems| panic!("{problems}")).tables.remove(0)
}

#[test]
fn a_full_plan_is_read() {
    let plan = parse(FULL).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(plan.connection.url(), Ok(Some("postgres://app:hunter2@db/clinic")));
    assert!(!format!("{plan:?}").contains("hunter2"), "{plan:?}");
    insta::assert_debug_snapshot!(plan.settings);
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
}

#[test]
fn everything_but_a_name_and_a_table_has_a_default() {
    let plan = parse(&one_table("")).unwrap();
    assert_eq!(plan.settings, Settings::default());
    assert_eq!(plan.settings.chunk_size_bytes, 16 * 1024 * 1024);
    assert_eq!(plan.connection.url(), Ok(None));
    for empty in ["url: \"${NOT_SET:-}\"", "url: ''", "url:"] {
        let plan = parse(&format!("{}database: {{{empty}}}\n", one_table(""))).unwrap();
        assert_eq!(plan.connection.url(), Ok(None), "{empty}");
    }
    let table = &plan.tables[0];
    assert_eq!(table.table, QName::new("public", "t"));
    assert_eq!((&table.partition_by, &table.primary_key), (&None, &None));
    assert!(!table.replica_identity_full && table.indexes.is_empty());
    let plan = parse(&format!("settings:\ndatabase:\n{}", one_table(""))).unwrap();
    assert_eq!(plan.settings, Settings::default());
}

#[test]
fn a_range_has_a_default_partition_and_looks_three_ahead_unless_told() {
    let by = table("partition_by: {range: Start, every: month}").partition_by.unwrap();
    assert_eq!(by.column, Ident::from("start"));
    assert!(by.default);
    let expected = Partitions::Every { count: 1, unit: Unit::Month, from: None, until: None, ahead: 3 };
    assert_eq!(by.into, expected);
    let by = table("partition_by: {range: a, bounds: [010, 20, 1e2], default: false}").partition_by.unwrap();
    assert!(!by.default);
    assert_eq!(by.into, Partitions::Bounds(vec!["010".into(), "20".into(), "1e2".into()]));
    assert!(!table("partition_by: {hash: a, partitions: 4}").partition_by.unwrap().default);
    let by =
        table("partition_by: {list: a, partitions: {x: [1, true, null], y: ['null']}}").partition_by.unwrap();
    assert!(by.default);
    let lists = vec![
        ("x".to_owned(), vec![Some("1".to_owned()), Some("true".to_owned()), None]),
        ("y".to_owned(), vec![Some("null".to_owned())]),
    ];
    assert_eq!(by.into, Partitions::List(lists));
}

#[test]
fn settings_may_turn_a_throttle_off() {
    let text = format!("settings: {{throttle: {{max_replica_lag: none}}}}\n{}", one_table(""));
    assert_eq!(parse(&text).unwrap().settings.throttle.max_replica_lag, None);
}

#[test]
fn the_plans_json_has_neither_connection_nor_settings() {
    let plan = parse(FULL).unwrap();
    let json = serde_json::to_value(&plan).unwrap();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["in_place", "name", "steps", "tables"]);
    assert!(!json.to_string().contains("hunter2"));
}

#[test]
fn a_changed_plan_says_what_changed() {
    let read = |text: &str| serde_json::to_value(parse(text).unwrap()).unwrap();
    let before = read(FULL);
    assert_eq!(changes(&before, &before), Vec::<String>::new());
    let other_settings = FULL.replace("workers: 8", "workers: 2").replace("soak: 48h", "soak: 1h");
    assert_ne!(FULL, other_settings);
    assert_eq!(changes(&before, &read(&other_settings)), Vec::<String>::new());
    let edited = FULL
        .replace("every: 1 month", "every: 2 months")
        .replace("where status = 'scheduled'", "where status = 'done'")
        .replace("legacy_code: drop", "legacy_code: {rename: code}")
        .replace("  - table: public.audit_logs", "  - table: public.audit_log");
    insta::assert_snapshot!(changes(&before, &read(&edited)).join("\n"));
}

#[test]
fn paths_of_keys_are_absolute_from_the_plans_directory() {
    let id = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";
    let here = std::env::current_dir().unwrap();
    let at = |path: &str| here.join(path).to_str().unwrap().to_owned();
    for (file, provider, expected) in [
        ("p.yaml", "{file: keys.yaml}", serde_json::json!({"file": at("keys.yaml")})),
        ("src/../p.yaml", "{file: ./k/keys.yaml}", serde_json::json!({"file": at("k/keys.yaml")})),
        (
            "src/p.yaml",
            "{command: [../give, ./x]}",
            serde_json::json!({"command": [at("src/../give"), "./x"]}),
        ),
        ("src/p.yaml", "{command: [give, ./x]}", serde_json::json!({"command": ["give", "./x"]})),
    ] {
        let text = format!(
            "version: 1\nname: p\nkeys: {{provider: {provider}, active: {id}}}\ntables: [{{table: public.t}}]\n"
        );
        let keys = Plan::parse(file, &text, &|_| None).unwrap().keys.unwrap();
        assert_eq!(serde_json::to_value(keys.provider).unwrap(), expected);
    }
}

#[test]
fn an_order_that_changed_is_a_change() {
    let read = |lines: &str| {
        let text = one_table(&format!("add_columns: [{lines}]"));
        serde_json::to_value(parse(&text).unwrap()).unwrap()
    };
    let lines = changes(&read("a int, b int"), &read("b int, a int"));
    assert_eq!(lines, ["tables[public.t].add_columns: the order changed"]);
}

#[test]
fn a_file_that_is_no_plan_is_told_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let refusal = || Plan::load(&path, &env).unwrap_err().iter().next().unwrap().message.clone();
    assert_eq!(refusal(), "there is no such file");
    fs::write(&path, [b'a', b'\n', b'b', 0xFF]).unwrap();
    assert_eq!(refusal(), "is not UTF-8 text: line 2 has an invalid byte");
    fs::write(&path, vec![b' '; file::MAX_BYTES as usize + 1]).unwrap();
    assert!(refusal().contains("at most 1048576"), "{}", refusal());
    fs::write(&path, "").unwrap();
    assert_eq!(refusal(), "the plan is empty");
    assert!(Plan::load(folder.path(), &env).unwrap_err().to_string().contains("directory"));
    fs::write(&path, FULL).unwrap();
    let lacks = refusal();
    assert!(lacks.contains("step.sql") && lacks.ends_with("there is no such file"), "{lacks}");
    fs::create_dir_all(folder.path().join("src/plan/tests")).unwrap();
    fs::copy("src/plan/tests/step.sql", folder.path().join("src/plan/tests/step.sql")).unwrap();
    assert!(Plan::load(&path, &env).is_ok());
    fs::write(&path, format!("\u{feff}{}", FULL.replace('\n', "\r\n"))).unwrap();
    assert!(Plan::load(&path, &env).is_ok());
}
