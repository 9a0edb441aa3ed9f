//! What the plan asks to be considerate of: the copy waits, and so does the stream in a backlog.

use std::time::Duration;

use tokio_postgres::Client;

use crate::support::{Cluster, home, stage};

const SETUP: &str = "
create table t (id int primary key, note text not null);
insert into t select n, 'as it was' from generate_series(1, 75000) n;
create table paused as select true as asked;
analyze t;";
const PLAN: &str = "
version: 1
name: considerate
settings: {throttle: {query: select asked from public.paused}}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";
/// Longer than the server is asked anew (1 s), and long enough for all of the work.
const A_WHILE: Duration = Duration::from_secs(4);

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_and_a_backlog_wait_while_the_plan_s_query_asks_for_it() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;

    for (query, what) in [
        ("select asked from paused", "cannot be executed: relation \"paused\" does not exist"),
        ("select 1", "does not return a boolean"),
    ] {
        program.write_plan(&PLAN.replace("select asked from public.paused", query));
        let refused = program.run("check", &[]).expect_code(3);
        let finding = refused.events_of("finding")[0];
        assert!(finding["what"].as_str().unwrap().contains(what), "{finding}");
        assert!(finding["hint"].as_str().unwrap().contains("named with their schemas"), "{finding}");
    }
    program.write_plan(PLAN);

    let running = program.spawn("execute", &["--until", "copy"]);
    running.wait_until(|event| event["type"] == "round").unwrap();
    tokio::time::sleep(A_WHILE).await;
    let chunks = "select count(*) from projh_bluegreen.fact where fact->>'fact' = 'chunk_copied'";
    assert_eq!(count(&client, chunks).await, 0, "it did not wait");
    client.batch_execute("update paused set asked = false").await.unwrap();
    let finished = running.finish().expect_code(0);
    let told = finished.events_of("throttled");
    assert!(told[0]["why"].as_str().unwrap().contains("the plan's throttle query"), "{told:?}");
    assert!(told[1]["why"].is_null(), "{told:?}");

    // More than the feed takes at once, in transactions of its size.
    for from in [0, 25_000, 50_000] {
        let sql = format!("update t set note = 'changed' where id > {from} and id <= {from} + 25000");
        client.batch_execute(&sql).await.unwrap();
    }
    client.batch_execute("update paused set asked = true").await.unwrap();
    let mut running = program.spawn("execute", &["--until", "catch_up"]);
    running.wait_until(|event| event["type"] == "phase_started").unwrap();
    tokio::time::sleep(A_WHILE).await;
    let green = home(&client, "green").await;
    let changed = format!("select count(*) from {green}.t where note = 'changed'");
    let so_far = count(&client, &changed).await;
    assert!(running.is_running() && so_far < 75_000, "it did not wait: {so_far} rows");
    client.batch_execute("update paused set asked = false").await.unwrap();
    running.finish().expect_code(0);
    assert_eq!(count(&client, &changed).await, 75_000);
}
