//! Clients that write parents and children in every order while the parents' table is swapped, and a ledger of what they
//! were told: nobody sees an error, each change is there once, and no child is without its parent.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls};

use crate::support::waiting::{eventually, until, waits_for_a_lock};
use crate::support::{Cluster, stage};

use super::{DB, count, referencing};

const CLIENTS: i32 = 6;

const SCHEMA: &str = "
create table parent (id bigint primary key, owner int not null, up bigint, n int not null default 0, day int not null default 1);
alter table parent add constraint up foreign key (up) references parent on delete set null;
create table child (id bigint generated always as identity primary key, p bigint not null);
create index child_p on child (p);
alter table child add constraint of_parent foreign key (p) references parent on delete cascade;
create table parts (id bigint generated always as identity, p bigint not null) partition by hash (id);
create table parts_0 partition of parts for values with (modulus 2, remainder 0);
create table parts_1 partition of parts for values with (modulus 2, remainder 1);
create index parts_p on parts (p);
alter table parts add constraint of_parent foreign key (p) references parent on delete cascade deferrable initially deferred;
insert into parent select g, g % 6, nullif(g / 3, 0) from generate_series(1, 3000) g;
insert into child (p) select 1 + g % 3000 from generate_series(1, 6000) g; insert into parts (p) select p from child;
analyze;
";

const PLAN: &str = "
version: 1
name: load
settings:
  workers: 2
  soak: 1h
  throttle: {rest_percent: 0}
tables:
  - table: public.parent
    partition_by: {hash: id, partitions: 4}
";

/// What one client was told: rows that it made, less those that it deleted.
#[derive(Default)]
struct Ledger {
    parents: i64,
    children: i64,
    changes: i64,
    longest: Duration,
}

struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Only touches rows of its own, so that two clients are never in each other's way.
fn writer(config: &Config, me: i32, shared: &Arc<Shared>) -> JoinHandle<Ledger> {
    let (config, shared) = (config.clone(), Arc::clone(shared));
    tokio::spawn(async move {
        let client = connect(&config).await;
        let mut ledger = Ledger::default();
        let mut next = 10_000 + i64::from(me) * 1_000_000;
        let mut rng = fastrand::Rng::new();
        while !shared.stop.load(Ordering::Relaxed) {
            let old = 6 * rng.i64(1..490) + i64::from(me) + 6;
            let asked = Instant::now();
            let sql = match rng.u8(0..10) {
                // The child first: it holds the child and asks for the parent.
                0..=3 => {
                    ledger.children += 1;
                    format!("insert into child (p) values ({old})")
                }
                4 => {
                    (ledger.children, ledger.changes) = (ledger.children + 1, ledger.changes + 1);
                    format!(
                        "begin; insert into parts (p) values ({old}); update parent set n = n + 1 where id = {old}; commit"
                    )
                }
                // The parent first, then its children, in one transaction.
                5..=6 => {
                    next += 1;
                    (ledger.parents, ledger.children) = (ledger.parents + 1, ledger.children + 2);
                    format!(
                        "begin; insert into parent (id, owner, up) values ({next}, {me}, {old}); insert into child (p) values ({next}); \
                         insert into parts (p) values ({next}); commit"
                    )
                }
                // By day, the row moves to another partition.
                7 => {
                    ledger.changes += 1;
                    let day = rng.u8(0..7);
                    format!("update parent set n = n + 1, day = {day} where id = {old}")
                }
                // With its children, and another one that refers to it.
                8 => {
                    next += 2;
                    ledger.parents += 1;
                    format!(
                        "begin; insert into parent (id, owner) values ({next}, {me}); insert into child (p) values ({next}); \
                         insert into parent (id, owner, up) values ({next} + 1, {me}, {next}); commit; \
                         delete from parent where id = {next}"
                    )
                    .replace(&format!("{next} + 1"), &(next - 1).to_string())
                }
                _ => "begin isolation level repeatable read; select count(*) from parent; commit".to_owned(),
            };
            client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            ledger.longest = ledger.longest.max(asked.elapsed());
            shared.answered.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        ledger
    })
}

async fn more(shared: &Shared, number: u64) {
    let enough = shared.answered.load(Ordering::Relaxed) + number;
    until("clients go on", async || shared.answered.load(Ordering::Relaxed) >= enough).await;
}

async fn orphans(client: &Client) -> i64 {
    let of = |table: &str| format!("{table} c where not exists (select from parent where id = c.p)");
    let up = "parent c where up is not null and not exists (select from parent where id = c.up)";
    count(client, &of("child")).await + count(client, &of("parts")).await + count(client, up).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_write_parents_and_children_in_any_order_notice_nothing() {
    there_and_back_and_there_again(PLAN, "parent").await;
}

/// The same while the parents' key is widened, and their children turn to the table of its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_do_they_when_the_key_is_widened() {
    let by_day = "partition_by: {range: day, bounds: [0, 3, 7]}\n    primary_key: [id, day]\n    inbound_foreign_keys: registry";
    let plan = PLAN.replace("partition_by: {hash: id, partitions: 4}", by_day);
    there_and_back_and_there_again(&plan, "parent_keys").await;
}

/// `referenced` is what the children reference while green is live.
async fn there_and_back_and_there_again(plan: &str, referenced: &str) {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, plan).await;
    let before = referencing(&client, "parent").await;
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), answered: AtomicU64::new(0) });
    let writers: Vec<_> = (0..CLIENTS).map(|me| writer(&config, me, &shared)).collect();
    more(&shared, 500).await;
    let there = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    more(&shared, 500).await;
    let back = program.run("rollback", &[]).expect_code(6);
    more(&shared, 500).await;
    let again = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    more(&shared, 500).await;
    shared.stop.store(true, Ordering::Relaxed);
    let mut told = Ledger::default();
    for writer in writers {
        let one = writer.await.unwrap();
        told.parents += one.parents;
        told.children += one.children;
        told.changes += one.changes;
        told.longest = told.longest.max(one.longest);
    }
    for (name, finished) in [("there", &there), ("back", &back), ("again", &again)] {
        for postponed in finished.events_of("swap_postponed") {
            println!("{name}: {}", postponed["why"]);
        }
        let swapped = finished.events_of("swapped")[0];
        println!("{name}: {} ms in attempt {}", swapped["stall_ms"], swapped["attempt"]);
    }
    println!("{} transactions, the longest {:?}", shared.answered.load(Ordering::Relaxed), told.longest);
    assert_eq!(count(&client, "parent").await, 3_000 + told.parents);
    assert_eq!(count(&client, "child").await + count(&client, "parts").await, 12_000 + told.children);
    let sum: i64 = client.query_one("select sum(n) from parent", &[]).await.unwrap().get(0);
    assert_eq!(sum, told.changes);
    assert_eq!(orphans(&client).await, 0);
    assert_eq!(referencing(&client, referenced).await, before);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(referencing(&client, referenced).await, before);
    if referenced != "parent" {
        let stale = "(select id from parent_keys except select id from parent) x";
        assert_eq!(
            (count(&client, referenced).await, count(&client, stale).await),
            (count(&client, "parent").await, 0)
        );
    }
}

/// Locks taken in one order meet a client that takes them in the other one: the client goes on, in either direction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_holds_one_table_and_asks_for_the_other_is_not_waited_for_in_vain() {
    // Nobody looks for deadlocks.
    let cluster = Cluster::builder().setting("deadlock_timeout", "10min").start();
    let plan = PLAN.replace("  soak: 1h", "  soak: 1h\n  swap: {attempts: 1, lock_timeout: 990ms}");
    let (client, program) = stage(&cluster, SCHEMA, &plan).await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let orders = [
        ("update parent set n = n + 1 where id = 1", "insert into child (p) values (1)"),
        ("lock table child in row exclusive mode", "update parent set n = n + 1 where id = 1"),
    ];
    for (held, asked) in orders {
        let holder = cluster.client(DB).await;
        holder.batch_execute(&format!("begin; {held}")).await.unwrap();
        let running = program.spawn("execute", &["--yes"]);
        waits_for_a_lock(&client).await;
        holder.batch_execute(&format!("{asked}; commit")).await.unwrap();
        running.wait_for("soaking");
        running.terminate();
        let finished = running.finish().expect_code(7);
        assert_eq!(finished.events_of("swap_postponed").len(), 0, "{}", finished.stdout);
        program.run("rollback", &[]).expect_code(6);
    }
}

/// A worker is cancelled only for a session that has waited longer than `deadlock_timeout`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autovacuum_of_a_child_steps_aside() {
    let cluster = Cluster::builder().setting("autovacuum_naptime", "1s").start();
    let vacuumed = "create role mover login replication in role postgres; grant pg_read_all_stats to mover;
        alter table child set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,
            autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0,
            autovacuum_analyze_threshold = 100000000, autovacuum_vacuum_insert_threshold = -1);
        insert into child (p) select 1 + g % 3000 from generate_series(1, 30000) g;";
    let (client, program) = stage(&cluster, &format!("{SCHEMA}{vacuumed}"), PLAN).await;
    let program = program.env("PGUSER", "mover");
    program.execute(&["--until", "verify"]).expect_code(0);
    client.batch_execute("delete from child where id % 3 = 0").await.unwrap();
    let sql = "select exists (select from pg_stat_activity a join pg_locks l using (pid)
               where a.backend_type = 'autovacuum worker' and l.relation = 'child'::regclass and l.granted)";
    eventually(&client, sql).await;
    let finished = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert!(finished.events_of("swap_postponed").is_empty(), "{}", finished.stdout);
}
