//! Other sessions: whoever is in the way is named, nobody is harmed, and who cannot see does not pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use projh_bluegreen::testing::pg::activity::{self, ActivityError, Backend};
use serde_json::Value;
use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, stage};

const DB: &str = "postgres";
const SETUP: &str = "
create table t (id bigint primary key, at date not null, note text);
insert into t select g, date '2026-01-01' + (g % 60)::int, 'n' || g from generate_series(1, 3000) g;";
const PLAN: &str = "
version: 1
name: ways
settings: {workers: 1, swap: {attempts: 8}}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-15], default: true}
    primary_key: [id, at]
";

/// The role `mover`, which has no more rights than it needs.
const RIGHTS: &str = "
create role owner; create role mover login replication in role owner; alter table t owner to owner;
grant usage, create on schema public to mover, owner; grant create on database postgres to mover;
grant pg_read_all_stats to mover;";

fn blockers(event: &Value) -> String {
    event["blockers"].to_string()
}

#[tokio::test]
async fn an_answer_of_a_role_that_cannot_see_is_not_nobody() {
    let cluster = Cluster::start();
    let (old, _) = stage(&cluster, SETUP, PLAN).await;
    old.batch_execute("create role mover login").await.unwrap();
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let other = cluster.client(DB).await;
    other.batch_execute("create table later ()").await.unwrap();
    let xid: i64 = other.query_one("select txid_current()", &[]).await.unwrap().get(0);
    let xid = u64::try_from(xid).unwrap();
    let url = cluster.url(DB).replace("postgres@", "mover@");
    let (mover, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let blind =
        |error: ActivityError| matches!(error, ActivityError::Blind(role) if role.as_str() == "mover");
    assert!(activity::snapshots_older_than(&mover, xid, false).await.is_err_and(blind));
    assert!(activity::active_clients(&mover).await.is_err_and(blind));
    assert!(activity::writers(&mover).await.is_err_and(blind));
    assert!(activity::replay_lag(&mover).await.is_err_and(blind));
    other.batch_execute("grant pg_read_all_stats to mover").await.unwrap();
    let seen = activity::snapshots_older_than(&mover, xid, false).await.unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    // The right can be taken away at any time.
    other.batch_execute("revoke pg_read_all_stats from mover").await.unwrap();
    assert!(activity::snapshots_older_than(&mover, xid, false).await.is_err_and(blind));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_see_revoked_in_mid_run_ends_it_before_the_swap() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &format!("{SETUP}{RIGHTS}"), PLAN).await;
    let program = program.env("PGUSER", "mover");
    let old = cluster.client(DB).await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("snapshots that are older");
    client.batch_execute("revoke pg_read_all_stats from mover").await.unwrap();
    let ended = running.finish().expect_code(1).expect_words(&["grant pg_read_all_stats to", "mover"]);
    assert!(ended.events_of("swapped").is_empty());
    let seen: i64 = old.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(seen, 3000);
}

/// A client of a pool, which says so when a statement fails.
fn keep_at_it(
    cluster: &Cluster,
    statements: [&'static str; 3],
    stop: &Arc<AtomicBool>,
) -> tokio::task::JoinHandle<u64> {
    let (url, stop) = (cluster.url(DB), Arc::clone(stop));
    tokio::spawn(async move {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut done = 0;
        while !stop.load(Ordering::Relaxed) {
            client.batch_execute("begin").await.unwrap();
            for sql in statements {
                client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            client.batch_execute("commit").await.unwrap();
            done += 1;
        }
        done
    })
}

/// A client's statements: the sequence first, or the table.
const BY_NUMBER: [&str; 3] = [
    "select set_config('test.id', nextval('t_id_seq')::text, false)",
    "select 1",
    "insert into t (id, at) values (current_setting('test.id')::bigint, '2026-01-05')",
];
const BY_ROW: [&str; 3] =
    ["select from t where id = 7", "select 1", "insert into t (at) values ('2026-01-05')"];

/// They stop after so many attempts, if they have not let it swap by then. `deadlock_timeout` is that of the clients' role.
async fn swap_under_clients(
    clients: [[&'static str; 3]; 4],
    attempts: u32,
    column: &str,
    deadlock_timeout: &str,
    role: &str,
) {
    let cluster = Cluster::start();
    let setup = format!(
        "alter role postgres set deadlock_timeout = '{deadlock_timeout}';
         create table t (id {column} primary key, at date not null, note text);
         insert into t (at, note) select date '2026-01-01' + (g % 60)::int, 'n' || g from generate_series(1, 3000) g;
         {RIGHTS}"
    );
    let (client, program) = stage(&cluster, &setup, PLAN).await;
    let program = program.env("PGUSER", role);
    program.write_plan(&PLAN.replace("attempts: 8", "attempts: 60, lock_timeout: 900ms"));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = clients.iter().map(|statements| keep_at_it(&cluster, *statements, &stop)).collect();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_until(|event| event["type"] == "swapped" || event["attempt"] == attempts);
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = 0;
    for client in clients {
        done += client.await.unwrap();
    }
    let finished = running.finish().expect_code(0);
    assert_eq!(finished.events_of("swapped").len(), 1);
    let rows: i64 = client.query_one("select count(distinct id) from t", &[]).await.unwrap().get(0);
    assert_eq!(u64::try_from(rows).unwrap(), 3000 + done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_a_serial_s_number_first_are_not_harmed() {
    swap_under_clients([BY_NUMBER; 4], 60, "bigserial", "1s", "postgres").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_an_identity_s_number_first_are_not_harmed_by_a_short_deadlock_timeout() {
    let identity = "bigint generated by default as identity";
    swap_under_clients([BY_NUMBER; 4], 60, identity, "100ms", "postgres").await;
}

/// Whichever lock comes first, some of them hold the other one, so that the swap may wait for their end. The role may not look for deadlocks sooner than they do, and so
/// has to give way sooner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_table_and_number_in_either_order_are_not_harmed_by_a_role_that_is_no_superuser() {
    let clients = [BY_NUMBER, BY_ROW, BY_NUMBER, BY_ROW];
    swap_under_clients(clients, 6, "bigserial", "50ms", "mover").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_sequence_is_named() {
    let cluster = Cluster::start();
    let setup = SETUP.replace("id bigint", "id bigserial");
    let (_client, program) = stage(&cluster, &setup, PLAN).await;
    let old = cluster.client(DB).await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("snapshots that are older");
    let holder = cluster.client(DB).await;
    holder.batch_execute("set application_name = 'numbers'").await.unwrap();
    holder.batch_execute("begin; select nextval('t_id_seq')").await.unwrap();
    old.batch_execute("commit").await.unwrap();
    let postponed = running.wait_for("swap_postponed");
    assert!(blockers(&postponed).contains("numbers"), "{postponed}");
    assert!(postponed["why"].as_str().unwrap().contains("t_id_seq"), "{postponed}");
    holder.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_near_its_end_goes_on() {
    let cluster = Cluster::start();
    let setup = "create table t (id smallint generated always as identity primary key, at date not null, note text,
                     down int generated by default as identity (increment -3 minvalue -100 maxvalue 100 start 100 cache 2));
                 insert into t (at) select '2026-01-05' from generate_series(1, 20);
                 alter sequence t_id_seq restart 32750";
    let (client, program) = stage(&cluster, setup, PLAN).await;
    client.batch_execute("insert into t (at) values ('2026-01-06')").await.unwrap();
    program.execute(&["--yes"]).expect_code(0);
    let sql = "insert into t (at) values ('2026-01-07') returning id, down";
    let row = client.query_one(sql, &[]).await.unwrap();
    // 17 numbers were left of the one, and about 45 of the other.
    assert!((32_751..=32_752).contains(&row.get::<_, i16>(0)), "{row:?}");
    assert!((20..=40).contains(&row.get::<_, i32>(1)), "{row:?}");
    for _ in 0..14 {
        client.execute(sql, &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_of_another_database_is_ended() {
    let cluster = Cluster::start();
    cluster.create_db("live");
    cluster.psql("live", SETUP);
    cluster.psql(DB, "create database staging template live");
    let program = Bluegreen::new(&cluster, "live")
        .plan(&PLAN.replace("attempts: 8", "attempts: 8, terminate_blockers: all"));
    program.execute(&["--until", "verify"]).expect_code(0);
    let (other, here) = (cluster.client("staging").await, cluster.client("live").await);
    other.batch_execute("begin; select count(*) from t").await.unwrap();
    here.batch_execute("begin; select count(*) from t").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("backend_terminated");
    running.finish().expect_code(0);
    other.batch_execute("select count(*) from t; commit").await.unwrap();
    assert!(here.batch_execute("commit").await.is_err());
}

#[tokio::test]
async fn only_the_session_that_was_seen_is_ended_and_only_here() {
    let cluster = Cluster::start();
    cluster.create_db("staging");
    let looker = cluster.client(DB).await;
    for (db, state, is_ended) in
        [("staging", "idle", false), (DB, "idle in transaction", false), (DB, "idle", true)]
    {
        let other = cluster.client(db).await;
        let pid = other.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
        eventually(&looker, &format!("select state = 'idle' from pg_stat_activity where pid = {pid}")).await;
        let backend = Backend {
            pid,
            user: "postgres".to_owned(),
            database: db.to_owned(),
            application: String::new(),
            kind: "client backend".to_owned(),
            state: state.to_owned(),
            transaction: None,
            prevents_wraparound: false,
        };
        assert_eq!(activity::terminate(&looker, &backend).await.unwrap(), is_ended, "{db}, {state}");
        assert_eq!(other.batch_execute("select 1").await.is_err(), is_ended, "{db}, {state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_that_holds_the_table_is_named_with_its_end() {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "2").start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    // What waits for the swap's snapshot guard lets a transaction come in after the verification.
    let old = cluster.client(DB).await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("snapshots that are older");
    let sql = "begin; update t set note = 'p' where id = 5; prepare transaction 'forgotten two'";
    client.batch_execute(sql).await.unwrap();
    old.batch_execute("commit").await.unwrap();
    let postponed = running.wait_for("swap_postponed");
    assert!(blockers(&postponed).contains("rollback prepared 'forgotten two'"), "{postponed}");
    client.batch_execute("rollback prepared 'forgotten two'").await.unwrap();
    running.finish().expect_code(0);
}

const VACUUMED: &str = "
alter table t set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 100000000, autovacuum_vacuum_insert_threshold = -1);
insert into t select g, date '2026-01-01' + (g % 60)::int, repeat('n', 300) from generate_series(3001, 20000) g;";

async fn wait_for_autovacuum(client: &Client) {
    client.batch_execute("delete from t where id % 3 = 0").await.unwrap();
    let sql = "select exists (select from pg_stat_activity a join pg_locks l using (pid)
               where a.backend_type = 'autovacuum worker' and l.relation = 't'::regclass and l.granted)";
    eventually(client, sql).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autovacuum_steps_aside_for_the_swap_of_a_role_that_is_no_superuser() {
    let cluster = Cluster::builder().setting("autovacuum_naptime", "1s").start();
    let (client, program) = stage(&cluster, &format!("{SETUP}{RIGHTS}{VACUUMED}"), PLAN).await;
    let program = program.env("PGUSER", "mover");
    program.execute(&["--until", "verify"]).expect_code(0);
    wait_for_autovacuum(&client).await;
    let finished = program.execute(&["--yes"]).expect_code(0);
    assert!(finished.events_of("swap_postponed").is_empty(), "{}", finished.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autovacuum_steps_aside_for_prepare_and_is_named() {
    let cluster = Cluster::builder().setting("autovacuum_naptime", "1s").start();
    let (client, program) = stage(&cluster, &format!("{SETUP}{RIGHTS}{VACUUMED}"), PLAN).await;
    let program = program.env("PGUSER", "mover");
    wait_for_autovacuum(&client).await;
    let finished = program.execute(&["--until", "prepare"]).expect_code(0);
    finished.expect_words(&["preparing has been waiting", "public.t, held by process", "autovacuum"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_up_a_rollback_is_named() {
    let cluster = Cluster::start();
    let (_client, program) = stage(&cluster, SETUP, PLAN).await;
    program.execute(&["--until", "verify"]).expect_code(0);
    let reader = cluster.client(DB).await;
    let leaf = "begin; select count(*) from t_default";
    reader.batch_execute(&format!("set application_name = 'curious'; {leaf}")).await.unwrap();
    let running = program.spawn("rollback", &[]);
    running.wait_for_notice("curious");
    reader.batch_execute("commit").await.unwrap();
    running.finish().expect_code(6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_up_an_index_is_named() {
    let cluster = Cluster::start();
    let (_client, program) = stage(&cluster, &format!("{SETUP}create index on t (note);"), PLAN).await;
    program.execute(&["--until", "copy"]).expect_code(0);
    let holder = cluster.client(DB).await;
    let lock = "set application_name = 'meddler'; begin; lock table t_default in row exclusive mode";
    holder.batch_execute(lock).await.unwrap();
    let running = program.spawn("execute", &["--until", "index"]);
    running.wait_for_notice("meddler");
    holder.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
}

/// PostgreSQL does not cancel it for others, and begins it again if it is ended: it is named, and waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autovacuum_to_prevent_wraparound_is_waited_for() {
    let cluster = Cluster::builder()
        .setting("autovacuum_freeze_max_age", "100000")
        .setting("autovacuum_naptime", "1s")
        .setting("autovacuum_vacuum_cost_delay", "100ms")
        .setting("autovacuum_vacuum_cost_limit", "1")
        .start();
    let plan = PLAN.replace("attempts: 8", "attempts: 1");
    let setup = SETUP.replace("3000", "30000");
    let (client, program) = stage(&cluster, &setup, &plan).await;
    program.execute(&["--until", "verify"]).expect_code(0);
    let burn = "do $$ begin for n in 1 .. 120000 loop perform pg_current_xact_id(); commit; end loop; end $$";
    client.batch_execute(burn).await.unwrap();
    // One of green's partitions: it is locked in the swap, too.
    let holds = "select count(*) > 0 from pg_locks l join pg_stat_activity a using (pid) join pg_class c on c.oid = l.relation \
                 where a.query like '%to prevent wraparound%' and c.relname ~ '^t(_p1|_p2|_default)?$' and l.mode = 'ShareUpdateExclusiveLock'";
    eventually(&client, holds).await;
    let running = program.spawn("execute", &["--yes"]);
    let postponed = running.wait_for("swap_postponed");
    assert!(blockers(&postponed).contains("to prevent wraparound"), "{postponed}");
    // It is the only attempt that the plan allows, and it is not used up.
    running.wait_until(|event| event["type"] == "swap_postponed" && *event != postponed).unwrap();
    for sql in ["alter system set autovacuum_vacuum_cost_delay = 0", "select pg_reload_conf()"] {
        client.batch_execute(sql).await.unwrap();
    }
    running.finish().expect_code(0);
}
