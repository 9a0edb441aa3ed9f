//! Clients that are in the way of a rollback: they are named, and nobody is harmed.

use tokio_postgres::Client;

use super::{DB, Stage, count};
use crate::support::waiting::notice;
use crate::support::{Cluster, home};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_finds_no_moment_leaves_the_soak_as_it_was_and_names_who_was_in_the_way() {
    let stage = Stage::set(Cluster::start(), 300, "  swap: {attempts: 2, lock_timeout: 100ms}\n").await;
    let load = stage.load().await;
    stage.program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let holder = stage.cluster.client(DB).await;
    holder.batch_execute("set application_name = 'holder'").await.unwrap();
    holder.batch_execute("begin; select count(*) from oracle.by_uuid").await.unwrap();
    let refused = stage.program.run("rollback", &[]).expect_code(5);
    println!("{}", refused.error());
    let postponed = refused.events_of("swap_postponed");
    assert!(postponed.iter().any(|event| event["blockers"].to_string().contains("holder")), "{postponed:?}");
    let state = refused.events_of("end")[0]["state"].as_str().unwrap().to_owned();
    assert!(state.starts_with("swapped: green is live; the swap can be undone"), "{state}");
    load.answers(20).await;
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(stage.partitioned().await, 3);
    // And it goes on, in either direction.
    stage.goes_on_and_back(load).await;
}

/// A consistent point can only be made once everybody who has written has ended: whoever does not is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_waits_for_transactions_that_are_left_open_and_names_them() {
    let cluster = Cluster::builder().setting("max_prepared_transactions", "2").start();
    let stage = Stage::set(cluster, 300, "").await;
    let load = stage.load().await;
    let holder = stage.cluster.client(DB).await;
    holder.batch_execute("set application_name = 'holder'").await.unwrap();
    let changes = "begin; select from oracle.by_tenant where tenant = 1 for update";
    let prepares =
        "begin; lock table oracle.by_identity in access share mode; prepare transaction 'forgotten'";
    for (sql, end, named) in [
        (changes, "rollback", "holder"),
        (prepares, "rollback prepared 'forgotten'", "rollback prepared 'forgotten'"),
    ] {
        stage.program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        holder.batch_execute(sql).await.unwrap();
        let running = stage.program.spawn("rollback", &[]);
        let waits = running.wait_until(notice(named));
        println!("{}", waits.expect("it is named"));
        load.answers(20).await;
        assert_eq!(stage.partitioned().await, 3);
        holder.batch_execute(end).await.unwrap();
        running.finish().expect_code(6);
    }
    stage.expect_nothing_lost(load).await;
}

/// The rows of blue may be newer than its snapshot: it would not see them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_a_snapshot_from_before_the_rollback_is_waited_for() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let reader = stage.cluster.client(DB).await;
    let written =
        "insert into oracle.by_identity (owner, at, details, body) values (0, '2025-05-05', '{}', 'seen')";
    stage.client.batch_execute(written).await.unwrap();
    reader.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let back = stage.program.spawn("rollback", &[]);
    running.wait_for_notice("snapshots that are older");
    load.answers(20).await;
    // It may begin to read at any time: all that was committed is there.
    assert_eq!(count(&reader, "oracle.by_identity where body = 'seen'").await, 1);
    assert_eq!(stage.partitioned().await, 3);
    reader.batch_execute("commit").await.unwrap();
    back.finish().expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(count(&reader, "oracle.by_identity where body = 'seen'").await, 1);
    stage.client.batch_execute("delete from oracle.by_identity where body = 'seen'").await.unwrap();
    stage.expect_nothing_lost(load).await;
}

async fn seen(client: &Client) -> String {
    let bodies = "select string_agg(body, ' ' order by body) from oracle.by_identity \
                  where body in ('changed', 'deleted', 'newer', 'late', 'lost')";
    client.query_one(bodies, &[]).await.unwrap().get(0)
}

/// A transaction that began before the swap, and uses the table only after it, sees green as it was when the transaction
/// began: as if it had begun a little earlier. It can base no write on what it does not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_from_within_the_lag_is_a_little_older_and_nothing_is_overwritten_by_it() {
    let stage = Stage::set(Cluster::start(), 300, "").await;
    let write =
        "insert into oracle.by_identity (owner, at, details, body) values (0, '2025-05-05', '{}', $1)";
    for body in ["changed", "deleted"] {
        stage.client.execute(write, &[&body]).await.unwrap();
    }
    let running = stage.program.spawn("execute", &["--hold-swap"]);
    running.wait_for_notice("the swap is held");
    // What is committed now is applied to green only once this has ended.
    let green = home(&stage.client, "green").await;
    let holder = stage.cluster.client(DB).await;
    holder
        .batch_execute(&format!("begin; lock table {green}.by_identity in access exclusive mode"))
        .await
        .unwrap();
    let change = "update oracle.by_identity set body = 'newer' where body = 'changed';
                  delete from oracle.by_identity where body = 'deleted'";
    stage.client.batch_execute(change).await.unwrap();
    stage.client.execute(write, &[&"late"]).await.unwrap();
    let [reader, writer] = [stage.cluster.client(DB).await, stage.cluster.client(DB).await];
    for old in [&reader, &writer] {
        old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    }
    holder.batch_execute("rollback").await.unwrap();
    stage.program.run("swap", &[]).expect_code(0);

    assert_eq!(seen(&reader).await, "changed deleted", "all of it is of one moment");
    let overwrite = "update oracle.by_identity set body = 'lost' where body = 'changed'";
    let error = writer.batch_execute(overwrite).await.unwrap_err();
    assert_eq!(error.code().map(|code| code.code()), Some("40001"), "{error}");
    writer.batch_execute("rollback").await.unwrap();
    reader.batch_execute("commit").await.unwrap();
    assert_eq!(seen(&reader).await, "late newer");
    running.wait_for("soaking");
    stage.program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(seen(&stage.client).await, "late newer");
}
