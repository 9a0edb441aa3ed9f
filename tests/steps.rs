//! `steps`: SQL around the swap, executed once at its time, and undone in reverse order.

use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, stage};

const BLUE: &str = "
create table public.t (id bigint primary key, note text);
insert into public.t select g, 'note ' || g from generate_series(1, 500) g;
create table public.log (n int generated always as identity, what text);
create table public.other (id int, twin int);
insert into public.other select g, g from generate_series(1, 100) g;";

const STEPS: &str = "
  - name: functions
    when: prepare
    up: {file: sql/functions.sql}
    down: drop function public.counted()
  - {name: first, when: before_swap, up: insert into log (what) values ('before'), down: insert into log (what) values ('not before')}
  - {name: an index, when: before_swap, up: create unique index concurrently twins on other (twin), down: drop index concurrently twins}
  - {name: a trigger, when: in_swap, up: create trigger counted after insert on t for each row execute function public.counted(), down: drop trigger counted on t}
  - {name: a word, when: in_swap, up: insert into log (what) values ('in'), one_way: true}
  - name: after
    when: after_swap
    up: \"insert into log (what) values ('after'); grant select on log to public\"
    down: \"insert into log (what) values ('not after'); revoke select on log from public\"
  - {name: last, when: finish, up: insert into log (what) values ('finish')}
";

const FUNCTIONS: &str = "-- counts
create function public.counted() returns trigger language plpgsql as $$
begin insert into public.log (what) values ('counted'); return null; end $$;
";

fn plan(steps: &str) -> String {
    format!(
        "
version: 1
name: steps
settings: {{workers: 1, soak: 1h}}
tables:
  - table: public.t
    partition_by: {{hash: id, partitions: 2}}
steps:{steps}"
    )
}

async fn set(cluster: &Cluster, steps: &str) -> (Client, Bluegreen) {
    let (client, program) = stage(cluster, BLUE, &plan(steps)).await;
    std::fs::create_dir(program.folder().join("sql")).unwrap();
    std::fs::write(program.folder().join("sql/functions.sql"), FUNCTIONS).unwrap();
    (client, program)
}

/// What the steps have written since the last time.
async fn log(client: &Client) -> String {
    let sql = "with gone as (delete from public.log returning *) select coalesce(string_agg(what, ' ' order by n), '') from gone";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn ask(client: &Client, sql: &str) -> bool {
    client.query_one(&format!("select {sql}"), &[]).await.unwrap().get(0)
}

const HAS_FUNCTION: &str = "to_regproc('public.counted') is not null";
const HAS_INDEX: &str =
    "coalesce((select indisvalid from pg_index where indexrelid = to_regclass('public.twins')), false)";
const HAS_TRIGGER: &str =
    "exists (select from pg_trigger where tgname = 'counted' and tgrelid = 'public.t'::regclass)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_are_executed_at_their_time_and_undone_in_reverse_whichever_way_a_run_goes() {
    let cluster = Cluster::start();
    let (client, program) = set(&cluster, STEPS).await;
    let dump = || {
        let dumped = cluster.pg_dump("postgres", &["--schema-only", "--exclude-schema=projh_bluegreen"]);
        dumped.lines().filter(|line| !line.contains("restrict")).collect::<Vec<_>>().join("\n")
    };
    let before = dump();
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    for (phase, sql, lock) in [
        ("prepare", FUNCTIONS.trim_end_matches(";\n").trim_start_matches("-- counts\n"), None),
        ("swap", "create unique index concurrently twins on other (twin)", Some("SHARE UPDATE EXCLUSIVE")),
        ("swap", "insert into log (what) values ('in')", Some("ROW EXCLUSIVE")),
        ("settle", "grant select on log to public", None),
        ("rollback", "drop function public.counted()", None),
        ("finish", "insert into log (what) values ('finish')", Some("ROW EXCLUSIVE")),
    ] {
        let steps = preview.events_of("preview_step");
        let shown = steps.iter().find(|step| step["phase"] == phase && step["sql"] == sql);
        let shown = shown.unwrap_or_else(|| panic!("{phase}: {sql}: {steps:#?}"));
        assert_eq!(shown["locks"][0]["mode"].as_str(), lock, "{shown}");
    }
    assert_eq!(dump(), before);

    // Before the swap.
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    assert!(ask(&client, HAS_FUNCTION).await && !ask(&client, HAS_INDEX).await);
    assert_eq!(log(&client).await, "");
    // Another text is another plan.
    std::fs::write(program.folder().join("sql/functions.sql"), FUNCTIONS.replace("counted'", "other'"))
        .unwrap();
    let changed = program.execute(&["--yes"]).expect_code(3);
    assert!(changed.error().contains("steps[functions].up"), "{}", changed.error());
    // A command that has the run's id, and no plan, undoes what the journal holds.
    program.say(&["rollback", "steps", "--json"]).expect_code(6);
    assert_eq!(dump(), before);
    std::fs::write(program.folder().join("sql/functions.sql"), FUNCTIONS).unwrap();

    // There.
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    assert_eq!(log(&client).await, "before in after");
    assert!(ask(&client, HAS_INDEX).await && ask(&client, HAS_TRIGGER).await);
    client.batch_execute("insert into t values (1001, 'x')").await.unwrap();
    assert_eq!(log(&client).await, "counted");
    // Back.
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(log(&client).await, "not after not before");
    assert!(
        ask(&client, HAS_FUNCTION).await
            && !ask(&client, HAS_INDEX).await
            && !ask(&client, HAS_TRIGGER).await
    );
    client.batch_execute("insert into t values (1002, 'x')").await.unwrap();
    assert_eq!(log(&client).await, "");
    // There again: what has no way back was done.
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(log(&client).await, "before after");
    assert!(ask(&client, HAS_INDEX).await && ask(&client, HAS_TRIGGER).await);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(log(&client).await, "finish");
    assert!(ask(&client, "(select count(*) = 502 from t)").await && ask(&client, HAS_TRIGGER).await);
}

/// A rollback undoes the last step, and cannot undo the one before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_not_finished_without_the_steps_that_a_rollback_has_undone() {
    const TWO: &str = "
  - {name: first, when: after_swap, up: create table aux (x int), down: drop table aux}
  - {name: second, when: after_swap, up: create table more (x int), down: drop table more}
";
    let cluster = Cluster::start();
    let (client, program) = set(&cluster, TWO).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("create view on_aux as select * from aux").await.unwrap();
    let failed = program.run("rollback", &[]).expect_code(1);
    assert!(failed.error().contains("undoing step `first` failed"), "{}", failed.error());
    assert!(ask(&client, "to_regclass('public.more') is null").await);

    let told = "a rollback that was cut short has undone step `second`";
    program.run("status", &[]).expect_words(&[told]);
    let refused = program.run("finish", &["--yes"]).expect_code(2);
    assert!(refused.error().contains("step `second` was undone"), "{}", refused.error());

    client.batch_execute("drop view on_aux").await.unwrap();
    let goes_on = program.spawn("execute", &["--yes"]);
    goes_on.wait_for("soaking");
    assert!(ask(&client, "to_regclass('public.more') is not null").await);
    program.run("finish", &["--yes"]).expect_code(0);
    goes_on.finish().expect_code(0);
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_fact_of_a_step_neither_repeats_nor_forgets_it() {
    let cluster = Cluster::start();
    let (client, program) = set(&cluster, STEPS).await;
    let crashing = |point: &str| {
        let program = Bluegreen::new(&cluster, "postgres")
            .plan(&plan(STEPS))
            .env("FAILPOINTS", &format!("{point}=return"));
        std::fs::create_dir(program.folder().join("sql")).unwrap();
        std::fs::write(program.folder().join("sql/functions.sql"), FUNCTIONS).unwrap();
        program
    };
    // Ends as the command does that no crash stops: the last point is hit until none is left.
    let until = |command: &str, args: &[&str], points: &[&str], code: i32| {
        for point in points {
            let program = crashing(point);
            for _ in 0..12 {
                let finished = program.run(command, args);
                if finished.code.is_some() {
                    finished.expect_code(code);
                    return;
                }
                if !point.starts_with("after") {
                    break;
                }
            }
        }
        panic!("{command}: {points:?}");
    };
    until(
        "execute",
        &["--yes", "--until", "settle"],
        &[
            "before step_done",
            "before step_intended",
            "index concurrently",
            "after step_intended",
            "after step_done",
        ],
        0,
    );
    assert_eq!(log(&client).await, "before in after");
    assert!(ask(&client, HAS_INDEX).await && ask(&client, HAS_TRIGGER).await);
    // Before the swap back; and after it, while the index is dropped.
    for point in ["before step_done", "after step_intended"] {
        assert_eq!(crashing(point).run("rollback", &[]).code, None, "{point}");
    }
    assert_eq!(log(&client).await, "not after");
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(log(&client).await, "after");
    assert!(ask(&client, HAS_INDEX).await && ask(&client, HAS_TRIGGER).await);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(log(&client).await, "not after not before");
    assert!(!ask(&client, HAS_INDEX).await && !ask(&client, HAS_TRIGGER).await);
    until("rollback", &["--drop-green"], &["before step_done", "after step_done"], 6);
    assert!(!ask(&client, HAS_FUNCTION).await);
    assert!(!ask(&client, "exists (select from pg_namespace where nspname ~ '^projh_bg_')").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_says_where_and_leaves_nothing() {
    let cluster = Cluster::start();
    let (client, program) = set(&cluster, STEPS).await;
    let failing = |step: &str| program.write_plan(&plan(&format!("\n  - {{name: s, {step}}}\n")));
    // The server cannot read it.
    failing("when: in_swap, up: \"select 1;\\n select frm t\\n where where\", one_way: true");
    let refused = program.run("check", &[]).expect_code(3);
    let what = refused.refusals()[0]["what"].as_str().unwrap().to_owned();
    assert!(
        what.starts_with("step `s` cannot be parsed at line 3, column 8 of the plan's text: syntax error"),
        "{what}"
    );

    // A rehearsal finds it before any attempt, there and back.
    for (step, told) in [
        (
            "when: in_swap, up: grant select on t to nobody, one_way: true",
            "step `s` failed at line 1, column 1",
        ),
        ("when: in_swap, up: select 1, down: drop trigger none on public.t", "undoing step `s` failed at"),
        ("when: in_swap, up: select pg_sleep(9), one_way: true", "it takes longer than `max_write_stall`"),
    ] {
        failing(step);
        let failed = program.execute(&["--yes"]).expect_code(1);
        assert!(failed.error().contains(told), "{}", failed.error());
        assert!(failed.events_of("swap_postponed").is_empty() && failed.events_of("swapped").is_empty());
        program.run("rollback", &[]).expect_code(6);
    }
    // What only shows in the swap undoes the attempt.
    failing(
        "when: in_swap, up: \"do $$ begin insert into other values (1, 1); perform 1 / 0; end $$\", one_way: true",
    );
    let failed = program.execute(&["--yes"]).expect_code(1);
    assert!(failed.error().contains("SQLSTATE 22012"), "{}", failed.error());
    assert!(ask(&client, "(select count(*) = 100 from other)").await);
    assert!(
        !ask(&client, "exists (select from pg_partitioned_table where partrelid = 'public.t'::regclass)")
            .await
    );
    program.run("rollback", &[]).expect_code(6);

    // Values of rows are not told, and no invalid index is left.
    client.batch_execute("update other set twin = 4711 where id < 3").await.unwrap();
    failing(
        "when: before_swap, up: create unique index concurrently twins on other (twin), down: drop index concurrently twins",
    );
    let failed = program.execute(&["--yes"]).expect_code(1);
    assert!(
        failed.error().contains("SQLSTATE 23505") && !failed.stdout.contains("4711"),
        "{}",
        failed.stdout
    );
    assert!(ask(&client, "to_regclass('public.twins') is null").await);
    client.batch_execute("update other set twin = 4712 where id = 1").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert!(ask(&client, HAS_INDEX).await);
    program.run("rollback", &["--drop-green"]).expect_code(6);

    // The tables follow each other: they must not change.
    failing("when: after_swap, up: alter table t add other int, down: alter table t drop other");
    let failed = program.execute(&["--yes"]).expect_code(1);
    assert!(
        failed.error().contains("it would change public.t while the tables follow each other"),
        "{}",
        failed.error()
    );
    assert!(
        !ask(
            &client,
            "exists (select from pg_attribute where attrelid = 't'::regclass and attname = 'other')"
        )
        .await
    );
    program.run("rollback", &[]).expect_code(6);
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_index_of_an_interrupted_build_is_built_again() {
    let cluster = Cluster::start();
    let (client, program) = set(&cluster, STEPS).await;
    let killed = Bluegreen::new(&cluster, "postgres")
        .plan(&plan(STEPS))
        .env("FAILPOINTS", "index concurrently=return");
    std::fs::create_dir(killed.folder().join("sql")).unwrap();
    std::fs::write(killed.folder().join("sql/functions.sql"), FUNCTIONS).unwrap();
    assert_eq!(killed.execute(&["--yes"]).code, None);
    // As a server leaves it that stops in the middle.
    client.batch_execute("update other set twin = 4711 where id < 3").await.unwrap();
    assert!(client.batch_execute("create unique index concurrently twins on other (twin)").await.is_err());
    client.batch_execute("update other set twin = 4712 where id = 1").await.unwrap();
    assert!(ask(&client, "to_regclass('public.twins') is not null").await && !ask(&client, HAS_INDEX).await);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert!(ask(&client, HAS_INDEX).await);
}
