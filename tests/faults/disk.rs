//! In the soak: a full disk below blue, and a synchronous standby that is gone.

use std::fs;

use super::{DB, Stage, count};
use crate::support::waiting::{eventually, until};
use crate::support::{Cluster, home};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_below_blue_stops_the_stream_and_no_client() {
    let stage = Stage::set(Cluster::start(), 300, "  reconnect_for: 1s\n").await;
    let Some(disk) = stage.cluster.small_disk(48) else {
        println!("not run: only root may mount a small disk");
        return;
    };
    let space = format!("create tablespace small location '{}'", disk.display());
    stage.client.batch_execute(&space).await.unwrap();
    // Blue alone is on it: its stream is stopped first, because clients of green need no room there.
    for table in ["by_uuid", "by_identity", "by_tenant"] {
        let sql = format!("alter table oracle.{table} set tablespace small");
        stage.client.batch_execute(&sql).await.unwrap();
    }
    let load = stage.load().await;
    stage.program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let leaves = "select format('alter table oracle.%I set tablespace pg_default', c.relname) from pg_class c
                  where c.relispartition and c.relnamespace = 'oracle'::regnamespace and c.relkind = 'r'";
    for row in stage.client.query(leaves, &[]).await.unwrap() {
        stage.client.batch_execute(row.get(0)).await.unwrap();
    }
    let room = rustix::fs::statvfs(&disk).unwrap();
    let bytes = usize::try_from(room.f_bavail * room.f_frsize).unwrap();
    fs::write(disk.join("ballast"), vec![b'x'; bytes]).unwrap();
    let running = stage.program.spawn("execute", &["--yes"]);
    until("it has ended", async || {
        load.answers(20).await;
        running.said().contains("\"type\":\"end\"")
    })
    .await;
    let full = running.finish().expect_code(1);
    println!("{}", full.error());
    assert!(full.error().contains("No space left on device"), "{}", full.error());
    assert!(!full.events_of("retry").is_empty(), "{}", full.stdout);
    assert!(full.events_of("end")[0]["state"].as_str().unwrap().starts_with("swapped: green is live"));
    fs::remove_file(disk.join("ballast")).unwrap();
    let blue = home(&stage.client, "blue").await;
    assert!(count(&stage.client, &format!("{blue}.by_uuid")).await > 0);
    stage.goes_on_and_back(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_whose_standby_is_gone_says_so_and_ends_when_one_confirms_it() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let want = async |names: &str| {
        let sql = format!("alter system set synchronous_standby_names = '{names}'");
        stage.client.batch_execute(&sql).await.unwrap();
        stage.client.batch_execute("select pg_reload_conf()").await.unwrap();
        let is_so = format!("select current_setting('synchronous_standby_names') = '{names}'");
        eventually(&stage.client, &is_so).await;
    };
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let reader = stage.cluster.client(DB).await;
    reader.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let back = stage.program.spawn("rollback", &[]);
    running.wait_for_notice("snapshots that are older");
    want("far_away").await;
    reader.batch_execute("commit").await.unwrap();
    running.wait_for_notice("far_away");
    want("").await;
    back.finish().expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(stage.partitioned().await, 0);
    stage.expect_nothing_lost(load).await;
}
