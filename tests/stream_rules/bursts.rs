//! A stream that is read in bursts: closed once a burst is over, and opened again where it ended.

use projh_bluegreen::testing::lane::feed::FeedError;
use projh_bluegreen::testing::pg::connect::Target;
use projh_bluegreen::testing::replication::ReplicationError;

use super::bench::{Bench, DB};
use crate::support::waiting::{eventually, until};

impl Bench {
    /// The feed runs freely, in bursts.
    fn free_in_bursts(&self) {
        self.feed().free();
        self.feed().read_in_bursts(true);
    }

    /// Writes enough for a burst, and waits until the stream is closed after it. `from`: the first of 1,200 keys.
    async fn burst(&self, from: i32) {
        let sql = format!("insert into t (id, big) select g, '' from generate_series({from}, {from} + 1199) g");
        self.sql(&sql).await;
        self.rests(true).await;
    }

    /// Waits until the stream is closed, or is open again.
    async fn rests(&self, rests: bool) {
        let sql = format!("select active <> {rests} from pg_replication_slots where slot_name like 'projh_bg_%'");
        eventually(&self.client, &sql).await;
    }
}

/// A standby that takes over may lack what was applied: only its own journal says where to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_opened_again_on_another_server() {
    let mut bench = Bench::set().await;
    let second = bench.cluster.standby();
    let other = second.client(DB).await;
    other.batch_execute("select pg_promote()").await.unwrap();
    eventually(&other, "select not pg_is_in_recovery()").await;
    let slot = "select pg_create_logical_replication_slot($1, 'pgoutput')";
    other.query(slot, &[&bench.prepared.slot.as_str()]).await.unwrap();
    let (one, two) = (bench.cluster.port(), second.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{one},127.0.0.1:{two}/postgres?sslmode=disable&target_session_attrs=read-write"
    );
    bench.target = Target::resolve(Some(&url), &|_| None).unwrap();
    bench.start(false).await;
    bench.free_in_bursts();
    bench.burst(1_000).await;
    // Connections that are open go on with the server that they have.
    bench.sql("alter role postgres set default_transaction_read_only = on").await;
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
