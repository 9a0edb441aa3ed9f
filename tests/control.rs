//! Control of a run from any terminal: whatever another process executes, and whatever nobody does.

mod alone;
mod refused;

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, closed_window, home, stage};

const BLUE: &str = "
create table public.t (id int primary key, note text not null);
insert into public.t select n, 'as it was' from generate_series(1, 75000) n;
create table public.paused as select true as asked;
analyze t;";

/// The copy waits until `paused` says otherwise.
fn plan(settings: &str) -> String {
    format!(
        "
version: 1
name: controlled
settings: {{workers: 1, {settings}}}
tables:
  - table: public.t
    partition_by: {{hash: id, partitions: 3}}
"
    )
}

const PAUSED: &str = "throttle: {query: select asked from public.paused}";

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

/// Whether an event says that a setting was changed so.
fn changed(key: &str, from: &str, to: &str) -> impl Fn(&Value) -> bool {
    move |event| {
        event["type"] == "setting_changed"
            && (event["key"] == key && event["from"] == from && event["to"] == to)
            && event["who"].as_str().is_some_and(|who| !who.is_empty())
    }
}

/// Waits until so many workers copy; one more connection of the copy's holds its snapshot.
async fn copy_workers(client: &Client, workers: i64) {
    let sql = format!(
        "select count(*) = {} from pg_stat_activity where application_name like 'projh-bluegreen%copy'",
        workers + 1
    );
    eventually(client, &sql).await;
}

fn status(program: &Bluegreen) -> Value {
    program.run("status", &[]).expect_code(0).events_of("status")[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_counts_at_once_and_for_later_executions_until_the_plan_s_value_is_set() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan(PAUSED)).await;
    let running = program.spawn("execute", &["--until", "index"]);
    running.wait_for("round");
    copy_workers(&client, 1).await;
    let set = program.run("set", &["workers=3", "wal_budget=16GiB"]).expect_code(0);
    assert!(set.events.iter().any(changed("workers", "1", "3")), "{}", set.stdout);
    assert!(set.events.iter().any(changed("wal_budget", "8GiB", "16GiB")), "{}", set.stdout);
    running.wait_until(changed("workers", "1", "3")).unwrap();
    running.wait_until(changed("wal_budget", "8GiB", "16GiB")).unwrap();
    copy_workers(&client, 3).await;
    program.run("set", &["workers=1"]).expect_code(0);
    copy_workers(&client, 1).await;
    program.run("set", &["workers=2"]).expect_code(0);
    copy_workers(&client, 2).await;
    let same = program.run_for_people("set", &["workers=2"]).expect_code(0);
    assert!(same.stderr.contains("have these values already"), "{}", same.stderr);
    running.terminate();
    running.finish().expect_code(7);

    // Nobody executes it: the command itself records it. What was set wins over a plan that was edited since.
    let set = program.run_for_people("set", &["max_snapshot_age=5m"]).expect_code(0);
    assert!(set.stderr.contains("max_snapshot_age: 30m -> 5m, set by"), "{}", set.stderr);
    program.write_plan(&plan(PAUSED).replace("workers: 1", "workers: 5"));
    let running = program.spawn("execute", &["--until", "index"]);
    running.wait_until(changed("workers", "5", "2")).unwrap();
    running.wait_until(changed("max_snapshot_age", "30m", "5m")).unwrap();
    copy_workers(&client, 2).await;
    let shown = status(&program);
    let of = |key: &str| {
        let all = shown["settings"].as_array().unwrap();
        all.iter().find(|set| set["key"] == key).unwrap_or_else(|| panic!("no {key}: {shown}")).clone()
    };
    assert_eq!((of("workers")["from"].clone(), of("workers")["to"].clone()), ("5".into(), "2".into()));
    let by = of("max_snapshot_age")["by"].as_str().unwrap().to_owned();
    assert!(by.contains("process") && by.contains("role"), "{by}");
    let words = ["set      workers: 5 -> 2, by process", "set      wal_budget: 8GiB -> 16GiB"];
    program.run_for_people("status", &[]).expect_words(&words);

    // Back to the plan's; and without the query that it waits for, the copy comes to its end.
    program.run("set", &["workers=plan", "wal_budget=plan", "throttle.query=none"]).expect_code(0);
    running.wait_until(changed("workers", "2", "5")).unwrap();
    running.wait_until(changed("throttle.query", "select asked from public.paused", "none")).unwrap();
    running.finish().expect_code(0);
    let shown = status(&program)["settings"].as_array().unwrap().clone();
    let keys: Vec<&Value> = shown.iter().map(|set| &set["key"]).collect();
    assert_eq!(keys, ["max_snapshot_age", "throttle.query"]);
    let green = home(&client, "green").await;
    assert_eq!(count(&client, &format!("{green}.t")).await, 75_000);
    let evidence = "projh_bluegreen.request where what = 'set' and asked_by like 'process%' and answer->>'code' = '0' \
                    and settings ? 'workers'";
    assert_eq!(count(&client, evidence).await, 5);
}

/// What waits goes by what is set meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_waits_for_its_window_does_not_once_it_has_none() {
    let cluster = Cluster::start();
    let settings = format!("soak: 1h, swap: {{{}}}", closed_window());
    let (client, program) = stage(&cluster, BLUE, &plan(&settings)).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("waits for its window");
    program.run("swap", &[]).expect_code(2).expect_words(&["the swap is not held"]);
    // Compared again while it waits.
    client.batch_execute("update t set note = 'meanwhile' where id = 1").await.unwrap();
    program.run("verify", &[]).expect_code(0);
    running.wait_until(|event| event["type"] == "asked" && event["ask"] == "verify").unwrap();
    program.run("set", &["swap.window=none", "verify_every=1s"]).expect_code(0);
    let verified = running.wait_for("verified");
    running.wait_for("soaking");
    running.wait_until(|event| event["type"] == "verified" && event["lsn"] != verified["lsn"]).unwrap();
    program.run("set", &["soak=1s", "finish=after_soak"]).expect_code(0);
    running.finish().expect_code(0).expect_words(&["blue was dropped"]);
    assert_eq!(count(&client, "t where note = 'meanwhile'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_set_while_it_runs_is_kept_to() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    program.run("pause", &[]).expect_code(0);
    running.wait_for("throttled");
    let wal = "insert into paused select true from generate_series(1, 100000)";
    client.batch_execute(wal).await.unwrap();
    program.run("set", &["wal_budget=1MiB"]).expect_code(0);
    let given_up = running.finish().expect_code(1);
    assert!(given_up.error().contains("wal_budget is 1048576"), "{}", given_up.error());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_who_has_paused_a_run_and_what_is_true_after_a_rollback() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert!(status(&program)["paused"].is_null());
    program.run("pause", &[]).expect_code(0);
    let paused = status(&program);
    assert!(paused["paused"]["by"].as_str().unwrap().contains("process"), "{paused}");
    let state = paused["state"].as_str().unwrap();
    assert!(state.starts_with("paused by process ") && state.contains(" since 20"), "{state}");
    assert!(state.contains("; swapped: green is live"), "{state}");
    program.run_for_people("status", &[]).expect_words(&["state    paused by process"]);
    program.run("resume", &[]).expect_code(0);
    assert!(status(&program)["paused"].is_null());

    program.run("rollback", &[]).expect_code(6);
    let back = status(&program);
    assert_eq!((&back["phase"], &back["is_swapped_back"]), (&"catch_up".into(), &true.into()), "{back}");
    let shown =
        program.run_for_people("status", &[]).expect_words(&["towards another swap", "follows blue while"]);
    assert!(!shown.stdout.contains("round 1"), "{}", shown.stdout);
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    client.batch_execute("update t set note = 'of blue again' where id = 3").await.unwrap();
    let green = home(&client, "green").await;
    eventually(&client, &format!("select count(*) = 1 from {green}.t where note = 'of blue again'")).await;
    running.terminate();
    running.finish().expect_code(7);
}

/// Another command has ended the run while the process that executed it had no session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_its_run_ended_by_another_command_says_how() {
    for (until, command, code) in [("verified", "rollback", 6), ("soaking", "finish", 0)] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
        let held = if until == "verified" { "--hold-swap" } else { "--yes" };
        let running = program.spawn("execute", &[held]);
        running.wait_for(until);
        running.freeze(true);
        let sql = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity \
                   where application_name like 'projh-bluegreen%'";
        client.query_one(sql, &[]).await.unwrap();
        let args: &[&str] = if command == "finish" { &["--yes"] } else { &[] };
        program.run(command, args).expect_code(code);
        running.freeze(false);
        let found = running.finish().expect_code(code);
        let said = found.events_of("notice").iter().any(|notice| {
            notice["text"].as_str().unwrap().contains("another command has ended the run meanwhile")
        });
        assert!(said, "{}", found.stdout);
    }
}
