//! Databases in another encoding than UTF-8: bytes that have no form in UTF-8 go where all others go, and so do names,
//! keys, bounds and expressions that have one.

use std::time::Duration;

use projh_bluegreen::testing::lane::copy;
use projh_bluegreen::testing::lane::point::Point;
use tokio_postgres::Client;

use crate::stream_rules::bench::Bench;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

/// An encoding, a word that has a form in UTF-8, and bytes: in the first three without such a form.
const ENCODINGS: [(&str, &str, &str); 4] = [
    ("WIN1252", "größe", "9d81"),
    ("EUC_JP", "表", "a9a1f5a1"),
    ("EUC_KR", "표", "c9a1"),
    ("LATIN1", "größe", "80ff"),
];

/// A server whose database has this encoding.
async fn encoded(encoding: &str) -> Cluster {
    let cluster = Cluster::start();
    let other = cluster.client("template1").await;
    other.batch_execute("drop database postgres").await.unwrap();
    let create = format!("create database postgres template template0 encoding '{encoding}' locale 'C'");
    other.batch_execute(&create).await.unwrap();
    cluster
}

/// `raw('..')` is a text of these bytes; `same(a, b)` counts the rows that only one of two tables has.
const FUNCTIONS: &str = "
create function raw(hex text) returns text immutable language sql
  return convert_from(decode(hex, 'hex'), getdatabaseencoding());
create function same(a regclass, b regclass) returns bigint language plpgsql as $$
declare n bigint;
begin
  execute format('select count(*) from ((select r::text from %1$s r except all select r::text from %2$s r)
                  union all (select r::text from %2$s r except all select r::text from %1$s r)) d', a, b) into n;
  return n;
end $$;";

/// Every kind of column that holds text; `big` is stored out of line, so most updates do not send it.
fn blue(word: &str, bytes: &str) -> String {
    format!(
        "{FUNCTIONS}
        create type \"{word}_kind\" as enum ('{word}', 'other');
        create domain \"{word}_domain\" as text check (value <> 'no{word}');
        create type \"{word}_pair\" as (a text, \"{word}\" text);
        create table \"{word}\" (
            id text not null, at timestamptz not null, \"{word}\" text default '{word}', big text not null,
            kind \"{word}_kind\" default '{word}', domained \"{word}_domain\", pair \"{word}_pair\", tags text[],
            doc jsonb, fixed char(9), short varchar(40), n int not null default 0,
            primary key (id, at), constraint \"{word}_check\" check (\"{word}\" <> 'no{word}'));
        alter table \"{word}\" alter big set storage external;
        create index \"{word}_index\" on \"{word}\" ((short || '{word}')) where short <> '{word}';
        comment on column \"{word}\".big is '{word}';
        create table mirror (like \"{word}\" including all);
        {rows}; insert into mirror select * from \"{word}\";
        analyze \"{word}\";",
        rows = insert(word, word, bytes, "a", 1000)
    )
}

fn insert(table: &str, word: &str, bytes: &str, who: &str, rows: u32) -> String {
    format!(
        "insert into \"{table}\" (id, at, \"{word}\", big, domained, pair, tags, doc, fixed, short)
         select '{who}' || raw('{bytes}') || g, timestamptz '2026-01-10' + g % 50 * interval '1 day',
                raw('{bytes}') || '{word}', repeat(raw('{bytes}') || md5(g::text), 100), raw('{bytes}'),
                row(raw('{bytes}'), '{word}')::\"{word}_pair\", array[raw('{bytes}'), '{word}'],
                to_jsonb('{word}'::text), raw('{bytes}'), raw('{bytes}') || g
         from generate_series(1, {rows}) g"
    )
}

fn plan(word: &str) -> String {
    format!(
        "# {word}
version: 1
name: encoded
settings: {{workers: 1, chunk_size: 64KiB, max_snapshot_age: 10ms}}
tables:
  - table: public.{word}
    partition_by: {{range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}}
    columns:
      n: {{rename: {word}_n}}
"
    )
}

/// Each kind of change, among them such that send no large value or change a key; once for blue, once for what it has to
/// be in the end.
async fn write(client: &Client, word: &str, bytes: &str, round: u32) {
    let who = round % 7;
    let both = [word, "mirror"].map(|table| {
        format!(
            "{rows};
             update \"{table}\" set \"{word}\" = raw('{bytes}') || '{round}' where id = 'b{round}' || raw('{bytes}') || 1;
             update \"{table}\" set short = raw('{bytes}') || '{round}' where id like '%{who}2';
             update \"{table}\" set id = id || raw('{bytes}') where id like '%{who}3';
             update \"{table}\" set at = at + interval '30 days', tags = tags || raw('{bytes}') where id like '%{who}4';
             delete from \"{table}\" where id = 'b{round}' || raw('{bytes}') || 2",
            rows = insert(table, word, bytes, &format!("b{round}"), 5)
        )
    });
    client.batch_execute(&both.join(";")).await.unwrap();
}

async fn goes_through(encoding: &str, word: &str, bytes: &str) {
    let cluster = encoded(encoding).await;
    let client = cluster.client(DB).await;
    client.batch_execute(&blue(word, bytes)).await.unwrap();
    let program = Bluegreen::new(&cluster, DB).plan(&plan(word));
    let running = tokio::task::spawn_blocking(move || (program.execute(&["--yes"]), program));
    let mut round = 0;
    while !running.is_finished() {
        write(&client, word, bytes, round).await;
        round += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (finished, program) = running.await.unwrap();
    let finished = finished.expect_code(0);
    assert!(finished.events_of("round").len() > 1 && round > 3, "{encoding}: {round}\n{}", finished.stdout);
    let count = format!("select same('mirror', '\"{word}\"')");
    let differing: i64 = client.query_one(&count, &[]).await.unwrap().get(0);
    assert_eq!(differing, 0, "{encoding}");
    let kind = format!("select relkind::text from pg_class where oid = '\"{word}\"'::regclass");
    assert_eq!(client.query_one(&kind, &[]).await.unwrap().get::<_, String>(0), "p");
    program.run("finish", &["--yes"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_swapped_under_writes_in_each_encoding() {
    for (encoding, word, bytes) in ENCODINGS {
        goes_through(encoding, word, bytes).await;
    }
}

const SMALL: &str = "
create table public.t (id text primary key, at date not null default '2026-01-10', big text not null, n int not null default 0);
alter table public.t alter big set storage external;
insert into public.t (id, big) select raw('9d81') || g, repeat(raw('8d') || md5(g::text), 100) from generate_series(1, 40) g;";

const SMALL_PLAN: &str = "
version: 1
name: small
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
    primary_key: [id, at]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_read_again_are_found_and_a_truncate_follows() {
    let blue = format!("{FUNCTIONS}{SMALL}");
    let mut bench = Bench::of(encoded("WIN1252").await, &blue, SMALL_PLAN, "copy").await;
    let same = "select same('public.t', 'GREEN')";
    bench.sql("delete from GREEN where id in (raw('9d81') || 1, raw('9d81') || 2)").await;
    bench.start(true).await;
    bench.apply("update t set n = 1 where id in (raw('9d81') || 1, raw('9d81') || 2)").await;
    let dirty = format!("select count(*) from {}", bench.lane.dirty_table());
    assert_eq!((bench.number(&dirty).await, bench.number(same).await), (2, 2));

    bench.feed().hold();
    let point =
        Point::make(&bench.target, bench.journal.run(), "encoded_round", true, &|_| {}).await.unwrap();
    bench.feed().run_to(point.0.lsn).await.unwrap();
    let round = bench.round(&point.0.snapshot).await;
    let reader = bench.cluster.client(DB).await;
    assert_eq!(copy::dirty_keys(&reader, &reader, &bench.lane, &round).await.unwrap(), 2);
    reader.batch_execute("commit").await.unwrap();
    assert_eq!((bench.number(&dirty).await, bench.number(same).await), (0, 0));
    // The session is one for statements again.
    assert_eq!(reader.query_one("select 'größe'", &[]).await.unwrap().get::<_, String>(0), "größe");

    bench.start(false).await;
    bench.apply("truncate t; insert into t (id, big) values (raw('9d81'), raw('8d'))").await;
    assert_eq!((bench.number("select count(*) from GREEN").await, bench.number(same).await), (1, 0));
}
