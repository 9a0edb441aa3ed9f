//! Chunks of one snapshot against what happens to blue's file between them.

use projh_bluegreen::testing::lane::copy::{self, CopyError, Round};
use projh_bluegreen::testing::lane::point::Point;
use projh_bluegreen::testing::lifecycle::{Fact, Span};

use super::bench::{BLUE, Bench, DB, PLAN};
use crate::support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_of_blue_between_two_chunks_is_noticed() {
    let more = "insert into t (id, big) select g, 'x' from generate_series(1001, 3000) g; delete from t where id < 1500;";
    let bench = Bench::of(Cluster::start(), &format!("{BLUE}{more}"), PLAN, "prepare").await;
    bench.journal.record(Fact::SlotIntended).await.unwrap();
    let file = bench.client.query_one("select pg_relation_filenode('t')", &[]).await.unwrap().get(0);
    let slot = bench.prepared.slot.as_str();
    let (point, _sender) =
        Point::make(&bench.target, bench.journal.run(), slot, false, &|_| {}).await.unwrap();
    bench.journal.record(Fact::SlotCreated { lsn: point.lsn, filenodes: vec![file] }).await.unwrap();
    let round = Round { snapshot: point.snapshot.clone(), skip_present: false, files: vec![file] };
    let worker = bench.cluster.client(DB).await;
    let first = Span { from: 0, to: Some(8) };
    let rows = copy::chunk(&worker, &worker, (&bench.lane, first), &round).await.unwrap();
    bench.journal.commit(&worker, Fact::ChunkCopied { lane: 0, span: first, rows }).await.unwrap();
    bench.sql("vacuum full t").await;
    let rest = Span { from: 8, to: None };
    let error = copy::chunk(&worker, &worker, (&bench.lane, rest), &round).await.unwrap_err();
    assert!(matches!(error, CopyError::Rewritten { lane: 0, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_to_read_again_that_cannot_be_read_is_not_forgotten() {
    let bench = Bench::set().await;
    let keys = bench.lane.dirty_table();
    let lost = format!("alter table {keys} drop constraint dirty_0_pkey, alter id drop not null");
    bench.sql(&format!("{lost}; insert into {keys} values (7), (null)")).await;
    let (now, worker) = (bench.cluster.client(DB).await, bench.cluster.client(DB).await);
    now.batch_execute("begin isolation level repeatable read").await.unwrap();
    let snapshot: String = now.query_one("select pg_export_snapshot()", &[]).await.unwrap().get(0);
    let round = bench.round(&snapshot).await;
    let error = copy::dirty_keys(&worker, &worker, &bench.lane, &round).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CopyError::NoKey { .. }) && text.contains(&keys.plain()), "{text}");
    assert_eq!(bench.number(&format!("select count(*) from {keys}")).await, 2);
}
