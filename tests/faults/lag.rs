//! A standby that replays late, for which `throttle.max_replica_lag` is.

use serde_json::Value;

use super::{DB, Stage, count, times};
use crate::support::Cluster;
use crate::support::bluegreen::Running;
use crate::support::waiting::until;

/// Waits until the program says that it waits for the standby, or no longer, once more than `before`.
async fn throttled(running: &Running, lags: bool, before: usize) {
    let word = if lags { "a standby is " } else { "\"type\":\"throttled\",\"why\":null" };
    until("the standby's lag is noticed", async || running.said().matches(word).count() > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_lags_holds_up_the_copy_and_nobody_who_wants_to_go_back() {
    let stage = Stage::set(Cluster::start(), 3_000, "  throttle: {max_replica_lag: 1s}\n").await;
    let standby = stage.cluster.standby();
    let replica = standby.client(DB).await;
    let load = stage.load().await;
    replica.batch_execute("select pg_wal_replay_pause()").await.unwrap();
    let lag =
        "pg_stat_replication where replay_lag > interval '1 second' and application_name not like 'projh%'";
    until("it lags", async || count(&stage.client, lag).await == 1).await;

    let running = stage.program.spawn("execute", &["--yes"]);
    throttled(&running, true, 0).await;
    load.answers(100).await;
    let copied = "projh_bluegreen.fact where fact->>'fact' = 'copy_finished'";
    assert_eq!(count(&stage.client, copied).await, 0, "{}", running.said());
    replica.batch_execute("select pg_wal_replay_resume()").await.unwrap();
    throttled(&running, false, 0).await;
    running.wait_for("soaking");

    let before = times(&running, "throttled");
    replica.batch_execute("select pg_wal_replay_pause()").await.unwrap();
    until("it is noticed in the soak", async || times(&running, "throttled") > before).await;
    // Blue follows nevertheless, as long as there is no backlog.
    stage.program.run("verify", &[]).expect_code(0);
    stage.program.run("rollback", &[]).expect_code(6);
    let finished = running.finish().expect_code(6);
    let last = finished.events_of("throttled").last().map(|event| event["why"].clone());
    assert!(last.is_some_and(|why: Value| why.as_str().is_some_and(|why| why.contains("a standby is"))));
    assert_eq!(stage.partitioned().await, 0);
    replica.batch_execute("select pg_wal_replay_resume()").await.unwrap();
    stage.expect_nothing_lost(load).await;
}
