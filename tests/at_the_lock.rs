//! What happens between the gate and the swap's lock is seen under the lock: a change that is not carried is refused,
//! and only whom the plan allows to end is ended.

use tokio_postgres::Client;

use crate::support::bluegreen::Running;
use crate::support::waiting::{eventually, waits_for_a_lock};
use crate::support::{Cluster, home, stage};

const DB: &str = "postgres";
const BLUE: &str = "
create table t (id int primary key, n int not null);
insert into t select g, 0 from generate_series(1, 100) g;";
const PLAN: &str = "
version: 1
name: locked
settings: {workers: 1, swap: {attempts: 60}}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";

/// A run that has passed the gate, and waits for the first of the swap's locks on the table.
struct Stage {
    _cluster: Cluster,
    client: Client,
    /// Has that lock: no client's.
    holder: Client,
    running: Running,
}

impl Stage {
    async fn set() -> Self {
        // An attempt waits for that lock a little longer than this.
        let cluster = Cluster::builder().setting("deadlock_timeout", "10min").start();
        let (client, program) = stage(&cluster, BLUE, PLAN).await;
        let holder = cluster.client(DB).await;
        program.execute(&["--until", "verify"]).expect_code(0);
        holder.batch_execute("begin; lock table t in share update exclusive mode").await.unwrap();
        let running = program.spawn("execute", &["--yes"]);
        waits_for_a_lock(&client).await;
        Self { _cluster: cluster, client, holder, running }
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_is_not_swapped_away() {
    let stage = Stage::set().await;
    stage.holder.batch_execute("alter table t add column more int default 5; commit").await.unwrap();
    let Stage { running, client, .. } = stage;
    let stopped = running.finish().expect_code(1);
    assert!(stopped.error().contains("column more is new"), "{}", stopped.error());
    assert!(client.query_one("select more from t limit 1", &[]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_is_not_swapped_away() {
    let stage = Stage::set().await;
    stage.holder.batch_execute("alter table t alter n type int using n + 1; commit").await.unwrap();
    let postponed = stage.running.wait_for("swap_postponed");
    assert!(postponed["why"].as_str().unwrap().contains("was rewritten since"), "{postponed}");
    assert_eq!(stage.number("select sum(n) from t").await, 100);
    stage.running.finish().expect_code(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_is_found() {
    let stage = Stage::set().await;
    let green = home(&stage.client, "green").await;
    stage.client.batch_execute("update t set n = 1 where id = 7").await.unwrap();
    eventually(&stage.client, &format!("select n = 1 from {green}.t where id = 7")).await;
    stage.client.batch_execute(&format!("update {green}.t set n = 2 where id = 7")).await.unwrap();
    stage.holder.batch_execute("commit").await.unwrap();
    let differs = stage.running.finish().expect_code(4);
    assert_eq!(differs.events_of("difference").len(), 1, "{}", differs.stdout);
}

/// So many rows are on their way to green for longer than the locks take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_not_applied_yet_is_waited_for() {
    let Stage { _cluster, client, holder, running } = Stage::set().await;
    client.batch_execute("insert into t select g, 1 from generate_series(101, 60000) g").await.unwrap();
    holder.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
    let row = client.query_one("select count(*), sum(n) from t", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (60_000, 59_900));
}

/// A run whose gate waits for the first of these clients, and two that hold the table.
async fn blocked(cluster: &Cluster, allowed: &str) -> ([Client; 3], Running) {
    let plan = PLAN.replace("attempts: 60", &format!("attempts: 60, terminate_blockers: {allowed}"));
    let (old, program) = stage(cluster, BLUE, &plan).await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("snapshots that are older");
    let blockers = [cluster.client(DB).await, cluster.client(DB).await];
    for blocker in &blockers {
        blocker.batch_execute("begin; select from t").await.unwrap();
    }
    let [one, other] = blockers;
    ([old, one, other], running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_at_work_is_not_ended_where_the_plan_allows_idle_ones_only() {
    let cluster = Cluster::start();
    let ([old, idle, active], running) = blocked(&cluster, "idle_in_transaction").await;
    let work = tokio::spawn(async move { active.batch_execute("select pg_sleep(600)").await });
    // In one transaction the activity of others is read once.
    let client = cluster.client(DB).await;
    eventually(&client, "select exists (select from pg_stat_activity where wait_event = 'PgSleep')").await;
    old.batch_execute("commit").await.unwrap();
    running.wait_for("backend_terminated");
    running.wait_for("swap_postponed");
    assert!(idle.batch_execute("commit").await.is_err());
    let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'";
    client.batch_execute(cancel).await.unwrap();
    // It was there to be cancelled: it had not been ended.
    assert_eq!(work.await.unwrap().unwrap_err().code().unwrap().code(), "57014");
    running.finish().expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_ended_where_the_plan_does_not_say_so() {
    let cluster = Cluster::start();
    let ([old, one, other], running) = blocked(&cluster, "never").await;
    old.batch_execute("commit").await.unwrap();
    running.wait_for("swap_postponed");
    for blocker in [one, other] {
        blocker.batch_execute("commit").await.unwrap();
    }
    running.finish().expect_code(0);
}
