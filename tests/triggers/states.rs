//! States that a swap would not keep: of a trigger on one partition, and of the server's own triggers of constraints.

use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

const PARTS: &str = "
create function f() returns trigger language plpgsql as 'begin return null; end';
create table p (id int not null, at int not null, a text, primary key (id, at)) partition by range (at);
create table p1 partition of p for values from (0) to (100);
create table p2 partition of p for values from (100) to (200) partition by list (id);
create table p2_rest partition of p2 default;
create trigger tr after insert on p for each row execute function f();
create trigger tr_off after insert on p for each row execute function f();
create constraint trigger late after insert on p deferrable for each row execute function f();
alter table p disable trigger tr_off;
insert into p select g, g % 200 from generate_series(1, 500) g;
";

const PARTS_PLAN: &str = "
version: 1
name: states
settings: {workers: 1, soak: 1h}
tables:
  - table: public.p
    partition_by: {range: at, bounds: [0, 100, 200], name: \"{table}_n{n}\"}
";

const KEYS: &str = "
create table t (id int primary key, a int, b int references t);
create table kid (tid int references t, ok boolean) partition by range (tid);
create table kid1 partition of kid for values from (minvalue) to (maxvalue);
insert into t select g, g, 1 from generate_series(1, 500) g; insert into kid select id from t;
";

const KEYS_PLAN: &str = "
version: 1
name: states
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";

/// With what is said, which names the trigger, the partition and its parent.
const OF_PARTITIONS: [(&str, &str); 5] = [
    ("alter table p1 disable trigger tr", "trigger tr on public.p1 is disabled, and enabled on public.p"),
    (
        "alter table only p enable trigger tr_off",
        "trigger tr_off on public.p1 is disabled, and enabled on public.p",
    ),
    (
        "alter table p1 enable trigger tr_off",
        "trigger tr_off on public.p1 is enabled, and disabled on public.p",
    ),
    (
        "alter table p2_rest enable always trigger tr",
        "trigger tr on public.p2_rest is ENABLE ALWAYS, and enabled on public.p2",
    ),
    (
        "alter table p2_rest enable replica trigger late",
        "trigger late on public.p2_rest is ENABLE REPLICA, and enabled on public.p2",
    ),
];

/// Sets the state of all internal triggers of a table.
fn set(state: &str, table: &str) -> String {
    format!(
        "do $$ declare g name; begin for g in select tgname from pg_trigger where tgrelid = '{table}'::regclass and tgisinternal loop
         execute format('alter table {table} enable {state} trigger %I', g); end loop; end $$"
    )
}

fn of_constraints() -> Vec<(String, &'static str)> {
    let kid = "foreign key kid_tid_fkey on public.kid, whose trigger on public.kid is disabled";
    let leaf = "foreign key kid_tid_fkey on public.kid1, whose trigger on public.kid1 is disabled";
    let itself = "foreign key t_b_fkey on public.t, whose trigger on public.t is disabled";
    let referenced = "foreign key kid_tid_fkey on public.kid, whose trigger on public.t is disabled";
    let always = "foreign key kid_tid_fkey on public.kid1, whose trigger on public.kid1 is ENABLE ALWAYS";
    let replica = "foreign key t_b_fkey on public.t, whose trigger on public.t is ENABLE REPLICA";
    vec![
        ("alter table kid disable trigger all".to_owned(), kid),
        ("alter table kid1 disable trigger all".to_owned(), leaf),
        ("alter table t disable trigger all".to_owned(), itself),
        ("alter table t disable trigger all".to_owned(), referenced),
        (set("always", "kid1"), always),
        (set("replica", "t"), replica),
    ]
}

/// Whether `check` says it, and passes again once all that it says to type is typed.
fn is_refused(cluster: &Cluster, program: &Bluegreen, sql: &str, what: &str) {
    cluster.psql(DB, sql);
    let checked = program.run("check", &[]).expect_code(3);
    let found = checked.refusals();
    assert!(
        found.iter().any(|finding| finding["what"].as_str().unwrap().ends_with(what)),
        "{sql}: {found:#?}"
    );
    for finding in found {
        let hint = finding["hint"].as_str().unwrap();
        cluster.psql(DB, hint.split(',').next().unwrap());
    }
    program.run("check", &[]).expect_code(0);
}

fn stops(cluster: &Cluster, program: &Bluegreen, sql: &str, what: &str) {
    cluster.psql(DB, sql);
    let stopped = program.execute(&["--yes"]).expect_code(1);
    assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
}

fn states(cluster: &Cluster, tables: &str) -> String {
    let sql = format!(
        "select tgrelid::regclass, tgname, tgenabled from pg_trigger where tgrelid::regclass::text ~ '{tables}' order by 1, 2"
    );
    cluster.psql(DB, &sql)
}

#[test]
fn a_trigger_with_another_state_on_a_partition_is_refused_and_noticed() {
    let cluster = Cluster::start();
    cluster.psql(DB, PARTS);
    let program = Bluegreen::new(&cluster, DB).plan(PARTS_PLAN);
    for (sql, what) in OF_PARTITIONS {
        is_refused(&cluster, &program, sql, what);
        // One of the hints is as good as another one.
        cluster.psql(DB, "alter table p disable trigger tr_off");
    }
    let before = states(&cluster, "^p(1|2|2_rest)?$");
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, what) in OF_PARTITIONS {
        stops(&cluster, &program, sql, what);
        cluster.psql(DB, "alter table p enable trigger user; alter table p disable trigger tr_off");
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let live = "select string_agg(distinct concat(tgname, tgenabled), ' ') from pg_trigger where tgrelid in
                (select relid from pg_partition_tree('p'))";
    assert_eq!(cluster.psql(DB, live).trim(), "lateO trO tr_offD");
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(states(&cluster, "^p(1|2|2_rest)?$"), before);
}

#[test]
fn a_foreign_key_that_is_not_enforced_as_usual_is_refused_and_noticed() {
    let cluster = Cluster::start();
    cluster.psql(DB, KEYS);
    let program = Bluegreen::new(&cluster, DB).plan(KEYS_PLAN);
    // In version 14 a partitioned table that references has no triggers of its own.
    let of_kid = "select count(*) from pg_trigger where tgrelid = 'kid'::regclass";
    let is_on_kid = cluster.psql(DB, of_kid).trim() != "0";
    let is_possible = |sql: &str| is_on_kid || sql != "alter table kid disable trigger all";
    let of_constraints = || of_constraints().into_iter().filter(|(sql, _)| is_possible(sql));
    for (sql, what) in of_constraints() {
        is_refused(&cluster, &program, &sql, what);
    }
    let usual = "alter table kid enable trigger all; alter table kid1 enable trigger all; alter table t enable trigger all";
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, what) in of_constraints() {
        stops(&cluster, &program, &sql, what);
        cluster.psql(DB, usual);
    }
    let other = "select count(*) from pg_trigger where tgisinternal and tgenabled <> 'O'";
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    for (sql, what) in [
        ("alter table kid disable trigger all", "the state of constraint kid_tid_fkey of public.kid is new"),
        ("alter table t disable trigger all", "the state of constraint kid_tid_fkey of public.kid is new"),
    ] {
        cluster.psql(DB, sql);
        if cluster.psql(DB, other).trim() == "0" {
            assert!(!is_on_kid, "{sql} has no effect");
            continue;
        }
        let stopped = program.run("rollback", &[]).expect_code(1);
        assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
        cluster.psql(DB, usual);
    }
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(cluster.psql(DB, other).trim(), "0");
}
