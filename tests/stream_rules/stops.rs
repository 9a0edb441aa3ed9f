//! What stops the stream rather than leave green wrong.

use std::time::Duration;

use projh_bluegreen::testing::journal::JournalError;
use projh_bluegreen::testing::lane::apply::ApplyError;
use projh_bluegreen::testing::lane::coalesce::Key;
use projh_bluegreen::testing::lane::compare::Comparison;
use projh_bluegreen::testing::lane::feed::FeedError;
use projh_bluegreen::testing::lifecycle::Fact;

use super::bench::{BLUE, Bench, PLAN};
use crate::support::Cluster;
use crate::support::waiting::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_copy_is_over_a_row_that_is_not_there_stops_it() {
    for change in [
        "update t set n = 1 where id in (7, 8)",
        "delete from t where id in (7, 8)",
        "update t set big = 'x' where id in (7, 8)",
    ] {
        let bench = Bench::strict().await;
        bench.sql("delete from GREEN where id = 7").await;
        bench.sql(change).await;
        let error = bench.try_drain().await.unwrap_err();
        let FeedError::Apply(ApplyError::Diverged { table, expected, found }) = error else {
            panic!("{error:?}")
        };
        assert_eq!((table.as_str(), expected, found), ("public.t", 2, 1), "{change}");
        assert_eq!(
            bench.number("select count(*) from GREEN where id = 8 and n = 0 and big <> 'x'").await,
            1,
            "{change}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_the_copy_is_over_a_row_that_is_there_already_stops_it() {
    let bench = Bench::strict().await;
    bench.sql("insert into GREEN (id, big) values (7700077, 'old secret')").await;
    bench.sql("insert into t (id, big) values (7700077, 'new secret')").await;
    let error = bench.try_drain().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FeedError::Apply(ApplyError::Postgres { .. })), "{text}");
    assert!(text.contains("23505") && text.contains("public.t"), "{text}");
    // A number that no digest of a key contains by chance.
    assert!(!text.contains("secret") && !text.contains("7700077"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_is_followed_once_the_copy_is_over_and_voids_it_before() {
    let mut bench = Bench::strict().await;
    bench.apply("insert into t (id, big) values (50, ''); truncate t; insert into t (id, big) values (51, ''), (1, '')").await;
    bench.expect_same().await;
    assert_eq!(bench.number("select count(*) from GREEN").await, 2);
    bench.start(true).await;
    bench.sql("truncate t").await;
    let error = bench.try_drain().await.unwrap_err();
    assert!(matches!(error, FeedError::Truncated { lane: 0, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_on_blue_stops_it_before_a_row_is_written() {
    let mut bench = Bench::set().await;
    let ddl = [
        (
            "alter table t add column extra int",
            "alter table t drop column extra",
            "while there was a column `extra` more",
        ),
        (
            "alter table t rename column n to m",
            "alter table t rename column m to n",
            "while column `n` was not there",
        ),
        (
            "alter table t alter n type bigint",
            "alter table t alter n type int",
            "while column `n` had another type",
        ),
    ];
    for (there, back, what) in ddl {
        bench.forget_stream().await;
        bench.start(false).await;
        bench.feed().free();
        bench.sql(there).await;
        bench.sql("insert into t (id, big) values (100, '')").await;
        let error = bench.try_drain().await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, FeedError::SourceChanged { .. }), "{text}");
        assert!(text.contains("public.t") && text.contains(what), "{text}");
        assert_eq!(bench.number("select count(*) from GREEN").await, 40);
        bench.sql("delete from t where id = 100").await;
        bench.sql(back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_table_that_is_no_lane_stop_it() {
    let mut bench = Bench::set().await;
    bench.sql("create table other (id int primary key)").await;
    let publication = bench.prepared.slot.as_str().to_owned();
    for change in
        ["insert into other values (1)", "update other set id = 2", "delete from other", "truncate other"]
    {
        bench.forget_stream().await;
        bench.start(false).await;
        bench.feed().free();
        bench.sql(&format!("alter publication {publication} add table other")).await;
        bench.sql(change).await;
        let error = bench.try_drain().await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, FeedError::Foreign { .. }) && text.contains("public.other"),
            "{change}: {text}"
        );
        bench.sql(&format!("alter publication {publication} drop table other")).await;
    }
}

/// Once written, it would make the run unreadable, and with it the list of all runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_that_cannot_follow_is_not_written() {
    let bench = Bench::strict().await;
    let written = "select count(*) from projh_bluegreen.fact where fact->>'fact' = 'settled'";
    let recorded = bench.journal.record(Fact::Settled).await;
    assert!(matches!(recorded, Err(JournalError::Illegal(_))), "{recorded:?}");
    assert_eq!(bench.number(written).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_whose_run_was_taken_over_writes_neither_facts_nor_rows() {
    let bench = Bench::strict().await;
    bench.try_drain().await.unwrap();
    bench.sql("update projh_bluegreen.run set epoch = epoch + 1").await;
    let recorded = bench.journal.record(Fact::VerificationVoided).await;
    assert!(matches!(recorded, Err(JournalError::Fenced { .. })), "{recorded:?}");
    bench.sql("update t set n = 1").await;
    let error = bench.try_drain().await.unwrap_err();
    assert!(matches!(error, FeedError::Journal(JournalError::Fenced { .. })), "{error:?}");
    assert_eq!(bench.number("select sum(n) from GREEN").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_remembered_is_not_nothing() {
    let bench = Bench::strict().await;
    assert!(matches!(bench.feed().touched(), Err(FeedError::Unremembered)));
    bench.feed().take_touched(1);
    bench.sql("update t set n = 1 where id = 7").await;
    bench.try_drain().await.unwrap();
    assert_eq!(bench.feed().touched().unwrap()[0].len(), 1);
    bench.feed().forget_touched();
    assert!(matches!(bench.feed().touched(), Err(FeedError::Unremembered)));
}

/// Memory for the keys that have changed is bounded: the feed stands still, not in the middle of a transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_a_comparison_once_much_has_changed() {
    let blue = BLUE.replace("id int primary key", "id text primary key");
    let blue = blue.replace("select g, 'e'", "select g::text, 'e'");
    let mut bench = Bench::of(Cluster::start(), &blue, PLAN, "copy").await;
    bench.start(false).await;
    bench.feed().take_touched(1);
    bench.feed().free();
    let wide =
        "insert into t (id, big) select repeat(md5(g::text), 28) || g, '' from generate_series(1, 30000) g";
    bench.sql(wide).await;
    until("it is applied", async || bench.feed().touched_count() == 30_000).await;
    bench.sql("insert into t (id, big) values ('900', '')").await;
    let marker = bench.feed().mark().await.unwrap();
    let waits = bench.feed().drain_through(marker, Duration::from_secs(10)).await;
    assert!(matches!(waits, Err(FeedError::Late(_))), "{waits:?}");
    let taken: usize = bench.feed().take_touched(1).iter().map(|keys| keys.len()).sum();
    assert_eq!(taken, 30_000);
    bench.try_drain().await.unwrap();
    assert_eq!(bench.number("select count(*) from GREEN where id = '900'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_a_child_table_are_not_taken_for_blue_s() {
    let bench = Bench::strict().await;
    bench.feed().take_touched(1);
    bench.sql("update t set n = 1 where id = 7").await;
    bench.try_drain().await.unwrap();
    bench.sql("create table child () inherits (t); insert into child select * from t where id = 7").await;
    let comparison = Comparison::of(&bench.client, &bench.lane).await.unwrap();
    let by_key = comparison.by_key(&bench.client, &bench.client).await.unwrap();
    let touched = bench.feed().touched().unwrap();
    let keys: Vec<&Key> = touched[0].iter().collect();
    assert_eq!(keys.len(), 1);
    assert_eq!(by_key.compare(&keys).await.unwrap().count, 0);
    bench.sql("update only t set n = 2 where id = 7; update child set n = 1").await;
    bench.try_drain().await.unwrap();
    bench.sql("update GREEN set n = 3 where id = 7").await;
    assert_eq!(by_key.compare(&keys).await.unwrap().count, 1);
}
