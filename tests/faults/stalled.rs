//! A proxy that stalls a single connection of the program: all others are fine, and no probe fails.

use std::time::Duration;

use super::network::{NOTICED, behind};
use super::{Stage, times, wait_for_another};
use crate::support::Cluster;

/// Longer than a stream may be silent here.
const QUIET: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_connection_of_the_feed_that_is_stalled_is_noticed_by_time() {
    let stage = Stage::set(Cluster::start(), 500, "").await;
    let (stage, forwarder) = behind(stage);
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    // Nobody writes: a stream in which nothing happens is not stalled.
    tokio::time::sleep(QUIET).await;
    assert_eq!(times(&running, "retry"), 0, "{}", running.said());
    let load = stage.load().await;
    for role in ["stream", "apply", "marker"] {
        let (retries, soaks) = (times(&running, "retry"), times(&running, "soaking"));
        let sql = "select client_port from pg_stat_activity where application_name like '% ' || $1";
        let port: i32 = stage.client.query_one(sql, &[&role]).await.unwrap().get(0);
        forwarder.stall(u16::try_from(port).unwrap());
        // A comparison uses the marker's; it is made after all.
        let asked = (role == "marker").then(|| stage.program.spawn("verify", &[]));
        wait_for_another(&running, "retry", retries, NOTICED);
        if let Some(asked) = asked {
            asked.finish().expect_code(0);
        }
        wait_for_another(&running, "soaking", soaks, Duration::from_secs(60));
    }
    stage.program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    stage.expect_nothing_lost(load).await;
}
