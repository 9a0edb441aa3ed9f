//! Positions and transactions: what is applied when, what is acknowledged when.

use super::bench::{BLUE, Bench, PLAN};
use crate::support::Cluster;
use crate::support::waiting::{PATIENCE, eventually, until};
use projh_bluegreen::testing::pg::Colour;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_position_are_one_transaction_and_acknowledged_only_after_it() {
    let mut bench = Bench::strict().await;
    bench.try_drain().await.unwrap();
    let before = bench.now().await;
    let blocker = bench.block_green().await;
    bench.sql("update t set n = 1 where id = 1").await;
    bench.is_blocked().await;
    // The server has heard from us twice since: it knows what we say is done.
    for _ in 0..2 {
        let now = bench.client.query_one("select clock_timestamp()::text", &[]).await.unwrap();
        let heard = format!("select reply_time > '{}' from pg_stat_replication", now.get::<_, &str>(0));
        eventually(&bench.client, &heard).await;
    }
    assert!(bench.confirmed().await <= before, "acknowledged before it is applied");
    assert!(bench.journal.applied(Colour::Blue).await.unwrap().unwrap() <= before);
    assert!(bench.feed().state().applied <= before);

    // The feed dies with its transaction open: nothing of it stays, and it comes again.
    bench.crash().await;
    drop(blocker);
    bench.start(false).await;
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
    let one = "select (select xmin from GREEN where id = 1)::text = (select xmin from projh_bluegreen.stream)::text";
    assert!(
        bench
            .client
            .query_one(&one.replace("GREEN", &bench.lane.target.to_string()), &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
    let applied = bench.journal.applied(Colour::Blue).await.unwrap().unwrap();
    assert!(applied > before);
    let acknowledged = format!(
        "select confirmed_flush_lsn >= '{applied}' from pg_replication_slots where slot_name like 'projh_bg_%'"
    );
    eventually(&bench.client, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_transaction_larger_than_a_batch_is_one_transaction_of_green() {
    let bench = Bench::strict().await;
    bench.apply("insert into t (id, big) select g, '' from generate_series(1001, 46000) g").await;
    bench.expect_same().await;
    assert_eq!(bench.number("select count(distinct xmin::text) from GREEN where id > 1000").await, 1);
    bench.apply("update t set n = 1 where id > 1000").await;
    bench.expect_same().await;
    assert_eq!(bench.number("select count(distinct xmin::text) from GREEN where id > 1000").await, 1);
}

/// One that ends where another begins must not put the whole backlog into one transaction of green.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_applied_in_many_transactions() {
    let bench = Bench::strict().await;
    bench.feed().hold_still().await.unwrap();
    let sql = "do $$ begin perform set_config('synchronous_commit', 'off', false);
        for g in 1001..26000 loop
            insert into public.t (id, big) values (g * 3, ''), (g * 3 + 1, ''), (g * 3 + 2, '');
            commit;
        end loop; end $$";
    bench.sql(sql).await;
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
    let transactions = bench.number("select count(distinct xmin::text) from GREEN where id > 1000").await;
    assert!((2..1000).contains(&transactions), "{transactions} transactions for 25000 of the source");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_begins_at_the_consistent_point_is_not_before_it() {
    let mut bench = Bench::set().await;
    bench.sql("select pg_create_logical_replication_slot('peek', 'pgoutput')").await;
    bench.sql("update t set n = 1 where id = 1").await;
    bench.sql("update t set n = 1 where id = 2").await;
    // The last Begin says where its transaction's commit record begins.
    let sql = format!(
        "select ('0/0'::pg_lsn + ('x' || encode(substring(data from 2 for 8), 'hex'))::bit(64)::bigint::numeric)
         from pg_logical_slot_peek_binary_changes('peek', null, null, 'proto_version', '1', 'publication_names', '{}')
         where get_byte(data, 0) = ascii('B') order by lsn desc limit 1",
        bench.prepared.slot.as_str()
    );
    let mut at = bench.lsn(&sql).await;
    bench.start(false).await;
    bench.feed().run_to(at).await.unwrap();
    assert_eq!(bench.number("select sum(n) from GREEN").await, 1);
    at.0 += 1;
    bench.feed().run_to(at).await.unwrap();
    assert_eq!(bench.number("select sum(n) from GREEN").await, 2);
}

/// A new slot waits for every transaction that has an id, those of the feed included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_holds_still_has_no_transaction_open_and_begins_none() {
    let bench = Bench::strict().await;
    let blocker = bench.block_green().await;
    bench.sql("insert into t (id, big) select g, '' from generate_series(1001, 46000) g").await;
    bench.is_blocked().await;
    bench.feed().hold();
    drop(blocker);
    let idle = "select exists (select from pg_stat_activity where application_name like '% apply' and state = 'idle' and backend_xid is null)";
    eventually(&bench.client, idle).await;
    bench.expect_same().await;
    bench.sql("update t set n = 1").await;
    bench.sql("create table other ()").await;
    bench.feed().mark().await.unwrap();
    assert_eq!(bench.number("select sum(n) from GREEN").await, 0);
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_an_idle_table_the_slot_follows_the_log() {
    let bench = Bench::strict().await;
    bench.try_drain().await.unwrap();
    bench.sql("create table busy as select g from generate_series(1, 1000) g").await;
    bench.sql("update busy set g = g + 1").await;
    let now = bench.now().await;
    let follows = format!(
        "select confirmed_flush_lsn >= '{now}' from pg_replication_slots where slot_name like 'projh_bg_%'"
    );
    eventually(&bench.client, &follows).await;
    bench.apply("update t set n = 1").await;
    bench.expect_same().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_that_takes_long_does_not_lose_the_stream() {
    let cluster = Cluster::builder().setting("wal_sender_timeout", "2s").start();
    let mut bench = Bench::of(cluster, BLUE, PLAN, "copy").await;
    bench.start(false).await;
    bench.feed().free();
    let blocker = bench.block_green().await;
    bench.sql("update t set n = 1").await;
    bench.is_blocked().await;
    let sender = "select pid::bigint from pg_stat_replication";
    let pid = bench.number(sender).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    drop(blocker);
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
    assert_eq!(bench.number(sender).await, pid);
}

/// The journal's position does not move for a marker, so the next feed meets those of the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_of_an_earlier_feed_is_not_taken_for_ones_own() {
    let mut bench = Bench::strict().await;
    for _ in 0..20 {
        bench.feed().mark().await.unwrap();
    }
    let marked = bench.now().await;
    bench.start(false).await;
    bench.feed().free();
    until("the markers are applied", async || bench.feed().state().applied >= marked).await;
    let blocker = bench.block_green().await;
    bench.sql("update t set n = 1").await;
    bench.is_blocked().await;
    let marker = bench.feed().mark().await.unwrap();
    let drained = bench.feed().drain_through(marker, std::time::Duration::from_secs(1)).await;
    assert!(drained.is_err(), "drained through a change that waits for a lock");
    drop(blocker);
    bench.feed().drain_through(marker, PATIENCE).await.unwrap();
    bench.expect_same().await;
}
