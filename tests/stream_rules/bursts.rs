//! A stream that is read in bursts: closed once a burst is over, and opened again where it ended.

use std::time::{Duration, Instant};

use projh_bluegreen::testing::lane::feed::FeedError;
use projh_bluegreen::testing::pg::connect::Target;
use projh_bluegreen::testing::replication::{ReplicationError, Walsender};
use tokio_postgres::Client;

use super::bench::{BLUE, Bench, DB, PLAN};
use crate::support::Cluster;
use crate::support::forwarder::{Flow, Forwarder};
use crate::support::waiting::{PATIENCE, eventually, until};

/// The slot's stream, if it is open.
const OPEN: &str = "select count(*) from pg_replication_slots where slot_name like 'projh_bg_%' and active";

impl Bench {
    /// The feed runs freely, in bursts.
    fn free_in_bursts(&self) {
        self.feed().free();
        self.feed().read_in_bursts(true);
    }

    /// Writes enough for a burst, and waits until the stream is closed after it. Few of its messages are rows: where the
    /// next one begins is not hidden by what the feed itself has written meanwhile.
    async fn burst(&self, id: i32) {
        let sql = format!(
            "insert into t (id, big) values ({id}, ''); select pg_logical_emit_message(true, 'x', '') from generate_series(1, 1200)"
        );
        self.sql(&sql).await;
        self.rests(true).await;
    }

    /// Waits until the stream is closed, or is open again.
    async fn rests(&self, rests: bool) {
        until("the stream is opened or closed", async || self.is_open().await != rests).await;
    }

    async fn is_open(&self) -> bool {
        self.number(OPEN).await == 1
    }

    /// The stream stays open for so many milliseconds.
    async fn stays_open(&self, milliseconds: u64) {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        while Instant::now() < until {
            assert!(self.is_open().await, "the stream was closed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The server behind a proxy.
fn behind(forwarder: &Forwarder, settings: &str) -> Target {
    let port = forwarder.port();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable{settings}");
    Target::resolve(Some(&url), &|_| None).unwrap()
}

/// Whichever of the two takes writes.
fn of_both(one: &Cluster, other: &Cluster) -> Target {
    let (one, other) = (one.port(), other.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{one},127.0.0.1:{other}/postgres?sslmode=disable&target_session_attrs=read-write"
    );
    Target::resolve(Some(&url), &|_| None).unwrap()
}

/// A standby that has been promoted; connections are still made to the first server.
async fn promoted(bench: &Bench) -> (Cluster, Client) {
    let second = bench.cluster.standby();
    let client = second.client(DB).await;
    client.batch_execute("select pg_promote()").await.unwrap();
    eventually(&client, "select not pg_is_in_recovery()").await;
    (second, client)
}

/// Connections that are open go on with the server that they have.
const TAKEN_OVER: &str = "alter role postgres set default_transaction_read_only = on";

/// Bursts are on, one is over, and the stream is closed.
async fn at_rest() -> Bench {
    let bench = Bench::strict().await;
    bench.free_in_bursts();
    bench.burst(1_000).await;
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_burst_begins_where_the_last_one_has_ended() {
    let bench = at_rest().await;
    bench.expect_same().await;
    // One that is open while the stream is closed, opened again and closed again.
    let client = bench.cluster.client(DB).await;
    client
        .batch_execute("begin; insert into t (id, big) values (900, ''); delete from t where id = 1")
        .await
        .unwrap();
    for id in [10_000, 20_000] {
        bench.sql(&format!("delete from t where id = {}", 20 + id / 10_000)).await;
        bench.sql("update t set n = n + 1 where id % 10 = 7").await;
        bench.rests(false).await;
        bench.burst(id).await;
    }
    client.batch_execute("update t set n = -1 where id = 900; commit").await.unwrap();
    bench.sql("update t set big = repeat(big, 2) where id between 3 and 5").await;
    // Whoever waits for the stream ends the rest.
    bench.rests(true).await;
    bench.feed().round_trip(PATIENCE).await.unwrap();
    bench.expect_same().await;
    assert_eq!(bench.number("select count(*) from GREEN where id = 900 and n = -1").await, 1);
    bench.feed().check().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_in_a_rest_is_noticed() {
    let bench = at_rest().await;
    bench.sql("alter table t add column x int; update t set n = 1 where id = 1").await;
    let error = bench.try_drain().await.unwrap_err();
    assert!(matches!(error, FeedError::SourceChanged { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_dropped_in_a_rest_is_noticed() {
    let bench = at_rest().await;
    bench.sql(&format!("select pg_drop_replication_slot('{}')", bench.prepared.slot.as_str())).await;
    let error = bench.try_drain().await.unwrap_err();
    assert!(matches!(error, FeedError::Replication(ReplicationError::SlotGone { .. })), "{error}");
}

/// A standby that takes over has the slot, and may lack what was applied: only its own journal says where to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_opened_again_on_another_server() {
    let mut bench = Bench::set().await;
    let (second, _client) = promoted(&bench).await;
    bench.target = of_both(&bench.cluster, &second);
    bench.start(false).await;
    bench.free_in_bursts();
    bench.burst(1_000).await;
    bench.sql(TAKEN_OVER).await;
    let mut ended = None;
    until("the feed ends", async || {
        ended = bench.feed().check().err();
        ended.is_some()
    })
    .await;
    let error = ended.unwrap();
    assert!(matches!(error, FeedError::Replication(ReplicationError::OtherServer { .. })), "{error}");
    assert!(error.is_transient(), "a new session reads the journal of the new server");
}

/// The journal was read just before; its position means another transaction there. The other one has a copy of the slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_opened_on_another_server_than_the_journals() {
    let mut bench = Bench::set().await;
    let (second, _client) = promoted(&bench).await;
    bench.target = of_both(&bench.cluster, &second);
    bench.sql(TAKEN_OVER).await;
    let error = bench.try_start(false).await.expect_err("a stream begins");
    assert!(matches!(error, FeedError::Replication(ReplicationError::OtherServer { .. })), "{error}");
}

/// The server has its connection, and with it the slot, until it notices that nothing gets through any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_whose_end_the_server_does_not_hear_is_taken_from_it() {
    let mut bench = Bench::set().await;
    let forwarder = Forwarder::to(bench.cluster.port());
    bench.target = behind(&forwarder, "");
    bench.start(false).await;
    let port = bench
        .number("select client_port::int8 from pg_stat_replication where application_name = 'test stream'");
    let port = u16::try_from(port.await).unwrap();
    bench.free_in_bursts();
    // Somebody waits for it, so that it is kept for a while.
    bench.apply("insert into t (id, big) select g, '' from generate_series(1000, 2199) g").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    forwarder.stall(port);
    until("the burst is over", async || bench.feed().state().bursts == 1).await;
    bench.sql("insert into t (id, big) values (900, '')").await;
    assert!(bench.is_open().await, "the server has heard of it");
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
}

/// A proxy loses a single connection, at an instant at which nothing but a command's answer is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opening_in_which_nothing_gets_through_any_more_is_made_again() {
    let mut bench = Bench::set().await;
    let forwarder = Forwarder::to(bench.cluster.port());
    bench.target = behind(&forwarder, "&keepalives_idle=1&keepalives_interval=1&keepalives_count=1");
    bench.start(false).await;
    bench.free_in_bursts();
    bench.burst(1_000).await;
    let late = Flow::Late(Duration::from_millis(200));
    forwarder.set(late, late);
    bench.sql("insert into t (id, big) values (900, '')").await;
    let opening = "select coalesce(max(client_port), 0)::int8 from pg_stat_activity \
                   where application_name = 'test stream' and query = 'IDENTIFY_SYSTEM'";
    let mut port = 0;
    until("it is opened", async || {
        port = bench.number(opening).await;
        port > 0
    })
    .await;
    forwarder.stall(u16::try_from(port).unwrap());
    forwarder.set(Flow::Open, Flow::Open);
    until("it is open", async || bench.number("select count(*) from GREEN where id = 900").await == 1).await;
    bench.feed().check().unwrap();
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
}

/// What a client has written since a transaction began that is still open is decoded again at each opening.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_kept_as_long_as_opening_it_takes_long() {
    let mut bench = Bench::strict().await;
    let client = bench.cluster.client(DB).await;
    client.batch_execute("begin; insert into t (id, big) values (900, '')").await.unwrap();
    bench.apply("insert into t (id, big) values (901, '')").await;
    let forwarder = Forwarder::to(bench.cluster.port());
    forwarder.set(Flow::Open, Flow::Late(Duration::from_millis(600)));
    bench.target = behind(&forwarder, "");
    bench.start(false).await;
    bench.free_in_bursts();
    bench.apply("insert into t (id, big) select g, '' from generate_series(1000, 2199) g").await;
    forwarder.set(Flow::Open, Flow::Open);
    bench.stays_open(4_000).await;
    // Once it lies before the slot's restart position, it need not be decoded again.
    client.batch_execute("commit").await.unwrap();
    let mut id = 3_000;
    until("the stream is closed", async || {
        id += 1;
        bench.sql("checkpoint").await;
        bench.sql(&format!("insert into t (id, big) values ({id}, '')")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        !bench.is_open().await
    })
    .await;
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
}

/// Who has waited for it once may do so again at once: a backlog is drained by round trips.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_kept_for_a_while_after_somebody_has_waited_for_it() {
    let bench = Bench::strict().await;
    bench.free_in_bursts();
    bench.apply("insert into t (id, big) select g, '' from generate_series(1000, 2199) g").await;
    bench.stays_open(1_500).await;
    bench.rests(true).await;
}

/// All senders are in use for a moment: that is no reason to begin a new session.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_opened_later_if_it_cannot_be_now() {
    let cluster = Cluster::builder().setting("max_wal_senders", "4").start();
    let mut bench = Bench::of(cluster, BLUE, PLAN, "copy").await;
    bench.start(false).await;
    bench.free_in_bursts();
    bench.burst(1_000).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(Walsender::connect(&bench.target, "another", &[]).await.unwrap());
    }
    bench.sql("insert into t (id, big) values (900, '')").await;
    until("it is tried", async || bench.cluster.log().contains("requested standby connections exceeds"))
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.feed().check().unwrap();
    drop(all);
    let free = "select count(*) = 0 from pg_stat_replication";
    eventually(&bench.client, free).await;
    bench.try_drain().await.unwrap();
    bench.expect_same().await;
}
