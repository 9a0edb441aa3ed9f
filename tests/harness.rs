//! The harness itself: what other tests take for granted.

use std::time::Instant;

use crate::support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_are_ready_for_logical_replication_and_apart_from_each_other() {
    let begun = Instant::now();
    let one = Cluster::start();
    let other = Cluster::builder().setting("wal_level", "replica").start();
    println!("two clusters in {:?}", begun.elapsed());

    let level = "select setting from pg_settings where name = 'wal_level'";
    let row = one.client("postgres").await.query_one(level, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "logical");
    assert_eq!(other.psql("postgres", level).trim(), "replica");
    assert_ne!(one.port(), other.port());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_comes_back_with_what_was_committed() {
    let mut cluster = Cluster::start();
    let db = cluster.create_db("app");
    cluster.psql(db, "create table kept (n int); insert into kept select generate_series(1, 100)");
    let client = cluster.client(db).await;
    cluster.kill9();
    assert!(client.simple_query("select 1").await.is_err(), "the old connection is gone");

    cluster.restart();
    assert!(cluster.log().contains("automatic recovery in progress"), "{}", cluster.log());
    assert_eq!(cluster.psql(db, "select count(*) from kept").trim(), "100");

    cluster.restart();
    assert_eq!(cluster.psql(db, "select count(*) from kept").trim(), "100");
}

#[test]
fn dumps_of_the_same_state_are_equal_and_of_another_are_not() {
    let cluster = Cluster::start();
    let db = cluster.create_db("app");
    cluster.psql(db, "create table t (id int primary key, v text); insert into t values (1, 'a')");
    let before = cluster.pg_dump(db, &[]);
    assert_eq!(before, cluster.pg_dump(db, &[]));
    cluster.psql(db, "update t set v = 'b'");
    assert_ne!(before, cluster.pg_dump(db, &[]));
    assert_eq!(cluster.pg_dump(db, &["-s"]), cluster.pg_dump(db, &["--schema-only"]));
}

#[test]
fn a_dropped_cluster_leaves_neither_a_process_nor_a_file() {
    let cluster = Cluster::start();
    let data = cluster.data();
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let proc = format!("/proc/{}", pid.lines().next().unwrap());
    assert!(std::path::Path::new(&proc).exists());
    drop(cluster);
    assert!(!std::path::Path::new(&proc).exists());
    assert!(!data.parent().unwrap().exists());
}

#[test]
fn a_cluster_takes_its_own_rules_of_access() {
    let hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all all scram-sha-256\n";
    let cluster = Cluster::builder().hba(hba).start();
    let rules = "select auth_method from pg_hba_file_rules order by line_number desc limit 1";
    assert_eq!(cluster.psql("postgres", rules).trim(), "scram-sha-256");
}
