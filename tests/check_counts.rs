//! What `check` counts in the rows of a table before anything is changed.

use serde_json::Value;

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster};

const PLAN: &str = "version: 1
name: counts
tables:
  - table: public.v
    partition_by: {range: at, every: 1 month}
    primary_key: [id, at]
";

const TABLE: &str = "create table v (id bigint generated always as identity primary key, at timestamptz not null,
    note text, amount integer default 1);
    insert into v (at, note) select timestamptz '2025-01-01' + n * interval '1 hour', 'n' || n from generate_series(0, 999) n;";

struct Stage(Cluster);

impl Stage {
    fn set() -> Self {
        Self(Cluster::start())
    }

    /// What `check` finds in a database that `sql` has made.
    fn found(&self, db: &str, sql: &str, plan: &str, code: i32) -> Vec<Value> {
        self.0.create_db(db);
        self.0.psql(db, sql);
        let checked = Bluegreen::new(&self.0, db).plan(plan).run("check", &[]).expect_code(code);
        checked.events_of("finding").into_iter().cloned().collect()
    }
}

#[track_caller]
fn expect(found: &[Value], check: &str, what: &str, hint: &str) {
    let is_it = |finding: &Value| finding["check"] == check && tells(finding, what, hint);
    assert!(found.iter().any(is_it), "{what} / {hint}: {found:#?}");
}

#[test]
fn rows_that_break_a_rule_are_counted_for_each_rule() {
    let stage = Stage::set();
    let broken = format!(
        "{TABLE}
         create function few(amount integer) returns boolean language sql immutable as 'select true';
         create domain word as text check (value <> 'n7') not null;
         alter table v add constraint few check (few(amount)), alter note type word;
         create or replace function few(amount integer) returns boolean language sql immutable as 'select amount > 1';
         update v set amount = 2 where id <= 990;
         alter table v add constraint young check (at >= '2025-01-02') not valid;
         update pg_constraint set convalidated = true where conname = 'young';"
    );
    let found = stage.found("broken", &broken.replace("value <> 'n7'", "value <> ''"), PLAN, 3);
    expect(&found, "rows", "10 rows break CHECK few", "where NOT (public.few(amount))");
    expect(
        &found,
        "rows",
        "24 rows break CHECK young",
        "drop constraint young, add constraint young check (...) not valid",
    );
    assert_eq!(found.len(), 2, "{found:#?}");

    let domain = format!("{TABLE} create domain word as text check (value <> '-') not null; alter table v alter note type word;
        alter domain word drop constraint word_check;
        alter domain word add constraint short check (length(value) < 4 and value <> 'value') not valid;
        update pg_constraint set convalidated = true where conname = 'short';
        insert into v (at, note) select '2025-01-01', w.note from (values (1)) one(n) left join v w on w.id < 0;");
    let found = stage.found("domain", &domain, PLAN, 3);
    expect(
        &found,
        "rows",
        "900 rows break CHECK short of domain public.word",
        "change these rows: select * from",
    );
    expect(&found, "rows", "1 rows break NOT NULL of domain public.word", "num_nulls");
}

#[test]
fn values_that_the_plan_cannot_compute_are_found() {
    let stage = Stage::set();
    let plan = "version: 1\nname: counts\ntables:\n  - table: public.v\n    columns:\n      ";
    let found = stage.found("cast", TABLE, &format!("{plan}note: {{type: integer}}\n"), 3);
    expect(
        &found,
        "rows",
        "values of note that do not fit integer cannot be counted",
        "change `using` of note",
    );
    let using = "amount: {using: 'nullif(id, 5)', one_way: true}";
    let not_null = format!(
        "{TABLE} alter table v alter amount set not null, add constraint small check (amount <= 990)"
    );
    let found = stage.found("nulls", &not_null, &format!("{plan}{using}\n"), 3);
    expect(
        &found,
        "rows",
        "1 rows would break NOT NULL of amount with their new value of amount",
        "`using` of amount",
    );
    expect(
        &found,
        "rows",
        "10 rows would break CHECK small with their new value of amount",
        "`using` of amount",
    );
}

const SQUASH: &str = "create schema app;
    create table app.kinds (name text);
    create function app.squash(t text) returns text language sql immutable as $$select lower(t)$$;
    create function app.norm(t text) returns text language sql immutable set search_path = app as $$select squash(t)$$;
    create function app.outer_norm(t text) returns text language plpgsql immutable as $$begin return app.norm(t); end$$;";

/// From 17 on, no index can be made of a function that needs its clients' `search_path`; one that has become so stays.
const RESET: &str = "alter function app.norm(text) reset search_path;";

#[test]
fn a_function_that_needs_its_clients_search_path_is_named_with_what_to_type() {
    let stage = Stage::set();
    let hint = "alter function app.norm(t text) set search_path = app";
    for (db, sql, root) in [
        ("inlined", "create index v_norm on v (app.norm(note))", "index v_norm"),
        ("called", "create index v_norm on v (app.outer_norm(note))", "index v_norm"),
        ("predicate", "create index v_norm on v (id) where app.norm(note) = 'n1'", "index v_norm"),
        ("rule", "alter table v add constraint normal check (app.norm(note) <> '')", "constraint normal"),
        ("computed", "alter table v add n text generated always as (app.norm(note)) stored", "column n"),
        (
            "domain",
            "create domain word as text check (app.norm(value) <> ''); alter table v alter note type word",
            "column note",
        ),
    ] {
        let sql = format!(
            "{SQUASH} set search_path = app, public; {}; {RESET}",
            format!("{TABLE} {sql}").replace("table v ", "table public.v ")
        );
        let found = stage.found(db, &sql, PLAN, 3);
        expect(
            &found,
            "functions",
            &format!("{root} calls function app.norm(t text), which names function squash"),
            hint,
        );
        assert_eq!(found.len(), 1, "{found:#?}");
        stage.0.psql(db, hint);
        Bluegreen::new(&stage.0, db).plan(PLAN).execute(&["--yes"]).expect_code(0);
    }
    // What only the execution can tell: the text of a dictionary's name.
    let words = format!(
        "{TABLE} {SQUASH} create text search dictionary app.words (template = pg_catalog.simple);
        create function app.stem(t text) returns text[] language sql immutable set search_path = app
        as $$select ts_lexize('words', t)$$;
        create index v_stem on public.v (app.stem(note)); alter function app.stem(text) reset search_path;"
    );
    let found = stage.found("dictionary", &words, PLAN, 3);
    expect(&found, "functions", "text search dictionary", "set search_path");
    let policy = format!("{TABLE} {SQUASH} {RESET} alter table v enable row level security;
        create policy p on v using (app.norm(note) <> 'x'); alter table v alter note set default app.norm('X');");
    stage.found("clients", &policy, PLAN, 0);
    let plan = PLAN.replace(
        "    primary_key",
        "    columns: {note: {using: app.norm(note), one_way: true}}\n    primary_key",
    );
    let found = stage.found("using", &format!("{TABLE} {SQUASH} {RESET}"), &plan, 3);
    let hint = "change the plan so that this statement works: INSERT INTO ";
    expect(&found, "rehearsal", "function squash(text) does not exist", hint);
}

#[test]
fn whoever_may_read_the_whole_database_can_dump_it_in_every_phase() {
    let stage = Stage::set();
    stage.0.create_db("dump");
    stage.0.psql(
        "dump",
        &format!(
            "create role backup login; grant pg_read_all_data to backup; create role anon login;
        alter default privileges grant select on tables to anon; {TABLE} revoke all on v from anon;
        create table w (like v including all); alter table w enable row level security"
        ),
    );
    let plan = format!(
        "{PLAN}  - table: public.w\n    partition_by: {{range: at, every: 1 month}}\n    primary_key: [id, at]\n"
    );
    let program = Bluegreen::new(&stage.0, "dump").plan(&plan);
    let reads = |role: &str, table: &str| {
        let privilege = format!("select has_table_privilege('{role}', '{table}', 'select')");
        stage.0.psql("dump", &privilege).trim() == "t"
    };
    let dumps = || {
        // Row security of blue hides rows from a backup as it did before.
        let sql = "select string_agg(format('select count(*) from %s', oid::regclass), '; ') from pg_class
            where relkind = 'r' and relnamespace::regnamespace::text !~ '^(pg_|information)' and not relrowsecurity";
        let sql = stage.0.psql("dump", sql);
        stage.0.psql("dump", &format!("set role backup; set row_security = off; {sql}"));
    };
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    dumps();
    let leaves = "select relname from pg_class where relispartition and relkind = 'r'";
    let unguarded = "select count(*) from pg_class where relkind = 'r' and relispartition and relrowsecurity <> (relname like 'w%')";
    for leaf in stage.0.psql("dump", leaves).lines() {
        assert!(!reads("anon", leaf), "{leaf}");
    }
    assert_eq!(stage.0.psql("dump", unguarded).trim(), "0");
    program.execute(&["--yes"]).expect_code(0);
    dumps();
    program.run("finish", &["--yes"]).expect_code(0);
    dumps();
    assert_eq!(stage.0.psql("dump", unguarded).trim(), "0");
}

#[test]
fn generated_columns_in_a_replica_identity_are_refused_where_clients_would_fail() {
    let stage = Stage::set();
    let version = stage.0.psql("postgres", "show server_version_num").trim().parse::<u32>().unwrap();
    let table = TABLE.replace("note text", "note text, long int generated always as (length(note)) stored");
    let own = format!("{table} alter table v replica identity full");
    let of_plan = format!("{PLAN}    replica_identity: full\n");
    let back = "alter table public.v replica identity default";
    for (db, sql, plan, hint) in [
        ("own_full", &own, PLAN, back.to_owned()),
        ("plan_full", &table, &of_plan, "take `replica_identity: full` out of the plan".to_owned()),
        ("both_full", &own, &of_plan, format!("take `replica_identity: full` out of the plan; and {back}")),
    ] {
        let found = stage.found(db, sql, plan, if version < 180_000 { 0 } else { 3 });
        if version < 180_000 {
            assert!(found.iter().all(|finding| finding["severity"] == "note"), "{found:#?}");
        } else {
            expect(&found, "replica_identity", "column long is generated", &hint);
        }
    }
    if version >= 180_000 {
        let rejected = "create publication p for table v;
            do $$ begin update v set note = 'x'; assert false, 'updated';
            exception when others then assert sqlerrm like 'cannot update table%', sqlerrm; end $$";
        stage.0.psql("own_full", rejected);
        let unread = table.replace("stored", "virtual");
        let found = stage.found("virtual", &format!("{unread} alter table v replica identity full"), PLAN, 3);
        expect(&found, "replica_identity", "column long is generated", back);
    }
}

/// Each makes green, and rolls it back; others may be in the middle of that for any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_at_the_same_time_are_not_in_each_others_way() {
    let stage = Stage::set();
    let other = stage.0.client("postgres").await;
    let earlier = "begin; create schema projh_bg_check_blue; create schema projh_bg_check_green";
    other.batch_execute(earlier).await.unwrap();
    let tables = ["a", "b", "c", "d"].map(|name| {
        TABLE.replace("table v", &format!("table {name}")).replace("into v", &format!("into {name}"))
    });
    stage.0.psql("postgres", &tables.concat());
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let plan = PLAN.replace("counts", name).replace("public.v", &format!("public.{name}"));
            let program = Bluegreen::new(&stage.0, "postgres").plan(&plan);
            scope.spawn(move || (0..3).for_each(|_| drop(program.run("check", &[]).expect_code(0))));
        }
    });
}
