//! The replication client against a real walsender.

use std::time::Duration;

use projh_bluegreen::testing::pg::Lsn;
use projh_bluegreen::testing::pg::connect::Target;
use projh_bluegreen::testing::replication::pgoutput::{Logical, OldKind, Value};
use projh_bluegreen::testing::replication::{Received, ReplicationError, Server, Start, Stream, Walsender};

use crate::support::Cluster;
use crate::support::waiting::until;

const TABLE: &str = "create table t (id bigint primary key, note text); create publication p for table t";
const MEBIBYTE: usize = 1 << 20;

fn target(cluster: &Cluster) -> Target {
    Target::resolve(Some(&cluster.url("postgres")), &|_| None).unwrap()
}

async fn walsender(cluster: &Cluster, settings: &[(&str, &str)]) -> Walsender {
    Walsender::connect(&target(cluster), "it", settings).await.unwrap()
}

fn start(from: Lsn, buffer_bytes: usize) -> Start {
    Start { slot: "s".to_owned(), publication: "p".to_owned(), from, buffer_bytes }
}

/// A cluster with the table, a slot `s` and a stream from it.
async fn streaming(cluster: &Cluster, buffer_bytes: usize) -> Stream {
    cluster.psql("postgres", TABLE);
    let mut walsender = walsender(cluster, &[]).await;
    let point = walsender.create_slot("s", false).await.unwrap();
    walsender.start(start(point.lsn, buffer_bytes)).await.unwrap()
}

/// The next message that is no keepalive.
async fn message(stream: &mut Stream) -> Logical {
    let wait = async {
        loop {
            if let Received::Message(message) = stream.next().await.unwrap() {
                return message;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("a message")
}

/// Waits until the server's answer to `question` is `expected`.
async fn becomes(cluster: &Cluster, question: &str, expected: &str) {
    until(question, async || cluster.psql("postgres", question).trim() == expected).await;
}

fn code(error: &ReplicationError) -> &str {
    error.sqlstate().map_or("none", |code| code.code())
}

/// Some who offer servers let nobody ask for the system's identifier.
#[tokio::test]
async fn a_server_is_the_same_to_sessions_of_both_kinds_with_and_without_the_right_to_ask() {
    let cluster = Cluster::start();
    cluster.psql("postgres", "create role asks login; create role nobody login");
    cluster.psql("postgres", "revoke execute on function pg_control_system() from public; grant execute on function pg_control_system() to asks");
    let mut walsender = walsender(&cluster, &[]).await;
    for (role, knows_it) in [("asks", true), ("nobody", false)] {
        let url = cluster.url("postgres").replace("postgres@", &format!("{role}@"));
        let session = Target::resolve(Some(&url), &|_| None).unwrap().connect("it", &[]).await.unwrap();
        let server = Server::of(&session).await.unwrap();
        assert_eq!(server.to_string().contains("system"), knows_it, "{server}");
        walsender.must_be(&server).await.unwrap();
    }
}

#[tokio::test]
async fn the_wait_for_a_slot_is_bounded_and_can_be_cancelled() {
    let cluster = Cluster::builder().setting("max_replication_slots", "1").start();
    cluster.psql("postgres", TABLE);
    let writer = target(&cluster).connect("writer", &[]).await.unwrap();
    writer.batch_execute("begin; insert into public.t values (1)").await.unwrap();

    let mut bounded = walsender(&cluster, &[("lock_timeout", "200ms")]).await;
    let error = bounded.create_slot("s", false).await.unwrap_err();
    assert_eq!(code(&error), "55P03");
    assert!(error.is_transient());

    let mut unbounded = walsender(&cluster, &[]).await;
    let canceller = unbounded.canceller();
    let waits = "select exists (select from pg_stat_activity where backend_type = 'walsender' and wait_event_type = 'Lock')";
    let (created, cancelled) = tokio::join!(unbounded.create_slot("s", false), async {
        becomes(&cluster, waits, "t").await;
        canceller.cancel().await
    });
    cancelled.unwrap();
    assert_eq!(code(&created.unwrap_err()), "57014");

    let given_up = tokio::time::timeout(Duration::from_millis(100), unbounded.create_slot("s", false)).await;
    assert!(given_up.is_err());
    let error = unbounded.drop_slot("s").await.unwrap_err();
    assert!(matches!(error, ReplicationError::Interrupted), "{error:?}");
    unbounded.canceller().cancel().await.unwrap();

    writer.batch_execute("commit").await.unwrap();
    becomes(&cluster, "select count(*) from pg_replication_slots", "0").await;
    bounded.create_slot("s", false).await.unwrap();
    assert_eq!(code(&bounded.create_slot("s", false).await.unwrap_err()), "42710");
    assert_eq!(code(&bounded.create_slot("other", false).await.unwrap_err()), "53400");
    bounded.drop_slot("s").await.unwrap();
    let error = bounded.drop_slot("s").await.unwrap_err();
    assert!(matches!(error, ReplicationError::SlotGone { .. }), "{error:?}");
}

#[tokio::test]
async fn the_snapshot_sees_what_was_committed_before_the_point_and_the_stream_the_rest() {
    let cluster = Cluster::start();
    cluster.psql("postgres", TABLE);
    cluster.psql("postgres", "insert into t values (1, 'before')");
    let mut slot_maker = walsender(&cluster, &[]).await;
    let point = slot_maker.create_slot("s", false).await.unwrap();
    cluster.psql("postgres", "insert into t values (2, 'after')");
    let session = target(&cluster).connect("reader", &[]).await.unwrap();
    let begin =
        format!("begin isolation level repeatable read; set transaction snapshot '{}'", point.snapshot);
    session.batch_execute(&begin).await.unwrap();
    let count = session.query_one("select count(*) from public.t", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 1);

    let mut stream = slot_maker.start(start(Lsn(0), MEBIBYTE)).await.unwrap();
    let Logical::Begin { final_lsn, .. } = message(&mut stream).await else { panic!("no begin") };
    assert!(final_lsn >= point.lsn);
    assert!(matches!(message(&mut stream).await, Logical::Relation(_)));
    let Logical::Insert { new, .. } = message(&mut stream).await else { panic!("no insert") };
    assert_eq!(new[0], Value::Binary(2_i64.to_be_bytes().to_vec().into()));
}

#[tokio::test]
async fn every_kind_of_change_arrives_as_it_was_made() {
    let cluster = Cluster::start();
    let mut stream = streaming(&cluster, MEBIBYTE).await;
    cluster.psql(
        "postgres",
        "begin; insert into t values (1, null); select pg_logical_emit_message(true, 'bg', 'hello'); \
         update t set note = 'x'; update t set id = 2; delete from t; truncate t restart identity; commit",
    );
    assert!(matches!(message(&mut stream).await, Logical::Begin { .. }));
    let Logical::Relation(relation) = message(&mut stream).await else { panic!("no relation") };
    assert_eq!((&*relation.schema, &*relation.name), ("public", "t"));
    let columns: Vec<_> = relation.columns.iter().map(|c| (c.is_key, &c.name[..], c.type_oid)).collect();
    assert_eq!(columns, [(true, &b"id"[..], 20), (false, &b"note"[..], 25)]);
    let Logical::Insert { new, .. } = message(&mut stream).await else { panic!("no insert") };
    assert_eq!(new[1], Value::Null);
    let Logical::Message(marker) = message(&mut stream).await else { panic!("no message") };
    assert_eq!((marker.transactional, &*marker.prefix, &marker.content[..]), (true, "bg", &b"hello"[..]));
    assert!(matches!(message(&mut stream).await, Logical::Update { old: None, .. }));
    let Logical::Update { old: Some(old), .. } = message(&mut stream).await else { panic!("no update") };
    assert_eq!(
        (old.kind, &old.tuple[0]),
        (OldKind::Key, &Value::Binary(1_i64.to_be_bytes().to_vec().into()))
    );
    assert!(matches!(message(&mut stream).await, Logical::Delete { .. }));
    // The truncate gave the table a new file, and with it a new relation message.
    let truncate = match message(&mut stream).await {
        Logical::Relation(_) => message(&mut stream).await,
        other => other,
    };
    let expected =
        Logical::Truncate { relations: vec![relation.oid], cascade: false, restart_identity: true };
    assert_eq!(truncate, expected);
    assert!(matches!(message(&mut stream).await, Logical::Commit { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_sleeps_longer_than_the_server_waits_keeps_its_connection() {
    let cluster = Cluster::builder().setting("wal_sender_timeout", "2s").start();
    let mut stream = streaming(&cluster, 64 * 1024).await;
    cluster.psql("postgres", "insert into t select n, repeat('x', 200) from generate_series(1, 50000) n");
    let pid = "select active_pid from pg_replication_slots";
    let before = cluster.psql("postgres", pid);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(cluster.psql("postgres", pid), before, "the server ended the connection");

    let mut inserts = 0;
    loop {
        match message(&mut stream).await {
            Logical::Insert { .. } => inserts += 1,
            Logical::Commit { .. } => break,
            _ => {}
        }
    }
    assert_eq!(inserts, 50_000);
    assert_eq!(cluster.psql("postgres", pid), before);
}

#[tokio::test]
async fn a_message_larger_than_the_buffer_passes() {
    let cluster = Cluster::start();
    let mut stream = streaming(&cluster, 1).await;
    cluster.psql("postgres", "insert into t values (1, repeat('y', 3000000))");
    loop {
        if let Logical::Insert { new, .. } = message(&mut stream).await {
            assert!(matches!(&new[1], Value::Binary(bytes) | Value::Text(bytes) if bytes.len() == 3_000_000));
            return;
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_does_not_come_again_and_the_rest_does() {
    let cluster = Cluster::start();
    let mut stream = streaming(&cluster, MEBIBYTE).await;
    cluster.psql("postgres", "insert into t values (1)");
    let end = loop {
        if let Logical::Commit { end_lsn, .. } = message(&mut stream).await {
            break end_lsn;
        }
    };
    stream.acknowledge(end);
    let confirmed = format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots");
    becomes(&cluster, &confirmed, "t").await;
    cluster.psql("postgres", "insert into t values (2)");
    assert!(matches!(message(&mut stream).await, Logical::Begin { .. }));
    stream.stop().await.unwrap();

    // At once: stopping is over when the slot is free.
    let mut stream = walsender(&cluster, &[]).await.start(start(Lsn(0), MEBIBYTE)).await.unwrap();
    let second = loop {
        if let Logical::Insert { new, .. } = message(&mut stream).await {
            break new;
        }
    };
    assert_eq!(second[0], Value::Binary(2_i64.to_be_bytes().to_vec().into()));
    let busy = walsender(&cluster, &[]).await.start(start(Lsn(0), MEBIBYTE)).await.unwrap_err();
    assert_eq!((code(&busy), busy.is_transient()), ("55006", true));
}

#[tokio::test]
async fn wal_that_is_not_ours_is_released_through_keepalives() {
    let cluster = Cluster::builder().setting("wal_sender_timeout", "2s").start();
    let mut stream = streaming(&cluster, MEBIBYTE).await;
    cluster.psql("postgres", "create table other as select generate_series(1, 10000)");
    let end = cluster.psql("postgres", "select pg_current_wal_flush_lsn()");
    let end: Lsn = end.trim().parse().unwrap();
    let wait = async {
        loop {
            match stream.next().await.unwrap() {
                Received::Keepalive { wal_end } if wal_end >= end => return stream.acknowledge(wal_end),
                Received::Keepalive { wal_end } => stream.acknowledge(wal_end),
                // The new table's own transaction is empty to us; PostgreSQL 14 tells of it.
                Received::Message(Logical::Begin { .. } | Logical::Commit { .. }) => {}
                Received::Message(other) => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("a keepalive");
    let confirmed = format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots");
    becomes(&cluster, &confirmed, "t").await;
}

#[tokio::test]
async fn a_lost_connection_is_transient_and_a_lost_slot_is_not() {
    let mut cluster = Cluster::builder().setting("max_slot_wal_keep_size", "1MB").start();
    let mut stream = streaming(&cluster, MEBIBYTE).await;
    cluster.psql("postgres", "select pg_terminate_backend(active_pid) from pg_replication_slots");
    let error = until_error(&mut stream).await;
    assert_eq!((code(&error), error.is_transient()), ("57P01", true));
    assert!(matches!(stream.next().await.unwrap_err(), ReplicationError::Ended));

    let mut stream = walsender(&cluster, &[]).await.start(start(Lsn(0), MEBIBYTE)).await.unwrap();
    cluster.kill9();
    assert!(until_error(&mut stream).await.is_transient());
    cluster.restart();

    for _ in 0..4 {
        cluster.psql(
            "postgres",
            "select pg_switch_wal() from (select pg_logical_emit_message(false, 'x', 'y')) m",
        );
    }
    cluster.psql("postgres", "checkpoint");
    let error = walsender(&cluster, &[]).await.start(start(Lsn(0), MEBIBYTE)).await.unwrap_err();
    assert!(matches!(error, ReplicationError::SlotGone { .. }), "{error:?}");
    assert!(!error.is_transient());
}

async fn until_error(stream: &mut Stream) -> ReplicationError {
    let wait = async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("an error")
}
