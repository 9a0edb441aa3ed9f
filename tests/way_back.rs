//! The way back: a lane from green, which is live, into blue does what the lane from blue into green did.

mod bench;

use projh_bluegreen::testing::lane::Ends;
use projh_bluegreen::testing::lane::coalesce::{Impossible, Key};
use projh_bluegreen::testing::lane::compare::{Compared, DifferenceKind, Differences};
use projh_bluegreen::testing::lane::copy::{self, CopyError, Round};
use projh_bluegreen::testing::lane::feed::FeedError;
use projh_bluegreen::testing::lifecycle::Span;
use projh_bluegreen::testing::replication::pgoutput::Value;

use bench::{BLUE, Bench, PLAN, swapped};

/// A value of `big` that is as large as those there.
const LARGE: &str = "repeat('x', 3000)";

fn same(rows: u64) -> Compared {
    Compared { rows, differences: Differences::default(), census: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_is_copied_back_as_it_is_at_a_consistent_point() {
    let mut bench = Bench::set().await;
    bench.sql("insert into t (at, minutes, big, seen) values ('2026-02-20', 90, 'of green', 'yes'); update t set minutes = 7 where id = 1").await;
    bench.sql("truncate BLUE").await;
    let point = bench.point().await;
    // In each partition, with what was not there at the point.
    bench.sql("delete from t where id in (2, 40); update t set note = 'later' where id in (3, 41); insert into t (id, at, minutes, big) values (900, '2026-05-05', 1, 'later')").await;
    assert_eq!(bench.copy(&point).await, 51);
    assert_eq!(bench.one::<i64>("select count(*) from BLUE where note = 'later'").await, 0);
    assert_eq!(bench.one::<String>("select hours::text from BLUE where big = 'of green'").await, "1.50");
    bench.start(point.lsn, false).await;
    bench.try_drain().await.unwrap();
    bench.expect_same("the copy and what came since").await;
    assert_eq!(bench.compare().await, same(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_of_a_partition_between_two_chunks_is_noticed() {
    let bench = Bench::set().await;
    bench.sql("truncate BLUE").await;
    let files = vec![copy::file(&bench.client, &bench.lane.source).await.unwrap()];
    let point = bench.point().await;
    let round = Round { snapshot: point.snapshot.clone(), skip_present: false, files };
    bench.sql("vacuum full public.t_p1").await;
    let worker = bench.target.connect("test", &[]).await.unwrap();
    let error =
        copy::chunk(&worker, &worker, (&bench.lane, Span { from: 0, to: None }), &round).await.unwrap_err();
    assert!(matches!(error, CopyError::Rewritten { lane: 0, .. }), "{error:?}");
    assert_eq!(bench.one::<i64>("select count(*) from BLUE").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_do_to_green_comes_to_blue() {
    let bench = Bench::set().await.in_step().await;
    let transactions = [
        "insert into t (at, minutes, email, note, doc, blob, big, seen) values ('2026-01-05', 45, 'new', 'new', '{\"a\": [1, null]}', '\\x00ff', repeat('n', 4000), 'yes')".to_owned(),
        "insert into t (at, minutes, big) select '2026-02-02', g, 'many' from generate_series(1, 300) g".to_owned(),
        // Within the partition, with and without the large value; a column that blue does not have.
        format!("update t set note = 'a', minutes = 600 where id = 1; update t set note = 'b', big = {LARGE} where id = 2"),
        "update t set seen = 'yes' where id = 3; update t set note = null, doc = null, blob = null where id = 4".to_owned(),
        // The partition key within its partition: green's key changes, blue's does not.
        format!("update t set at = '2026-01-30' where id = 5; update t set at = '2026-01-30', big = {LARGE} where id = 6"),
        // To another partition, there and back, and once by hand, in either order.
        "update t set at = '2026-02-07' where id = 7; update t set at = '2026-01-08', note = 'moved' where id = 40".to_owned(),
        "update t set at = '2026-02-08' where id = 8; update t set at = '2026-01-08' where id = 8".to_owned(),
        "with gone as (delete from t where id = 9 returning *) insert into t (id, at, minutes, email, big) \
         select id, '2026-02-09', minutes, email, big from gone"
            .to_owned(),
        "insert into t (id, at, minutes, email, big) values (10, '2026-02-10', 10, 'e10', 'by hand'); delete from t where id = 10 and at < '2026-02-01'".to_owned(),
        // Keys: changed, with their partition too, exchanged, used again.
        "update t set id = 1011 where id = 11; update t set id = 1012, at = '2026-02-12' where id = 12".to_owned(),
        "update t set id = 0 where id = 13; update t set id = 13 where id = 14; update t set id = 14 where id = 0".to_owned(),
        "delete from t where id = 15; insert into t (id, at, minutes, big) values (15, '2026-02-15', 15, 'again')".to_owned(),
        // Unique values that are handed over, where only blue's index would notice.
        "update t set email = 'tmp' where id = 16; update t set email = 'e16', at = '2026-01-17' where id = 17; update t set email = 'e17', at = '2026-01-18' where id = 16".to_owned(),
        "delete from t where id = 18; delete from t where id > 200 and at = '2026-02-02'".to_owned(),
        "update t set id = -id, minutes = minutes + 1, note = note || '!'".to_owned(),
    ];
    for sql in &transactions {
        bench.apply(sql).await;
        bench.expect_same(sql).await;
    }
    assert_eq!(bench.compare().await.differences, Differences::default());
    bench.apply("truncate t; insert into t (id, at, minutes, big) values (1, '2026-01-01', 1, 'new')").await;
    bench.expect_same("a truncation").await;
    assert!(bench.feed().state().truncated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_between_partitions_is_one_update_of_blue() {
    // Of which no unique index has the partition key.
    let bench = Bench::of(&BLUE.replace(",\n    unique (email, at)", "")).await.in_step().await;
    bench.sql("create table deleted (id bigint); create function note() returns trigger language plpgsql as $$ begin insert into public.deleted values (old.id); return null; end $$; create trigger note after delete on BLUE for each row execute function note(); alter table BLUE enable always trigger note").await;
    bench.apply("update t set at = '2026-02-07', minutes = 5 where id = 7; delete from t where id = 8").await;
    bench.expect_same("a move").await;
    assert_eq!(bench.one::<String>("select string_agg(id::text, ' ') from deleted").await, "8");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_rows_are_missing_it_is_lenient_and_a_truncation_begins_the_copy_again() {
    let mut bench = Bench::set().await;
    let point = bench.point().await;
    bench.sql("delete from BLUE where id <= 5").await;
    bench.start(point.lsn, true).await;
    bench.apply(&format!("update t set note = 'x' where id = 1; update t set big = {LARGE} where id = 2; update t set at = '2026-02-03' where id = 3; delete from t where id = 4")).await;
    let dirty = format!("select string_agg(id::text, ' ') from {}", bench.lane.dirty_table());
    assert_eq!(bench.one::<String>(&dirty).await, "1");
    bench.sql("truncate t").await;
    assert!(matches!(bench.try_drain().await.unwrap_err(), FeedError::Truncated { lane: 0, .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_row_of_blue_s_key_stops_the_feed() {
    let bench = Bench::set().await.in_step().await;
    // In one transaction the stream says both; where blue has one of them, its key says so.
    let twice =
        "insert into t (id, at, minutes, big) values (800, '2026-01-02', 1, ''), (800, '2026-02-02', 2, '')";
    bench.sql(twice).await;
    let error = bench.try_drain().await.unwrap_err();
    assert!(matches!(error, FeedError::Impossible { source: Impossible::Twice, .. }), "{error}");

    let bench = Bench::set().await.in_step().await;
    bench.sql("insert into t (id, at, minutes, big) values (20, '2026-02-02', 1, '')").await;
    assert!(matches!(bench.try_drain().await.unwrap_err(), FeedError::Apply(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_blue_has_otherwise_is_found_and_named() {
    let bench = Bench::set().await.in_step().await;
    bench.feed().hold_still().await.unwrap();
    drop(bench.feed().take_touched(1));
    bench.feed().free();
    bench.apply("update t set at = '2026-02-07' where id = 7; update t set minutes = 30 where id = 8; delete from t where id = 9").await;
    assert_eq!(bench.compare().await, same(49));
    let touched = bench.feed().touched().unwrap().remove(0);
    let keys: Vec<&Key> = touched.iter().collect();
    let key = |id: i64| Key::new([&Value::Binary(id.to_be_bytes().to_vec().into())]).unwrap();
    assert_eq!(touched.len(), 3, "by blue's key: {touched:?}");
    assert!(touched.contains(&key(7)));
    let by_key = bench.comparison.by_key(&bench.client, &bench.client).await.unwrap();
    let compare_keys = async || {
        bench.client.batch_execute("begin").await.unwrap();
        let found = by_key.compare(&keys).await.unwrap();
        bench.client.batch_execute("commit").await.unwrap();
        found
    };
    assert_eq!(compare_keys().await, Differences::default());

    let damages = [
        ("update BLUE set hours = hours + 0.01 where id = 8", 8, DifferenceKind::Different, vec!["hours"]),
        ("update BLUE set note = 'false' where id = 7", 7, DifferenceKind::Different, vec!["note", "loud"]),
        ("delete from BLUE where id = 7", 7, DifferenceKind::Missing, vec![]),
        (
            "insert into BLUE (id, at, hours, big) values (9, '2026-01-01', 1, '')",
            9,
            DifferenceKind::Extra,
            vec![],
        ),
    ];
    let secret = bench.prepared.lanes[0].secret.key();
    for (sql, id, kind, columns) in damages {
        bench.sql(&format!("create table kept as table BLUE; {sql}")).await;
        let digest =
            "select left(encode(sha256(convert_to($1 || row($2::bigint)::text, 'utf8')), 'hex'), 16)";
        let digest: String = bench.client.query_one(digest, &[&secret, &i64::from(id)]).await.unwrap().get(0);
        for found in [bench.compare().await.differences, compare_keys().await] {
            assert_eq!((found.count, found.shown[0].kind), (1, kind), "{sql}");
            assert_eq!(
                (&found.shown[0].key_digest, &found.shown[0].columns[..]),
                (&digest, &columns.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
                "{sql}"
            );
        }
        let columns = "id, at, hours, email, note, doc, blob, big";
        bench
            .sql(&format!(
                "truncate BLUE; insert into BLUE ({columns}) select {columns} from kept; drop table kept"
            ))
            .await;
    }
    assert_eq!(bench.compare().await.differences, Differences::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_design_without_a_way_back_says_every_reason() {
    let columns = "hours: {rename: minutes, type: bigint, using: 'hours * 60', one_way: true}\n      note: drop\n      big: drop";
    let plan = PLAN.replace(
        "hours: {rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}",
        columns,
    );
    let blue = BLUE.replace(" loud text generated always as (upper(note)) stored,\n", "");
    let (_cluster, _, _, journal) = swapped(&blue, &plan).await;
    let prepared = journal.progress().prepared.clone().unwrap();
    let error = Ends::of(&prepared.lanes[0]).reversed().unwrap_err();
    assert_eq!(
        error.why,
        [
            "column hours must have a value, and nothing gives one",
            "column big must have a value, and nothing gives one"
        ]
    );
    assert_eq!(error.table, "public.t");
}
