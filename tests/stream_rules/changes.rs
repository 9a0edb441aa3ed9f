//! What a change says of rows: keys, values that were not sent, order within a batch, partitions.

use projh_bluegreen::testing::lane::copy;
use projh_bluegreen::testing::lane::point::Point;
use projh_bluegreen::testing::lifecycle::Fact;

use super::bench::{BLUE, Bench, PLAN};
use crate::support::Cluster;

/// A value of `big` that is as large as those there.
const LARGE: &str = "repeat('x', 3000)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_rows_are_missing_a_change_brings_what_it_can_and_remembers_what_it_cannot() {
    let mut bench = Bench::set().await;
    bench.sql("delete from GREEN where id <= 12").await;
    bench.start(true).await;
    // What the stream holds in full is there from now on; a deletion meets nothing, and may.
    bench.apply(&format!("update t set big = {LARGE} where id = 1; update t set id = 101, big = {LARGE} where id = 2; delete from t where id = 3")).await;
    bench
        .apply("delete from t where id = 4; insert into t (id, email, big) values (4, 'again', 'again')")
        .await;
    assert_eq!(bench.dirty().await, Vec::<i32>::new());
    bench.expect_same_but(&[5, 6, 7, 8, 9, 10, 11, 12]).await;

    // A large value that was not sent is nowhere to be found.
    bench.apply("update t set n = 1 where id between 5 and 10; update t set id = 111 where id = 11").await;
    assert_eq!(bench.dirty().await, [5, 6, 7, 8, 9, 10, 111]);
    bench.expect_same_but(&[5, 6, 7, 8, 9, 10, 111, 12]).await;

    // What comes after may settle it.
    bench.apply(&format!("delete from t where id = 5; update t set big = {LARGE} where id = 6; update t set id = 107 where id = 7; update t set id = 108, big = {LARGE} where id = 8")).await;
    assert_eq!(bench.dirty().await, [9, 10, 107, 111]);
    bench.expect_same_but(&[9, 10, 107, 111, 12]).await;

    // A row that is there gives what was not sent.
    bench.apply("update t set n = 2 where id = 20; update t set id = 121 where id = 21; update t set at = '2026-02-02' where id = 22").await;
    assert_eq!(bench.dirty().await, [9, 10, 107, 111]);
    bench.expect_same_but(&[9, 10, 107, 111, 12]).await;

    // Read again at the next consistent point.
    bench.feed().hold();
    let point = Point::make(&bench.target, bench.journal.run(), "rules_round", true, &|_| {}).await.unwrap();
    bench.feed().run_to(point.0.lsn).await.unwrap();
    let round = bench.round(&point.0.snapshot).await;
    let reader = bench.cluster.client(super::bench::DB).await;
    let read = copy::dirty_keys(&reader, &reader, &bench.lane, &round).await.unwrap();
    bench.journal.commit(&reader, Fact::DirtyKeysRead { lane: 0, keys: read }).await.unwrap();
    assert_eq!((read, bench.dirty().await), (4, vec![]));
    bench.expect_same_but(&[12]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn null_in_a_key_tuple_says_nothing_of_the_row() {
    let bench = Bench::strict().await;
    bench.apply("update t set id = id + 100 where id <= 5").await;
    assert_eq!(
        bench
            .number("select count(*) from GREEN where id > 100 and length(big) = 3200 and email is not null")
            .await,
        5
    );
    bench.expect_same().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_change_come_back_and_are_exchanged() {
    let bench = Bench::strict().await;
    let transactions = [
        // Used again: with less, with more, in another partition.
        "delete from t where id = 1; insert into t (id, email, big) values (1, 'new', 'new')".to_owned(),
        "delete from t where id = 2; insert into t (id, at, big) values (2, '2026-02-05', 'new')".to_owned(),
        "update t set id = 1003 where id = 3; insert into t (id, big) values (3, 'other')".to_owned(),
        // Exchanged: both rows without their large value, one of them, none.
        "update t set id = 0 where id = 4; update t set id = 4 where id = 5; update t set id = 5 where id = 0".to_owned(),
        format!("update t set id = 0 where id = 6; update t set id = 6, big = {LARGE} where id = 7; update t set id = 7 where id = 0"),
        format!("update t set id = 0 where id = 8; update t set id = 8, big = {LARGE} where id = 9; update t set id = 9, big = {LARGE} where id = 0"),
        // A chain, and what came and went.
        "update t set id = 2010 where id = 10; update t set id = 10 where id = 11; update t set id = 11 where id = 12".to_owned(),
        "insert into t (id, big) values (50, 'x'); update t set id = 51 where id = 50; delete from t where id = 51".to_owned(),
        "update t set id = 60 where id = 13; update t set id = 13 where id = 60".to_owned(),
    ];
    for sql in &transactions {
        bench.apply(sql).await;
        bench.expect_same().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_value_is_handed_over_within_a_batch() {
    // The secondary index is there only after the index phase.
    let mut bench = Bench::of(Cluster::start(), BLUE, PLAN, "index").await;
    bench.start(false).await;
    let transactions = [
        // Both rows whole; both without their large value; one of each, both ways round.
        format!("update t set email = 'a', big = {LARGE} where id = 1; update t set email = 'e1', big = {LARGE} where id = 2"),
        "update t set email = 'b' where id = 3; update t set email = 'e3' where id = 4".to_owned(),
        format!("update t set email = 'c', big = {LARGE} where id = 5; update t set email = 'e5' where id = 6"),
        format!("update t set email = 'd' where id = 7; update t set email = 'e7', big = {LARGE} where id = 8"),
        "delete from t where id = 9; update t set email = 'e9' where id = 10".to_owned(),
        "delete from t where id = 11; insert into t (id, email, big) values (211, 'e11', '')".to_owned(),
        // Round and round.
        "update t set email = null where id = 12; update t set email = 'e12' where id = 13; update t set email = 'e13' where id = 14; update t set email = 'e14' where id = 12".to_owned(),
    ];
    for sql in &transactions {
        bench.apply(sql).await;
        bench.expect_same().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_found_in_the_partition_that_the_stream_does_not_name() {
    let bench = Bench::strict().await;
    let transactions = [
        format!("update t set at = '2026-02-05', big = {LARGE} where id = 1"),
        "update t set at = '2026-02-05' where id = 2".to_owned(),
        format!("update t set at = '1999-01-01', big = {LARGE} where id = 2"),
        format!(
            "update t set at = '2026-02-07', big = {LARGE} where id = 3; update t set at = '2026-01-07' where id = 3"
        ),
        format!("update t set at = '2026-02-07', id = 104, big = {LARGE} where id = 4"),
        "update t set at = '2026-02-07', id = 105 where id = 5".to_owned(),
        "update t set at = '2026-01-20' where id = 1; delete from t where id = 1".to_owned(),
    ];
    for sql in &transactions {
        bench.apply(sql).await;
        bench.expect_same().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_replica_identity_full_nothing_is_ever_unknown() {
    let plan = PLAN.replace("primary_key:", "replica_identity: full\n    primary_key:");
    let mut bench = Bench::of(Cluster::start(), BLUE, &plan, "copy").await;
    bench.sql("delete from GREEN where id <= 5").await;
    bench.start(true).await;
    bench.apply("update t set n = 1 where id = 1; update t set id = 102 where id = 2; update t set at = '2026-02-02' where id in (3, 30)").await;
    assert_eq!(bench.dirty().await, Vec::<i32>::new());
    bench.expect_same_but(&[4, 5]).await;
}

/// What a column's values are made of may be what the stream did not send again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_column_keeps_its_value_when_its_source_was_not_sent() {
    let columns =
        "primary_key: [id, at]\n    columns:\n      big: {type: text, using: upper(big), back: lower(big)}";
    let plan = PLAN.replace("primary_key: [id, at]", columns);
    let mut bench = Bench::of(Cluster::start(), BLUE, &plan, "copy").await;
    bench.start(false).await;
    bench
        .apply(&format!("update t set n = 1 where id = 1; update t set n = 2, big = {LARGE} where id = 2"))
        .await;
    let sql = "select count(*) from GREEN g join t b using (id) where g.big = upper(b.big) and g.n = b.n";
    assert_eq!(bench.number(sql).await, 40);
}
