//! Settings of roles, databases and the server that reach the program's sessions: none changes what a run does, and none
//! writes a row's value to the server's log.

use crate::support::{Bluegreen, Cluster, Finished};

const PLAN: &str = "
version: 1
name: settings
settings: {workers: 2}
tables:
  - table: public.v
    partition_by: {range: at, every: 1 month}
    primary_key: [id, at]
";

const ROLES: &str = "create role app_owner; create role deploy login replication in role app_owner;
    grant create on database postgres to app_owner, deploy; grant all on schema public to app_owner, deploy;
    grant pg_read_all_stats to deploy;
    set role app_owner;
    create table v (id bigint generated always as identity primary key, at timestamptz not null, note text);
    insert into v (at, note) select timestamptz '2025-01-01' + n * interval '1 hour', 'n' from generate_series(0, 999) n;
    reset role;";

const SLOTS: &str = "select count(*) from pg_replication_slots";

#[test]
fn a_role_that_becomes_another_at_login_runs_as_itself() {
    let hostile = [
        "alter role deploy set role = app_owner",
        "alter role deploy set transform_null_equals = on; alter role deploy set gin_fuzzy_search_limit = 1",
        "alter role deploy set default_transaction_deferrable = on; alter role deploy set plan_cache_mode = force_generic_plan",
        "alter database postgres set role = app_owner",
    ];
    let cluster = Cluster::start();
    cluster.psql("postgres", ROLES);
    for sql in hostile {
        cluster.psql("postgres", sql);
    }
    let program = Bluegreen::new(&cluster, "postgres")
        .env("PGUSER", "deploy")
        .env("PGOPTIONS", "-c role=app_owner")
        .plan(PLAN);
    program.execute(&["--until", "copy"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(cluster.psql("postgres", SLOTS).trim(), "0");
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(cluster.psql("postgres", SLOTS).trim(), "0");
    assert_eq!(cluster.psql("postgres", "select count(*) from v").trim(), "1000");
}

/// In rows, and in the changes that come while the run is under way.
const CANARY: &str = "Zyxomma-0815";

/// As a client whose own statements are not logged.
async fn change(cluster: &Cluster, sql: &str) {
    let client = cluster.client("postgres").await;
    let quiet = "set log_statement = none; set log_min_duration_statement = -1; set log_min_messages = fatal;
                 set auto_explain.log_min_duration = -1; set debug_print_plan = off";
    client.batch_execute(quiet).await.unwrap();
    client.batch_execute(sql).await.unwrap();
}

fn expect_silence(cluster: &Cluster, finished: &Finished) {
    for text in [&cluster.log(), &finished.stdout, &finished.stderr] {
        assert!(!text.contains(CANARY), "{:?}", text.lines().find(|line| line.contains(CANARY)));
    }
}

fn logs_everything() -> Cluster {
    let settings = [
        ("log_statement", "all"),
        ("log_min_duration_statement", "0"),
        ("log_error_verbosity", "verbose"),
        ("log_parameter_max_length_on_error", "-1"),
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_verbose", "on"),
        ("debug_print_plan", "on"),
    ];
    settings
        .into_iter()
        .fold(Cluster::builder(), |builder, (name, value)| builder.setting(name, value))
        .start()
}

const TABLE: &str = "create table v (id text primary key, at timestamptz not null, note text, code text);
    insert into v select 'CANARY ' || n, timestamptz '2025-01-01' + n * interval '1 hour', 'CANARY', n
    from generate_series(0, 999) n";

const CODE: &str = "    columns: {code: {type: integer, using: 'code::integer', back: 'code::text'}}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_logs_everything_logs_no_value_of_a_row() {
    let cluster = logs_everything();
    change(&cluster, &TABLE.replace("CANARY", CANARY)).await;
    let program = Bluegreen::new(&cluster, "postgres").plan(&format!("{PLAN}{CODE}"));
    let checked = program.run("check", &[]).expect_code(0);
    assert!(!checked.stdout.contains("server_log"), "{}", checked.stdout);
    expect_silence(&cluster, &checked);
    expect_silence(&cluster, &program.execute(&["--until", "copy"]).expect_code(0));
    let changes =
        "update v set note = 'CANARY again' where at < '2025-01-05'; delete from v where id = 'CANARY 7'";
    change(&cluster, &changes.replace("CANARY", CANARY)).await;
    expect_silence(&cluster, &program.execute(&["--until", "verify"]).expect_code(0));
    // What the server says of a value that does not fit quotes it.
    change(&cluster, &format!("update v set code = '{CANARY}' where at < '2025-01-02'")).await;
    let failed = program.execute(&["--yes"]).expect_code(1);
    assert!(failed.stdout.contains("22P02"), "{}", failed.stdout);
    expect_silence(&cluster, &failed);
    change(&cluster, "update v set code = '1' where at < '2025-01-02'").await;
    assert!(cluster.log().contains("CREATE SCHEMA \"projh_bg_"), "statements are still logged");
}

#[test]
fn a_role_that_cannot_keep_values_out_of_the_servers_log_is_given_what_to_type() {
    let cluster = logs_everything();
    cluster.psql("postgres", ROLES);
    let program = Bluegreen::new(&cluster, "postgres").env("PGUSER", "deploy").plan(PLAN);
    let note = || {
        let checked = program.run("check", &[]).expect_code(0);
        let found = checked.events_of("finding").into_iter().find(|finding| finding["check"] == "server_log");
        found.map(|finding| finding["hint"].as_str().unwrap().to_owned())
    };
    let hint = note().expect("the role may set none of them");
    let settings = [
        "auto_explain.log_min_duration = '-1'",
        "log_min_messages = 'log'",
        "log_parameter_max_length = '0'",
    ];
    for setting in settings {
        assert!(
            hint.contains(&format!("alter role \"deploy\" in database \"postgres\" set {setting}")),
            "{hint}"
        );
    }
    cluster.psql("postgres", hint.strip_prefix("as a superuser: ").unwrap());
    assert_eq!(note(), None);
}

/// A type, the type that the plan wants, the `using` that is needed, and whether a cast alone is refused.
const CASTS: [(&str, &str, &str, bool); 14] = [
    ("timestamp", "timestamptz", "c at time zone 'Europe/Berlin'", true),
    ("timestamptz", "timestamp", "c at time zone 'Europe/Berlin'", true),
    ("timestamptz", "date", "(c at time zone 'Europe/Berlin')::date", true),
    ("date", "timestamptz", "c::timestamp at time zone 'Europe/Berlin'", true),
    ("timestamp[]", "timestamptz[]", "array[c[1] at time zone 'Europe/Berlin']", true),
    ("timestamptz", "text", "extract(epoch from c at time zone 'UTC')::text", true),
    ("text", "date", "make_date(c::integer, 1, 1)", true),
    ("money", "numeric", "null::numeric", true),
    ("bytea", "text", "encode(c, 'hex')", true),
    ("float8", "text", "c::numeric::text", true),
    ("date", "timestamp", "", false),
    ("text", "jsonb", "", false),
    ("json", "jsonb", "", false),
    ("integer[]", "bigint[]", "", false),
];

#[test]
fn a_cast_that_reads_settings_is_refused_until_the_plan_says_what_is_meant() {
    let cluster = Cluster::start();
    for (number, (was, is, using, refused)) in CASTS.into_iter().enumerate() {
        let table = format!("t{number}");
        cluster.psql("postgres", &format!("create table {table} (id integer primary key, c {was})"));
        let plan = |change: &str| {
            format!(
                "version: 1\nname: {table}\ntables:\n  - table: public.{table}\n    columns: {{c: {{type: '{is}'{change}}}}}\n"
            )
        };
        let program = Bluegreen::new(&cluster, "postgres").plan(&plan(", one_way: true"));
        let checked = program.run("check", &[]);
        let said =
            format!("column c cannot be cast from {was} to {is}").replace("float8", "double precision");
        assert_eq!(checked.code, Some(if refused { 3 } else { 0 }), "{was} -> {is}: {}", checked.stdout);
        assert_eq!(checked.stdout.contains("without `using`"), refused, "{said}: {}", checked.stdout);
        if refused {
            program.write_plan(&plan(&format!(", one_way: true, using: \"{using}\"")));
            let checked = program.run("check", &[]).expect_code(0);
            assert!(
                checked.events_of("finding").iter().all(|finding| finding["check"] != "using"),
                "{}",
                checked.stdout
            );
        }
    }
}

#[test]
fn a_using_that_reads_settings_is_noted() {
    let cluster = Cluster::start();
    cluster.psql("postgres", "create table t (id integer primary key, c timestamptz)");
    for using in ["c::date", "c", "to_char(c, 'YYYY')::integer + date '2000-01-01'", "current_date"] {
        let plan = format!(
            "version: 1\nname: t\ntables:\n  - table: public.t\n    columns: {{c: {{type: date, using: \"{using}\", one_way: true}}}}\n"
        );
        let checked = Bluegreen::new(&cluster, "postgres").plan(&plan).run("check", &[]).expect_code(0);
        assert_eq!(checked.finding("using")["severity"], "note", "{using}");
    }
}

#[test]
fn the_proposed_conversions_work() {
    let cluster = Cluster::start();
    cluster.psql(
        "postgres",
        "create table t (id integer primary key, c timestamp); insert into t values (1, '2026-01-01 09:00')",
    );
    let plan =
        "version: 1\nname: t\ntables:\n  - table: public.t\n    columns:\n      c: {type: timestamptz}\n";
    let program = Bluegreen::new(&cluster, "postgres").plan(plan);
    let refused = program.run("check", &[]).expect_code(3);
    let hint = refused.events_of("finding")[0]["hint"].as_str().unwrap().to_owned();
    let line = hint.split_once("meant: ").unwrap().1.replace("Area/City", "Europe/Berlin");
    program.write_plan(&plan.replace("c: {type: timestamptz}", &line));
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(
        cluster.psql("postgres", "set timezone = 'Europe/Berlin'; select c from t").trim(),
        "2026-01-01 09:00:00+01"
    );
}
