//! Whatever a run waits for, its stream is applied meanwhile: a slot that does not move fills the disk.

use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{self, Bluegreen, Cluster, closed_window, home};

const DB: &str = "postgres";
const BLUE: &str = "
create table public.t (id int primary key, n int not null);
create table public.elsewhere ();
insert into public.t select g, 0 from generate_series(1, 30000) g;
analyze public.t;";
/// `WINDOW` is some hours away.
const PLAN: &str = "
version: 1
name: waits
settings: {workers: 1, swap: {WINDOW}}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";
/// More than are left to the swap's lock.
const CHANGED: i64 = 20_000;

async fn stage(until: &str, window: &str) -> (Cluster, Client, Bluegreen) {
    let cluster = Cluster::start();
    let (client, program) = support::stage(&cluster, BLUE, &PLAN.replace("WINDOW", window)).await;
    program.execute(&["--until", until]).expect_code(0);
    (cluster, client, program)
}

/// When it was reported.
fn at(event: &serde_json::Value) -> jiff::Timestamp {
    event["at"].as_str().unwrap().parse().unwrap()
}

async fn change(client: &Client) -> String {
    client.batch_execute(&format!("update public.t set n = n + 1 where id <= {CHANGED}")).await.unwrap();
    let end: String = client.query_one("select pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    format!("select applied_lsn >= '{end}' from projh_bluegreen.stream")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_the_swap_waits_is_compared() {
    let (_cluster, client, program) = stage("index", &closed_window()).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("waits for its window");
    for _ in 0..2 {
        let is_applied = change(&client).await;
        eventually(&client, &is_applied).await;
    }
    let compared = |event: &serde_json::Value| event["type"] == "delta_verified" && event["keys"] == CHANGED;
    let compared = at(&running.wait_until(compared).expect("it compares"));
    // What differs is found while there is time.
    let green = home(&client, "green").await;
    change(&client).await;
    let is_there = format!("select n = 3 from {green}.t where id = 7");
    eventually(&client, &is_there).await;
    client.batch_execute(&format!("update {green}.t set n = -1 where id = 7")).await.unwrap();
    let differs = running.finish().expect_code(4);
    let differences = differs.events_of("difference");
    assert_eq!(differences.len(), 1, "{}", differs.stdout);
    // Clients need the server, too: the next comparison came no sooner than that.
    assert!(at(differences[0]).duration_since(compared).as_secs() >= 29, "{}", differs.stdout);
}

/// On a quiet table, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_change_is_compared_within_minutes() {
    let (_cluster, client, program) = stage("index", &closed_window()).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("waits for its window");
    client.batch_execute("update public.t set n = 7 where id = 7").await.unwrap();
    let compared = |event: &serde_json::Value| event["type"] == "delta_verified" && event["keys"] == 1;
    running.wait_until(compared).expect("it compares");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_is_applied_while_a_consistent_point_waits_for_a_transaction() {
    let (cluster, client, program) = stage("index", "attempts: 3").await;
    let other = cluster.client(DB).await;
    other.batch_execute("begin; drop table public.elsewhere").await.unwrap();
    let running = program.spawn("execute", &["--until", "verify"]);
    running.wait_for("waiting");
    for _ in 0..2 {
        let is_applied = change(&client).await;
        eventually(&client, &is_applied).await;
    }
    other.batch_execute("rollback").await.unwrap();
    running.finish().expect_code(0);
}
