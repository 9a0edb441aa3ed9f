//! While a run follows the table.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::numbers;
use crate::support::bluegreen::tells;
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, stage};

fn plan(rest: &str) -> String {
    let head = "
version: 1
name: soak
settings: {workers: 1, soak: 1h}
tables:
  - table: t
    primary_key: [id, at]
    partition_by: {range: at, every: 1 month, ahead: 1";
    format!("{head}{rest}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_soak_partitions_are_made_and_none_is_detached() {
    let cluster = Cluster::start();
    let schema = "create table t (id bigint primary key, at date not null, n int not null default 0);
        insert into t select g, now()::date - (g % 100)::int, 0 from generate_series(1, 2000) g;
        create table \"C\" (t bigint references t on delete cascade); insert into \"C\" select generate_series(1, 200);";
    let plan = plan(", retention: {keep: 24 months, then: drop}}\n    inbound_foreign_keys: registry");
    let (client, program) = stage(&cluster, schema, &plan).await;
    program
        .run("partitions", &[])
        .expect_code(3)
        .expect_words(&["it is not partitioned", "execute the plan first"]);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client
        .batch_execute(
            "insert into t select 5000 + g, now()::date + (g % 150)::int, 1 from generate_series(1, 1000) g",
        )
        .await
        .unwrap();
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    let made = program.run("partitions", &["--ahead", "6"]).expect_code(0);
    assert_eq!(made.events_of("partition").len(), 5, "{}", made.stdout);
    client
        .batch_execute("update t set n = n + 1 where id > 5000; delete from t where id = 5001")
        .await
        .unwrap();
    program.write_plan(&plan.replace("24 months", "1 month"));
    // What can be made is made; what is too old stays.
    let made = program.run("partitions", &["--ahead", "7"]).expect_code(0);
    assert_eq!(made.events_of("partition").len(), 1, "{}", made.stdout);
    let notice = made.events_of("notice")[0]["text"].as_str().unwrap();
    assert!(notice.contains("stay until `projh-bluegreen finish "), "{notice}");
    made.expect_words(&["those that are too old stay"]);
    let rows = "select count(*), sum(n) from t";
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(numbers(&client, rows).await, [2_999, 1_998]);
    program.run("partitions", &[]).expect_code(3);
    client.batch_execute("update t set n = n + 1 where id > 5000").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(numbers(&client, rows).await, [2_999, 2_997]);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    let refused = program.run("partitions", &["--yes"]).expect_code(3);
    assert!(
        tells(refused.refusals()[0], "rows of public.\"C\" reference rows of", "delete or change"),
        "{}",
        refused.stdout
    );
    client.batch_execute("delete from \"C\"").await.unwrap();
    // One that comes in between: after the check, before its keys have gone.
    let shown = program.run("partitions", &["--dry-run"]).expect_code(0);
    let keys: Vec<String> = shown
        .events_of("partition")
        .iter()
        .filter(|event| event["what"] == "dropped")
        .flat_map(|event| {
            let sql = event["sql"].as_array().unwrap().iter().map(|sql| sql.as_str().unwrap().to_owned());
            sql.skip_while(|sql| !sql.contains("FOR UPDATE")).take(3)
        })
        .collect();
    let late = "insert into \"C\" select id from t order by at limit 1";
    let refused = client.batch_execute(&format!("begin; {late}; {}", keys.join("; "))).await.unwrap_err();
    assert!(refused.to_string().contains("db error"), "{refused:?}");
    assert_eq!(refused.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    client.batch_execute("rollback").await.unwrap();
    program.run("partitions", &["--yes"]).expect_code(0);
    assert!(numbers(&client, rows).await[0] < 2_999);
    let differing = "select count(*) from (select id from t) t full join t_keys k using (id) where t.id is null or k.id is null";
    assert_eq!(numbers(&client, differing).await, [0], "the keys of the partitions that have gone");
}

/// Whether the server is of a version that misses rows which are moved while a run follows the table: it is refused there.
pub(super) fn cannot_move_rows(cluster: &Cluster, program: &Bluegreen) -> bool {
    if !cluster.is_before(15) {
        return false;
    }
    let refused = program.run("partitions", &["--ahead", "4"]).expect_code(3);
    refused.expect_words(&[
        "before version 15 a publication misses rows of a partition that is attached with rows",
    ]);
    true
}

/// A plan whose table has a default partition with rows of months to come, while a run follows it.
pub(super) async fn soaking(cluster: &Cluster) -> (Client, Bluegreen) {
    let schema = "create table t (id bigint primary key, at timestamptz not null, n int not null default 0);
        insert into t select g, now() - (g % 60) * interval '1 day' from generate_series(1, 2000) g;";
    let (client, program) = stage(cluster, schema, &plan("}")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let later = "insert into t select 5000 + g, date_trunc('month', now()) + interval '3 months 5 days', 1 from generate_series(1, 500) g";
    client.batch_execute(later).await.unwrap();
    (client, program)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_command_leaves_that_is_killed_stops_no_run() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    let reading = cluster.client("postgres").await;
    reading.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("partitions", &["--ahead", "4"]);
    running.wait_for_notice("snapshots");
    running.kill9();
    reading.batch_execute("commit").await.unwrap();
    let left = "select (select count(*) from pg_trigger where tgname = 'projh_upkeep'),
        (select count(*) from pg_namespace where nspname ~ 'upkeep')";
    assert_eq!(numbers(&client, left).await, [1, 1]);
    program.run("verify", &[]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(numbers(&client, left).await, [0, 0]);
    let mut following = program.spawn("execute", &["--yes"]);
    following.wait_for("soaking");
    program.run("partitions", &["--ahead", "4"]).expect_code(0);
    assert!(following.is_running());
    following.interrupt();
    following.finish();
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(numbers(&client, left).await, [0, 0]);
    assert_eq!(numbers(&client, "select count(*) from only t_default").await, [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_finds_every_row_while_partitions_are_exchanged() {
    // It begins before the rows are copied, or once nobody has an older snapshot.
    for [of_partitions, of_verify] in [["off", "1*sleep(4000)"], ["1*sleep(4000)", "1*sleep(8000)"]] {
        let cluster = Cluster::start();
        let (client, program) = soaking(&cluster).await;
        if cannot_move_rows(&cluster, &program) {
            return;
        }
        let plan = std::fs::read_to_string(program.folder().join("plan.yaml")).unwrap();
        let with = |point: &str, action: &str| {
            let points = format!("{point}={action}");
            Bluegreen::new(&cluster, "postgres").plan(&plan).env("FAILPOINTS", &points)
        };
        let (partitions, verify) =
            (with("no old snapshots", of_partitions), with("temporary slot", of_verify));
        let exchanging = (of_partitions != "off").then(|| partitions.spawn("partitions", &["--ahead", "4"]));
        if exchanging.is_some() {
            eventually(&client, "select exists (select from pg_trigger where tgname = 'projh_upkeep')").await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        // Noted, and not replaced when the comparison begins.
        client.batch_execute("update t set n = 7 where id between 5001 and 5020").await.unwrap();
        let comparing = verify.spawn("verify", &[]);
        let point = "select exists (select from pg_replication_slots where temporary and confirmed_flush_lsn is not null)";
        eventually(&client, point).await;
        let exchanging = exchanging.unwrap_or_else(|| partitions.spawn("partitions", &["--ahead", "4"]));
        comparing.finish().expect_code(0);
        exchanging.wait_for_notice("snapshots");
        exchanging.finish().expect_code(0);
        program.run("verify", &[]).expect_code(0);
        assert_eq!(numbers(&client, "select count(*) from only t_default").await, [0]);
        assert_eq!(
            numbers(&client, "select count(*), count(*) filter (where n = 7) from t").await,
            [2500, 20]
        );
    }
}

/// Takes one consistent point after the other, as a run does that compares the table again and again.
fn comparing(cluster: &Cluster, shared: &Arc<AtomicBool>) -> JoinHandle<()> {
    let mut config = Config::from_str(&cluster.url("postgres")).unwrap();
    config.application_name("projh-bluegreen 0a1b2c3d snapshot");
    let stop = Arc::clone(shared);
    tokio::spawn(async move {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        while !stop.load(Ordering::Relaxed) {
            let point = "begin isolation level repeatable read; select 1";
            client.batch_execute(point).await.unwrap();
            tokio::time::sleep(Duration::from_millis(90)).await;
            client.batch_execute("commit").await.unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_is_always_in_the_way_of_a_comparison_ends_and_says_so() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut all = vec![comparing(&cluster, &stop)];
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        all.push(comparing(&cluster, &stop));
    }
    let before = numbers(&client, "select count(*) from only t_default").await;
    let refused = program.run("partitions", &["--ahead", "4"]).expect_code(3);
    let what = "was in use whenever it was to be exchanged, 20 times: ";
    assert!(tells(refused.refusals()[0], what, "the same command again"), "{}", refused.stdout);
    assert!(refused.stdout.contains("a run compares public.t"), "{}", refused.stdout);
    assert_eq!(numbers(&client, "select count(*) from only t_default").await, before);
    assert_eq!(numbers(&client, "select count(*) from pg_namespace where nspname ~ 'upkeep'").await, [0]);
    stop.store(true, Ordering::Relaxed);
    for one in all {
        one.await.unwrap();
    }
    program.run("partitions", &["--ahead", "4"]).expect_code(0);
    assert_eq!(numbers(&client, "select count(*) from only t_default").await, [0]);
}
