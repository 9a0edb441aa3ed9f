//! Each mistake is reported at its position, with what to write instead.

use super::*;

#[test]
fn ten_mistakes_are_told_at_once() {
    let problems = parse(include_str!("ten.yaml")).unwrap_err();
    assert!(problems.len() >= 10);
    insta::assert_snapshot!(problems.to_string());
}

#[test]
fn problems_are_objects_for_machines() {
    let problems = parse("version: 1\nname: x\ntables: []\n").unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&problems).unwrap());
}

#[test]
fn a_secret_of_the_environment_is_never_shown() {
    for lines in [
        "name: ${SECRET}",
        "primary_key: ['${SECRET}']",
        "add_columns: ['${SECRET} int']\npartition_by: {range: a, every: '${SECRET}', name: '{${SECRET}}'}",
        "partition_by: {range: a, bounds: ['${SECRET}', '${SECRET}']}",
        "partition_by: {hash: a, partitions: '${SECRET}'}",
        "indexes: ['create index on ${SECRET} (a)', '${SECRET}']",
        "columns: {a: '${SECRET}', b: {type: '(${SECRET}'}}",
        "replica_identity: ${SECRET}",
    ] {
        let problems = parse(&one_table(lines)).unwrap_err();
        let told = format!("{problems} {}", serde_json::to_string(&problems).unwrap()).to_lowercase();
        assert!(told.contains("${secret}"), "{told}");
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn a_connection_that_is_not_set_matters_only_to_who_asks_for_it() {
    let text = one_table("").replace("tables:", "database: {url: '${NOBODY}'}\ntables:");
    let plan = parse(&text).unwrap();
    let told = plan.connection.url().unwrap_err().to_string();
    assert!(told.contains("plan.yaml:3:17: the environment variable `NOBODY` is not set"), "{told}");
    // Only there, and only where the plan's own text is right.
    for wrong in [text.replace("'${NOBODY}'", "'${NO BODY}'"), text.replace("name: one", "name: ${NOBODY}")] {
        assert!(parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_step_that_a_run_could_not_undo_or_execute_is_refused() {
    for (step, what) in [
        ("name: s, when: prepare, up: select 1", "has no way back"),
        ("name: s, when: prepare, up: select 1, one_way: false", "has no way back"),
        ("name: s, when: in_swap, up: select 1, down: select 2, one_way: true", "says `one_way: true`"),
        ("name: s, when: prepare, up: commit, one_way: true", "cannot have `commit`"),
        ("name: s, when: prepare, up: \"select 1; set role x\", one_way: true", "cannot have `set`"),
        ("name: s, when: prepare, up: \"select 'x\", one_way: true", "a string does not end"),
        ("name: s, when: prepare, up: /* nothing */ ;, one_way: true", "has no statement"),
        ("name: s, when: prepare, up: {file: no/such.sql}, one_way: true", "there is no such file"),
        ("name: s, when: in_swap, up: vacuum t, one_way: true", "cannot be executed in a transaction"),
        (
            "name: s, when: prepare, up: create index concurrently i on t (a), down: drop index i, transactional: true",
            "cannot be executed in a transaction",
        ),
        ("name: s, when: in_swap, up: select 1, one_way: true, transactional: false", "in its transaction"),
        ("name: s, when: never, up: select 1, one_way: true", "`when` must be one of"),
        (
            "name: s, when: finish, up: select 1}\n  - {name: s, when: finish, up: select 1",
            "two steps are named",
        ),
        (
            "name: compatibility views, when: in_swap, up: select 1, one_way: true",
            "is the name of a step that",
        ),
    ] {
        let told = parse(&format!("{}steps:\n  - {{{step}}}\n", one_table(""))).unwrap_err().to_string();
        assert!(told.contains(what), "{step}: {told}");
    }
}

#[test]
fn what_is_no_policy_or_trigger_of_its_table_is_refused() {
    for (lines, what) in [
        (
            "policies: create policy p on other using (true)",
            "`policies` of `public.t`, line 1: it is not on this table",
        ),
        ("policies: create table t ()", "only what belongs to it is written here"),
        ("policies: grant select on t to x", "only what belongs to it is written here"),
        ("triggers: create policy p on t using (true)", "only what belongs to it is written here"),
        (
            "triggers: create function f() returns int language sql as 'x'",
            "write `create or replace function`",
        ),
        ("triggers: drop trigger x on t", "only what belongs to it is written here"),
        ("triggers: {file: no/such.sql}", "there is no such file"),
    ] {
        let told = parse(&one_table(lines)).unwrap_err().to_string();
        assert!(told.contains(what), "{lines}: {told}");
    }
    let step =
        parse(&one_table("policies: create policy \"P\" on public.t using (true)")).unwrap().steps.remove(0);
    let texts = |script: &Script| script.statements.iter().map(|one| one.sql.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&step.up)[0], "drop policy if exists \"P\" on \"public\".\"t\"");
    assert_eq!(texts(step.down.as_ref().unwrap()), ["drop policy if exists \"P\" on \"public\".\"t\""]);
}

#[test]
fn a_slip_in_the_yaml_is_told_with_what_it_mostly_is() {
    for (text, hint) in [
        ("tables:\n\t- table: t\n", "indent with spaces"),
        ("tables:\n  - table: \"a\".\"b\"\n", "quote the value as a whole"),
    ] {
        let told = parse(text).unwrap_err().to_string();
        assert!(told.contains("this is not valid YAML") && told.contains(hint), "{told}");
    }
}

#[test]
fn a_password_beside_a_mistake_is_starred_out() {
    let text = format!("database: {{url: postgres://app:hunter2@db/x, user: me}}\n{}", one_table(""));
    let told = parse(&text).unwrap_err().to_string();
    assert!(told.contains("`user` is not a key of `database`"), "{told}");
    assert!(told.contains("app:*******@db"), "{told}");
}

/// Lines under one table, and what must be reported of them: `line:column: message`.
const REFUSED: &[(&str, &str)] = &[
    // what to partition by
    ("partition_by:", "5:17: `partition_by` must be a map, not nothing"),
    ("partition_by: {every: 1 month}", "5:19: the column to partition by"),
    ("partition_by: {range: a, list: b}", "5:36: `range` and `list` exclude each other"),
    ("partition_by: {range: a}", "`range` needs `every` or `bounds`"),
    ("partition_by: {range: a, every: day, bounds: [1, 2]}", "`every` and `bounds` exclude"),
    ("partition_by: {range: a, every: fortnight}", "5:37: `every: fortnight` is not a length"),
    ("partition_by: {range: a, every: 0 days}", "is not a length of time"),
    ("partition_by: {range: a, every: day, from: yesterday}", "`from: yesterday` is not a date"),
    ("partition_by: {range: a, every: month, from: 2024-01-15}", "write `2024-01-01`"),
    ("partition_by: {range: a, every: day, ahead: -1}", "`ahead` must be a whole number from 0 to 1000"),
    ("partition_by: {range: a, bounds: [1, 2], ahead: 1}", "`ahead` belongs to `every`"),
    ("partition_by: {range: a, bounds: [1]}", "`bounds` needs at least 2 entries"),
    ("partition_by: {range: a, bounds: [9, 10, 2]}", "5:46: the bound `2` is below"),
    ("partition_by: {range: a, bounds: [2024-02-01, 2024-01-01]}", "the bound `2024-01-01` is below"),
    ("partition_by: {range: a, bounds: [1, 1.0]}", "the bound `1.0` is given twice"),
    ("partition_by: {range: a, bounds: [x, y, x]}", "the bound `x` is given twice"),
    ("partition_by: {range: a, bounds: [1, null]}", "`bounds` must be text, not nothing"),
    ("partition_by: {range: a, every: day, partitions: 3}", "`partitions` cannot be used with `range`"),
    ("partition_by: {range: a b, every: day}", "this is not a single SQL name"),
    ("partition_by: {list: a}", "`list` needs `partitions`"),
    ("partition_by: {list: a, partitions: 4}", "needs names with their values"),
    ("partition_by: {list: a, partitions: {}}", "needs names with their values"),
    ("partition_by: {list: a, partitions: {x: []}}", "`x` needs at least 1 entry"),
    ("partition_by: {list: a, partitions: {x: [1, 2], y: [3, 1]}}", "it is already in `x`"),
    ("partition_by: {list: a, partitions: {x: [null], y: [null]}}", "the value `null` is given twice"),
    ("partition_by: {list: a, every: day, partitions: {x: [1]}}", "`every` cannot be used with `list`"),
    ("partition_by: {list: a, partitions: {default: [1]}}", "two relations would be called `t_default`"),
    ("partition_by: {hash: a}", "say how many"),
    ("partition_by: {hash: a, partitions: {x: [1]}}", "`partitions` of `hash` must be a number"),
    ("partition_by: {hash: a, partitions: 0}", "a whole number from 1 to 1000"),
    ("partition_by: {hash: a, partitions: 1001}", "a whole number from 1 to 1000"),
    ("partition_by: {hash: a, partitions: 4, default: true}", "`default: true` with `hash`"),
    ("partition_by: {hash: a, partitions: 4, default: 'true'}", "without quotes"),
    // the partitions' names
    ("partition_by: {hash: a, partitions: 4, name: '{table}_{from}'}", "`{from}` is not one of {table}, {n}"),
    (
        "partition_by: {range: a, every: day, name: '{table}_{from:%Y}'}",
        "two relations would be called `t_2000`",
    ),
    ("partition_by: {range: a, every: day, name: same}", "all would get the same name"),
    ("partition_by: {range: a, bounds: [1, 2], name: 'p{from}'}", "the bounds are not dates"),
    (
        "partition_by: {hash: a, partitions: 11, name: 'p123456789012345678901234567890123456789012345678901234567890_{n}'}",
        "has 64 bytes",
    ),
    // keys and names
    ("primary_key: []", "`primary_key` needs at least 1 entry"),
    ("primary_key: [a, A]", "5:22: `primary_key` has `a` twice"),
    ("primary_key: id", "`primary_key` must be a list, not a single value"),
    ("primary_key: [a]\npartition_by: {hash: b, partitions: 2}", "`primary_key: [a, b]`"),
    ("primary_key: [a]\ncolumns: {a: drop}", "`a` is a column that this plan drops"),
    ("primary_key: [a]\ncolumns: {a: {rename: b}}", "the new table calls it `b`"),
    (
        "partition_by: {hash: a, partitions: 2}\ncolumns: {a: drop}",
        "5:26: `a` is a column that this plan drops",
    ),
    ("replica_identity: default", "`replica_identity` must be `full`, not `default`"),
    ("drop_indexes: [a, a]", "`drop_indexes` has `a` twice"),
    // columns
    ("columns: {a: dorp}", "5:18: `a` must be `drop`, not `dorp`"),
    ("columns: {a: dorp}", "did you mean `drop`?"),
    ("columns: {a: }", "`a` must be `drop`, or a map, not nothing"),
    ("columns: {a: {}}", "no change is given for this column"),
    ("columns: {a: {using: x}}", "`using` has no way back"),
    ("columns: {a: {using: x, one_way: false}}", "`using` has no way back"),
    ("columns: {a: {using: x, back: y, one_way: true}}", "says there is no way back"),
    ("columns: {a: {rename: b, back: y}}", "nothing to undo"),
    ("columns: {a: {rename: a}}", "already has this name"),
    ("columns: {a: {rename: c}, b: {rename: c}}", "5:31: two columns of the new table would be called `c`"),
    ("columns: {a: {rename: b}, b: {type: int}}", "two columns of the new table would be called `b`"),
    ("columns: {a: drop, A: drop}", "`A` is in `columns` twice"),
    ("columns: {a: {type: 'int, b int'}}", "a comma here"),
    ("columns: {a: {type: 'int; drop table x'}}", "a `;` would end the statement"),
    ("columns: {a: {encrypt: {}}}", "`encrypt` needs keys, and the plan has none"),
    ("columns: {a: {encrypt: {format: aes}}}", "`format` must be one of `pgp`, `aes-gcm`, not `aes`"),
    ("columns: {a: {encrypt: {}, type: text}}", "`type` does not go with `encrypt`"),
    ("columns: {a b: drop}", "5:15: `a b`: this is not a single SQL name"),
    ("add_columns: [a int, A text]", "two columns of the new table would be called `a`"),
    ("add_columns: [b]", "this column has no type"),
    ("add_columns: [b int]\ncolumns: {a: {rename: b}}", "two columns of the new table would be called `b`"),
    // indexes
    ("indexes: [create index i on u (a)]", "this index is on `public.u`, but is listed under `public.t`"),
    ("indexes: [create index i on s.t (a)]", "this index is on `s.t`"),
    ("indexes: [create index i on t (a), create index I on t (b)]", "the index `i` is in this plan twice"),
    ("indexes: [create index if not exists i on t (a)]", "leave out `if not exists`"),
    ("in_place: true", "5:15: `in_place` needs `indexes`"),
    (
        "in_place: true\nindexes: [create index i on t (a)]\npartition_by: {hash: a, partitions: 2}",
        "`partition_by` needs a new table, and `in_place` builds none",
    ),
    (
        "in_place: true\nindexes: [create index i on t (a)]\ntriggers: create trigger x after insert on t execute function f()",
        "`triggers` needs a new table",
    ),
    // keys of the contract and none
    ("uniqueness: no", "`uniqueness`"),
    (
        "uniqueness: none\ninbound_foreign_keys: registry",
        "`uniqueness: none` contradicts `inbound_foreign_keys: registry`",
    ),
    ("policies: []", "`policies` must be text, or a map, not a list"),
    ("partion_by: {}", "did you mean `partition_by`?"),
    ("nonsense: 1", "the keys of a table are `table`, `partition_by`"),
    ("table: public.u", "5:5: `table` is written twice"),
    ("indexes: {a: 1}", "`indexes` must be a list, not a map"),
    ("indexes: [[a]]", "`indexes` must be text, not a list"),
];

fn with_settings(settings: &str) -> String {
    format!("settings: {settings}\n{}", one_table(""))
}

/// Each plan is rejected with these words; those that are not are reported at once.
fn must_say(plans: impl Iterator<Item = (String, &'static str)>) {
    let wrong: Vec<String> = plans
        .filter_map(|(text, expected)| match parse(&text) {
            Ok(_) => Some(format!("{text}\nshould say: {expected}\nbut was read")),
            Err(problems) if problems.to_string().contains(expected) => None,
            Err(problems) => Some(format!("{text}\nshould say: {expected}\nbut said:\n{problems}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_mistake_under_a_table_is_told_in_its_place() {
    must_say(REFUSED.iter().map(|(lines, expected)| (one_table(lines), *expected)));
}

/// Plans that are refused for what is outside a table.
const REFUSED_AS_A_WHOLE: &[(&str, &str)] = &[
    ("[1]", "`the plan` must be a map"),
    ("just text", "`the plan` must be a map"),
    ("name: x\ntables: [{table: t}]", "`version` is missing from a plan"),
    ("version: 1\ntables: [{table: t}]", "`name` is missing from a plan"),
    ("version: 1\nname: x", "`tables` is missing from a plan"),
    ("version: 1\nname: x\ntables: []", "`tables` needs at least 1 entry"),
    ("version: 1\nname: x\ntables:", "`tables` must be a list, not nothing"),
    ("version: '2'\nname: x\ntables: [{table: t}]", "`version` must be 1, not `2`"),
    ("version: 1\nname: 1x\ntables: [{table: t}]", "`name: 1x` is not a plan's name"),
    ("version: 1\nname: x\ntables: [{}]", "`table` is missing from a table"),
    ("version: 1\nname: x\ntables: [{table: t}, {table: public.T}]", "`public.t` is in this plan twice"),
    ("version: 1\nname: x\ntables: [{table: a.b.c}]", "this is not a table's name"),
    ("version: 1\nname: x\ntables: [{table: \"\"}]", "`table` must be text"),
    (
        "version: 1\nname: x\ntables: [{table: a, indexes: [create index i on a (x)]}, {table: b, indexes: [create index i on b (x)]}]",
        "the index `i` is in this plan twice",
    ),
    ("version: 1\nname: x\nkeys: []\ntables: [{table: t}]", "`keys` must be a map, not a list"),
    (
        "version: 1\nname: x\nkeys: {provider: {file: a, env: B}, active: 6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11}\ntables: [{table: t}]",
        "`provider` is one place where the keys come from",
    ),
    (
        "version: 1\nname: x\nkeys: {provider: {file: a}, active: sesame}\ntables: [{table: t}]",
        "`active: sesame` is not a key's id, which is a UUID",
    ),
    (
        "version: 1\nname: x\ntables: [{table: t, in_place: true, indexes: [create index i on t (a)]}]\n\
         steps: [{name: s, when: after_swap, up: select 1, one_way: true}]",
        "step `s` would never be executed: no table of the plan is copied",
    ),
    (
        "version: 1\nname: x\ntables: [{table: t, in_place: true, indexes: [create index i on t (a)]}]\n\
         gates: [{name: g, sql: select true}]",
        "gate `g` would never be asked",
    ),
    (
        "version: 1\nname: x\ntables: [{table: t}]\ngates: [{name: g, sql: select 1, expect: 'p95 <= 1'}]",
        "only `compare` has an `expect`",
    ),
    ("version: 1\nname: x\nSettings: {}\ntables: [{table: t}]", "did you mean `settings`?"),
];

#[test]
fn each_mistake_of_the_whole_is_told() {
    must_say(REFUSED_AS_A_WHOLE.iter().map(|(text, expected)| ((*text).to_owned(), *expected)));
    assert!(parse(&one_table("").replace("name: one", &format!("name: {}", "a".repeat(40)))).is_ok());
    assert!(parse(&one_table("").replace("name: one", &format!("name: {}", "a".repeat(41)))).is_err());
}

/// One line of settings, and what must be reported of it.
const REFUSED_SETTINGS: &[(&str, &str)] = &[
    ("{workers: 0}", "`workers` must be a whole number from 1 to 64, not `0`"),
    ("{workers: 65}", "`workers` must be a whole number from 1 to 64, not `65`"),
    ("{workers: four}", "`workers` must be a whole number"),
    ("{chunk_size: 63KiB}", "`chunk_size` must be a size from 64KiB to 1GiB, not `63KiB`"),
    ("{chunk_size: 2GiB}", "`chunk_size` must be a size"),
    ("{chunk_size: 16}", "a number and a unit, as in `64KiB`"),
    ("{max_snapshot_age: 30}", "a number and a unit, as in `300ms`"),
    ("{wal_budget: none}", "`wal_budget` must be a size"),
    ("{soak: 1 month}", "`soak` must be a duration from 0ms to 90d"),
    ("{swap: {lock_timeout: 1s}}", "`lock_timeout` must be a duration from 10ms to 999ms, not `1s`"),
    ("{swap: {lock_timeout: 9ms}}", "`lock_timeout` must be a duration"),
    ("{swap: {max_write_stall: 49ms}}", "`max_write_stall` must be a duration from 50ms to 10m"),
    ("{swap: {attempts: 0}}", "`attempts` must be a whole number from 1"),
    ("{swap: {window: '02:00-05:00'}}", "say in which time zone: \"02:00-05:00 UTC\""),
    (
        "{swap: {terminate_blockers: idle}}",
        "must be one of `never`, `idle_in_transaction`, `all`, not `idle`",
    ),
    ("{throttle: {max_active_sessions: many}}", "`max_active_sessions` must be a whole number"),
    ("{throttle: {query: 'select 1; select 2'}}", "a `;` would end the statement"),
    ("{throttle: {max_lag: 1s}}", "`max_lag` is not a key of `throttle`"),
];

#[test]
fn each_setting_has_its_limits() {
    must_say(REFUSED_SETTINGS.iter().map(|(settings, expected)| (with_settings(settings), *expected)));
}

/// What a schema of this kind can see is wrong; used by the schema's own test.
pub(super) fn plans_refused() -> impl Iterator<Item = String> {
    let tables = REFUSED.iter().map(|(lines, _)| one_table(lines));
    let wholes = REFUSED_AS_A_WHOLE.iter().map(|(text, _)| (*text).to_owned());
    let settings = REFUSED_SETTINGS.iter().map(|(settings, _)| with_settings(settings));
    tables.chain(wholes).chain(settings)
}

#[test]
fn a_tag_has_a_key_of_its_own_and_goes_with_the_format_pgp() {
    let [active, index, tag] =
        ["6f2d1c1e", "0b0e7a39", "7d0f2f6c"].map(|id| format!("{id}-0f6b-4a53-9a43-2f7b8b1f2f11"));
    let of = |keys: &str, encrypt: &str| {
        let keys =
            format!("keys: {{provider: {{env: K}}, active: {active}, blind_index: {index}{keys}}}\ntables:");
        parse(&one_table(&format!("columns: {{a: {{encrypt: {{{encrypt}}}}}}}")).replace("tables:", &keys))
    };
    let third = format!(", tag: {tag}");
    assert!(of(&third, "tag: true").is_ok());
    let long = format!("into: {}, tag: true", "l".repeat(62));
    assert!(of(&third, "tag: mark, blind_index: '\"By A\"'").is_ok());
    for (keys, encrypt, what) in [
        ("", "tag: true", "`tag` needs a key of its own"),
        (&third, "tag: true, format: aes-gcm", "`tag` goes with the format pgp"),
        ("", "tag: mark", "`tag` needs a key of its own"),
        (&third, &long, "has 66 bytes, and PostgreSQL keeps 63"),
        (&third, "tag: mark, blind_index: mark", "two columns of the new table would be called `mark`"),
        (&third, "tag: yes", "this is neither `true` or `false` nor a column's name"),
        (&third, "blind_index: 'true'", "this is neither `true` or `false` nor a column's name"),
        (&third, "blind_index: by a", "not a single SQL name"),
        (&format!(", tag: {active}"), "", "`tag` is the key of something else"),
        (&format!(", tag: {index}"), "", "`tag` is the key of something else"),
    ] {
        let problems = of(keys, encrypt).unwrap_err().to_string();
        assert!(problems.contains(what), "{what}: {problems}");
    }
}
