//! What stops the stream rather than leave green wrong.

use projh_bluegreen::lane::apply::ApplyError;
use projh_bluegreen::lane::feed::FeedError;

use super::bench::Bench;

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
    bench.sql("insert into GREEN (id, big) values (77, 'old secret')").await;
    bench.sql("insert into t (id, big) values (77, 'new secret')").await;
    let error = bench.try_drain().await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, FeedError::Apply(ApplyError::Postgres { .. })), "{text}");
    assert!(text.contains("23505") && text.contains("public.t"), "{text}");
    assert!(!text.contains("secret") && !text.contains("77"), "{text}");
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
            "6 columns where the plan was made for 5",
        ),
        ("alter table t rename column n to m", "alter table t rename column m to n", "column `m` is not `n`"),
        ("alter table t alter n type bigint", "alter table t alter n type int", "column `n`"),
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
