//! Another server takes over: it has the journal and the tables, but not the slots.

use std::time::Duration;

use tokio_postgres::Client;

use super::{DB, Stage, count, wait_for_another};
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster};

/// The program knows both servers, and connects to the one that takes writes.
fn of_both(program: Bluegreen, one: &Cluster, other: &Cluster) -> Bluegreen {
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?sslmode=disable&target_session_attrs=read-write",
        one.port(),
        other.port()
    );
    program.env("DATABASE_URL", &url)
}

/// The primary is lost once the standby has everything; the standby takes its place.
async fn fail_over(primary: &Client, cluster: &mut Cluster, standby: &Cluster) -> Client {
    let end: String = primary.query_one("select pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    let client = standby.client(DB).await;
    eventually(&client, &format!("select pg_last_wal_replay_lsn() >= '{end}'")).await;
    cluster.kill9();
    client.batch_execute("select pg_promote()").await.unwrap();
    client
}

/// From version 17 on a standby can have copies of the slots: then the run continues on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_with_synchronised_slots_continues_the_run() {
    let mut stage = Stage::set(Cluster::start(), 300, "").await;
    let version =
        count(&stage.client, "(select where current_setting('server_version_num')::int >= 170000) x").await;
    if version == 0 {
        println!("not run: slots are synchronised from version 17 on");
        return;
    }
    let second = stage.cluster.standby();
    stage.client.query("select pg_create_physical_replication_slot('second', true)", &[]).await.unwrap();
    let replica = second.client(DB).await;
    for setting in
        ["primary_slot_name = 'second'", "hot_standby_feedback = on", "sync_replication_slots = on"]
    {
        replica.batch_execute(&format!("alter system set {setting}")).await.unwrap();
    }
    replica.batch_execute("select pg_reload_conf()").await.unwrap();
    stage.program = of_both(stage.program, &stage.cluster, &second);
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    eventually(&replica, "select count(*) = 2 from pg_replication_slots where synced and not temporary")
        .await;
    let outcome = load.stop().await;
    stage.client = fail_over(&stage.client, &mut stage.cluster, &second).await;
    stage.cluster = second;
    outcome.check(&stage.client).await.unwrap().expect_clean();
    wait_for_another(&running, "soaking", 1, Duration::from_secs(60));
    let load = stage.load().await;
    stage.program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(stage.partitioned().await, 0);
    stage.expect_nothing_lost(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_has_no_slots_and_that_is_said() {
    let mut stage = Stage::set(Cluster::start(), 300, "").await;
    let second = stage.cluster.standby();
    stage.program = of_both(stage.program, &stage.cluster, &second);
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--hold-swap"]);
    running.wait_until(|event| event["type"] == "waiting" && event["cause"] == "release").unwrap();
    load.answers(50).await;
    let outcome = load.stop().await;
    stage.client = fail_over(&stage.client, &mut stage.cluster, &second).await;
    stage.cluster = second;
    let given_up = running.finish().expect_code(1);
    println!("{}", given_up.error());
    assert!(given_up.error().contains("or another server took over without it"), "{}", given_up.error());
    let end = given_up.events_of("end")[0].to_string();
    assert!(end.contains("blue is live") && end.contains("projh-bluegreen rollback"), "{end}");
    stage.program.run("rollback", &[]).expect_code(6);
    outcome.check(&stage.client).await.unwrap().expect_clean();

    let third = stage.cluster.standby();
    stage.program = of_both(stage.program, &stage.cluster, &third);
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    load.answers(50).await;
    let outcome = load.stop().await;
    stage.client = fail_over(&stage.client, &mut stage.cluster, &third).await;
    stage.cluster = third;
    let lost = running.finish().expect_code(1);
    println!("{}", lost.error());
    assert!(lost.error().contains("the way back is lost"), "{}", lost.error());
    assert!(lost.error().contains("or another server took over without it"), "{}", lost.error());
    stage.program.run("rollback", &[]).expect_code(2).expect_words(&["its way back is closed"]);
    outcome.check(&stage.client).await.unwrap().expect_clean();
    // Clients go on with green, which is what it was.
    let load = stage.load().await;
    stage.program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(stage.partitioned().await, 3);
    assert_eq!(count(&stage.client, "pg_namespace where nspname ~ '^projh_bg_'").await, 0);
    stage.expect_nothing_lost(load).await;
}
