//! A slot that the server has given up (`max_slot_wal_keep_size`): one of the two, or both.

use serde_json::Value;
use tokio_postgres::Client;

use super::{Stage, count};
use crate::support::waiting::{eventually, notice, until};
use crate::support::{Bluegreen, Cluster, home};

/// The server gives slots up that are more than a megabyte behind; what is written meanwhile is no change of a table.
async fn lose_slots(client: &Client, but: Option<&str>) {
    for _ in 0..4 {
        client.batch_execute("select pg_logical_emit_message(false, 'x', 'y')").await.unwrap();
        client.batch_execute("select pg_switch_wal()").await.unwrap();
    }
    for _ in 0..2 {
        client.batch_execute("checkpoint").await.unwrap();
        let advance = "select count(pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn())) from pg_replication_slots
                       where slot_name ~ $1";
        client.query(advance, &[&but.unwrap_or("^$")]).await.unwrap();
    }
    limit(client, "1MB").await;
    let lost = if but.is_some() { 1 } else { 2 };
    // The checkpointer may learn of the limit later than our session, and looks at slots only in a checkpoint.
    until("the server has given them up", async || {
        client.batch_execute("checkpoint").await.unwrap();
        count(client, "pg_replication_slots where wal_status = 'lost'").await == lost
    })
    .await;
}

async fn limit(client: &Client, size: &str) {
    client.batch_execute(&format!("alter system set max_slot_wal_keep_size = '{size}'")).await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    eventually(client, &format!("select current_setting('max_slot_wal_keep_size') = '{size}'")).await;
}

impl Stage {
    /// Green is live and stays so: the state says what is left of the run, and the rest of it is possible.
    async fn expect_way_back_lost(&self, from: crate::support::Finished) {
        let lost = from.expect_code(1);
        let words = "green is live, and the way back is lost, because a slot cannot be kept";
        assert!(lost.error().starts_with(words), "{}", lost.error());
        println!("{}", lost.error());
        let state = "swapped: green is live; blue is kept, but no longer written: the way back was lost (";
        let says = |standing: &Value| standing["state"].as_str().unwrap().starts_with(state);
        assert!(says(lost.events_of("end")[0]), "{}", lost.stdout);
        let status = self.program.run("status", &[]).expect_code(0);
        assert!(says(status.events_of("status")[0]), "{}", status.stdout);
        self.program.run("rollback", &[]).expect_code(2).expect_words(&["its way back is closed"]);
        self.program.execute(&["--yes"]).expect_code(0);
        assert_eq!(self.partitioned().await, 3);
        assert_eq!(count(&self.client, "pg_replication_slots").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_lost_between_two_commands_closes_the_way_that_needs_it_and_loses_no_write() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let args = ["--yes", "--until", "settle"];
    for but in ["_back$", "[^k]$"] {
        stage.program.execute(&args).expect_code(0);
        stage.program.run("rollback", &[]).expect_code(6);
        lose_slots(&stage.client, Some(but)).await;
        limit(&stage.client, "-1").await;
        // Blue is live: green cannot follow any more.
        let given_up = stage.program.execute(&args).expect_code(1);
        println!("{but}: {}", given_up.error());
        assert!(given_up.error().starts_with("the run was given up, because its slot cannot be kept"));
        let end = given_up.events_of("end")[0].to_string();
        assert!(end.contains("blue is live") && end.contains("projh-bluegreen rollback"), "{end}");
        assert!(end.contains("--drop-green"), "{end}");
        assert_eq!(count(&stage.client, "pg_replication_slots").await, 0);
        stage.program.run("rollback", &["--drop-green"]).expect_code(6);
    }
    stage.program.execute(&args).expect_code(0);
    lose_slots(&stage.client, Some("[^k]$")).await;
    stage.expect_way_back_lost(stage.program.execute(&["--yes"])).await;
    stage.program.run("finish", &["--yes"]).expect_code(0);
    stage.expect_nothing_lost(load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_lost_in_the_soak_are_an_alarm_at_once() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    // What is written cannot be applied.
    let blue = home(&stage.client, "blue").await;
    let holder = stage.cluster.client(super::DB).await;
    let lock = format!(
        "begin; lock table {blue}.by_uuid, {blue}.by_identity, {blue}.by_tenant in access exclusive mode"
    );
    holder.batch_execute(&lock).await.unwrap();
    load.answers(200).await;
    running.wait_until(notice("has been waiting")).unwrap();
    lose_slots(&stage.client, None).await;
    let ended = running.finish();
    holder.batch_execute("rollback").await.unwrap();
    stage.expect_way_back_lost(ended).await;
    stage.expect_nothing_lost(load).await;
}

/// With `finish: after_soak`, blue is dropped when the soak is over; a way back that was lost is another end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_is_kept_for_a_person_to_decide_if_the_way_back_was_lost() {
    let stage = Stage::set(Cluster::start(), 300, "  finish: after_soak\n").await;
    stage.program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    lose_slots(&stage.client, None).await;
    stage
        .program
        .run("status", &[])
        .expect_words(&["the way back is lost", "_back was given up by the server"]);
    stage.expect_way_back_lost(stage.program.execute(&["--yes"])).await;
    let blue = home(&stage.client, "blue").await;
    let is_kept = format!("(select 1 where to_regclass('{blue}.by_uuid') is not null) x");
    assert_eq!(count(&stage.client, &is_kept).await, 1);
    stage.program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(count(&stage.client, "pg_publication").await, 0);
}

/// Between two bursts of the stream nobody uses it, so that anybody can drop it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_dropped_while_the_stream_is_closed_is_an_alarm() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '%\\_back' and not active";
    // The stream may be opened just then.
    until("it is dropped", async || stage.client.query(drop, &[]).await.is_ok_and(|rows| rows.len() == 1))
        .await;
    stage.expect_way_back_lost(running.finish()).await;
    stage.expect_nothing_lost(load).await;
}

/// A copy of the database has the run's journal, and none of its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_database_leaves_the_slots_of_the_run_alone() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let (args, plan) =
        (["--yes", "--until", "settle"], std::fs::read_to_string(stage.program.folder().join("plan.yaml")));
    stage.program.execute(&args).expect_code(0);
    let dump = stage.cluster.pg_dump(super::DB, &["--inserts"]);
    let dump: String =
        dump.lines().filter(|line| !line.starts_with('\\')).map(|line| format!("{line}\n")).collect();
    stage.client.batch_execute("create database copy").await.unwrap();
    stage.cluster.client("copy").await.batch_execute(&dump).await.unwrap();
    let of_copy = Bluegreen::new(&stage.cluster, "copy").plan(&plan.unwrap());
    assert_ne!(of_copy.execute(&["--yes"]).code, Some(0));
    of_copy.run("finish", &["--yes", "--force"]);
    assert_eq!(count(&stage.client, "pg_replication_slots where database = 'postgres'").await, 2);
    stage.program.run("rollback", &[]).expect_code(6);
    stage.program.execute(&args).expect_code(0);
    stage.expect_nothing_lost(load).await;
}
