//! The server is stopped as by `pg_ctl stop -m immediate`, and started again.

use std::time::Duration;

use super::{DB, Stage, begins, count, times, wait_for_another};
use crate::support::Cluster;

/// Each with a process of its own, which goes on by itself: a command, the phase in which the server is stopped, and how
/// the command ends.
const THERE: [(&str, &str, i32); 8] = [
    ("execute", "prepare", 7),
    ("execute", "copy", 7),
    ("execute", "catch_up", 7),
    ("execute", "index", 7),
    ("execute", "verify", 7),
    ("execute", "swap", 7),
    ("execute", "settle", 7),
    ("execute", "soak", 7),
];
const BACK_AND_THERE: [(&str, &str, i32); 5] = [
    ("rollback", "catch_up", 7),
    ("rollback", "verify", 7),
    ("rollback", "swap", 6),
    ("execute", "verify", 7),
    ("execute", "swap", 7),
];
const OUT: [(&str, &str, i32); 2] = [("rollback", "settle", 6), ("rollback", "rollback", 6)];

impl Stage {
    async fn stop_in(&mut self, (command, phase, code): (&str, &str, i32)) {
        let args: &[&str] = match (command, phase) {
            ("execute", _) => &["--yes"],
            (_, "rollback") => &["--drop-green"],
            _ => &[],
        };
        let running = self.program.spawn(command, args);
        begins(&running, phase);
        self.cluster.stop_immediately();
        self.cluster.restart();
        self.client = self.cluster.client(DB).await;
        if code == 7 {
            wait_for_another(&running, "retry", 0, Duration::from_secs(60));
            wait_for_another(&running, "run", 1, Duration::from_secs(60));
            running.terminate();
        }
        running.finish().expect_code(code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_at_once_in_any_phase_of_either_direction_it_loses_nothing() {
    let mut stage = Stage::set(Cluster::start(), 2_000, "").await;
    let load = stage.load_that_reconnects().await;
    for fault in THERE {
        stage.stop_in(fault).await;
    }
    assert_eq!(stage.partitioned().await, 3);
    for fault in BACK_AND_THERE {
        stage.stop_in(fault).await;
    }
    let running = stage.program.spawn("execute", &["--yes"]);
    wait_for_another(&running, "soaking", 0, Duration::from_secs(60));
    assert_eq!((stage.partitioned().await, times(&running, "round")), (3, 0));
    running.terminate();
    running.finish().expect_code(7);
    for fault in OUT {
        stage.stop_in(fault).await;
    }
    assert_eq!(stage.partitioned().await, 0);
    assert_eq!(count(&stage.client, "pg_replication_slots").await, 0);
    stage.expect_nothing_lost(load).await;
}

/// Whoever guards the slots also heeds other terminals: not only until its own connection is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_watcher_lost_its_connection_heeds_other_terminals() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let end = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where application_name like '% pace'";
    let ended: i64 = stage.client.query_one(end, &[]).await.unwrap().get(0);
    assert_eq!(ended, 1);
    stage.program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(stage.partitioned().await, 0);
}
