//! Values of a megabyte in each storage, which the stream leaves out where they stay what they are.

use super::twin::{Cycle, Stage};

const SETUP: &str = "
create schema app;
-- A megabyte that cannot be compressed to what fits into a row.
create function app.big(seed int) returns text immutable language sql
    return (select string_agg(md5((seed * 100000 + i)::text), '') from generate_series(1, 32768) i);
create table app.t (
    id int primary key, at date not null default '2026-01-05', n int not null default 0,
    plain text, external text, extended text, main text, bytes bytea, doc jsonb, list text[], lz text);
alter table app.t alter plain set storage plain, alter external set storage external,
    alter main set storage main, alter bytes set storage external, alter lz set compression pglz;
insert into app.t (id, plain, external, extended, main, bytes, doc, list, lz)
    select g, repeat('p', 3000), app.big(g), app.big(-g), repeat(md5(g::text), 32768), app.big(g)::bytea,
        jsonb_build_object('a', app.big(g)), array[app.big(g), null, 'short'], repeat('lz', 500000)
    from generate_series(1, 6) g;";

const PLAN: &str = "
version: 1
name: toast
settings: {workers: 2, chunk_size: 64KiB}
tables:
  - table: app.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
    primary_key: [id, at]
";

fn cycle(id: usize) -> Cycle {
    let set = |what: &str| format!("update TABLE set {what} where id = {id}");
    let statements = vec![
        set("n = n + 1"),
        set("external = null, bytes = null"),
        set("n = n + 1, extended = app.big(77)"),
        set("external = app.big(78), bytes = 'short'"),
        set("id = id + 100"),
        format!("update TABLE set n = n + 1, at = '2026-03-03' where id = {id} + 100"),
        format!("update TABLE set id = {id}, at = '2026-01-06' where id = {id} + 100"),
        set("main = null, doc = null, list = null, lz = null"),
        set(
            "main = repeat('m', 1000000), doc = jsonb_build_object('b', app.big(5)), list = array[app.big(6)], lz = 'lz'",
        ),
        set("plain = repeat('q', 3000), extended = 'short'"),
        format!("delete from TABLE where id = {id}"),
        format!(
            "insert into TABLE (id, at, n, plain, external, extended, main, bytes) values ({id}, '2026-01-05', 0, 'p', app.big(1), \
             app.big(2), repeat('m', 1000000), app.big(3)::bytea)"
        ),
    ];
    Cycle { table: 0, statements }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_that_stay_what_they_are_come_from_where_they_were() {
    let stage = Stage::set(SETUP, &["app.t"], PLAN).await;
    stage.migrate(vec![cycle(2), cycle(5)]).await;
}
