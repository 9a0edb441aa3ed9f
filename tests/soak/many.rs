//! More changes than are remembered: memory for them is bounded.

use super::count;
use crate::support::bluegreen::Running;
use crate::support::waiting::until;
use crate::support::{Cluster, home, stage};

/// Keys of 1,900 bytes; all of them are more than is remembered, and each half is enough to wait for a comparison.
const WIDE: &str = "
create table public.t (id text primary key, at date not null, n int not null default 0);
insert into public.t select repeat(md5(g::text), 60) || g, date '2026-01-01' + g % 55, g % 2
from generate_series(1, 30000) g;
create table public.others (id int);
analyze public.t;";

fn plan(soak: &str) -> String {
    format!(
        "
version: 1
name: many
settings: {{workers: 2, soak: {soak}}}
tables:
  - table: public.t
    partition_by: {{range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}}
    primary_key: [id, at]
"
    )
}

fn verified(running: &Running) -> usize {
    running.said().matches("\"type\":\"verified\"").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_changes_more_than_is_remembered_is_followed_by_a_comparison_of_all_rows() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, WIDE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    assert_eq!(verified(&running), 1);
    client.batch_execute("update t set n = n + 2").await.unwrap();
    until("all rows are compared", async || verified(&running) == 2).await;
    let blue = home(&client, "blue").await;
    assert_eq!(count(&client, &format!("{blue}.t where n >= 2")).await, 30_000);
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
}

/// The feed waits for a comparison, which an open transaction holds up; nobody waits for one any more once the soak is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_ends_while_nothing_can_be_compared() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, WIDE, &plan("20s")).await;
    let mut running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let another = cluster.client("postgres").await;
    another.batch_execute("begin; insert into others values (1)").await.unwrap();
    for half in [0, 1] {
        client.batch_execute(&format!("update t set n = n + 2 where n = {half}")).await.unwrap();
    }
    until("it ends", async || !running.is_running()).await;
    running.finish().expect_code(0);
    let blue = home(&client, "blue").await;
    assert_eq!(count(&client, &format!("{blue}.t where n >= 2")).await, 30_000);
    another.batch_execute("rollback").await.unwrap();
    program.run("finish", &["--yes"]).expect_code(0);
}
