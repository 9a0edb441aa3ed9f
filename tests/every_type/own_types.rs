//! Types that somebody has made: enums, domains, composites, ranges, and those of extensions, as columns and as keys.

use super::twin::{Cycle, Stage};

const SETUP: &str = "
create extension citext; create extension hstore; create extension ltree; create extension cube;
create extension intarray; create extension pg_trgm;
create schema app;
create type app.mood as enum ('low', 'mid''s', 'high \"est');
create domain app.email as citext check (value ~ '@');
create domain app.checked as app.email not null;
create domain app.scores as int[] check (array_length(value, 1) < 5);
create domain app.grid as app.scores;
create domain app.note as text collate \"C\" not null;
create type app.inner as (\"a b\" int, dropped text, m app.mood, e app.email);
alter type app.inner drop attribute dropped;
create type app.outer as (i app.inner, list app.inner[], x numeric(10, 2));
create type app.spans as range (subtype = float8);
create table app.made (
    id int primary key, n int not null default 0, touched int, mood app.mood, moods app.mood[], email app.email,
    checked app.checked, scores app.scores, grid app.grid, note app.note, i app.inner, o app.outer, list app.outer[],
    span app.spans, spans app.spans[], c citext, cs citext[], h hstore, t ltree, cu cube,    total int generated always as (id + coalesce(scores[1], 0)) stored,
    sure app.note generated always as (note || ' of ' || id::text) stored);
alter table app.made alter note set storage external, alter checked set storage external;
create index made_trgm on app.made using gin (note gin_trgm_ops);
create index made_tree on app.made using gist (t);
create index made_mood on app.made (mood, email);
insert into app.made (id, checked, note) select g, 'a@' || repeat(md5(g::text), 100), repeat(md5(g::text), 100) from generate_series(1, 200) g;

create table app.by_citext (k citext primary key, n int, big text);
create table app.by_domain (k app.checked primary key, n int, big text);
create table app.by_tree (k ltree, at date, n int, big text, primary key (k, at));
alter table app.by_citext alter big set storage external;
insert into app.by_citext select 'Key' || g, g, repeat('b', 3000) from generate_series(1, 100) g;
insert into app.by_domain select 'Key@' || g, g, repeat('b', 3000) from generate_series(1, 100) g;
insert into app.by_tree select ('a.b' || g)::text::ltree, '2026-01-01', g, repeat('b', 3000) from generate_series(1, 100) g;
";

const PLAN: &str = "
version: 1
name: made
settings: {workers: 2, chunk_size: 64KiB}
tables:
  - table: app.made
    partition_by: {hash: id, partitions: 2}
  - table: app.by_citext
    partition_by: {hash: k, partitions: 3}
  - table: app.by_domain
    indexes: [create index by_domain_n on by_domain (n)]
  - table: app.by_tree
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
";

fn made(id: usize) -> Cycle {
    let own = [
        "mood = 'high \"est', moods = '{low,NULL}', email = 'A@b', scores = '[3:4]={1,NULL}', grid = '{{1},{2}}'",
        "i = row(1, 'low', 'X@y'), o = row(row(null, null, 'x@Y'), array[row(1, 'low', null)::app.inner, null], 1.50)",
        "list = array[row(null, '{}', 2)::app.outer, null], span = '[-0,NaN]', spans = '{empty,\"(,1e-300)\"}'",
        "c = 'MiXed', cs = '{Ab,aB}', h = '\"a b\"=>NULL, c=>\"\"', t = 'Top.a_b', cu = '(-0,1),(2,3)'",
        "note = '', checked = 'short@'",
        "moods = null, email = null, scores = null, i = null, o = null, list = null, span = null, cs = null, h = null, cu = null",
        "mood = null, grid = null, spans = null, c = null, t = null",
        "note = repeat('long ', 1000), checked = 'A@' || repeat('long', 1000)",
    ];
    let mut statements = Vec::new();
    for set in own {
        statements.push(format!("update TABLE set {set} where id = {id}"));
        // What is long and in a domain that is NOT NULL is not sent again.
        statements.push(format!("update TABLE set n = n + 1 where id = {id}"));
    }
    statements.push(format!("update TABLE set id = id + 1000 where id = {id}"));
    statements.push(format!("delete from TABLE where id = {id} + 1000"));
    statements.push(format!(
        "insert into TABLE (id, n, checked, note) values ({id}, 0, 'new@' || repeat('n', 5000), repeat('m', 5000))"
    ));
    Cycle { table: 0, statements }
}

fn keyed(table: usize, [key, same, other]: [&str; 3], more: &str) -> Cycle {
    let (columns, values) = more.split_once('=').unwrap_or_default();
    let statements = vec![
        format!("update TABLE set n = n + 1 where k = {key}"),
        format!("update TABLE set k = {same} where k = {key}"),
        format!("update TABLE set n = n + 1 where k = {same}"),
        format!("update TABLE set k = {other} where k = {key}"),
        format!("update TABLE set big = null where k = {other}"),
        format!("delete from TABLE where k = {other}"),
        format!("insert into TABLE (k, n, big{columns}) values ({key}, 1, repeat('c', 3000){values})"),
    ];
    Cycle { table, statements }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_that_somebody_has_made() {
    let tables = ["app.made", "app.by_citext", "app.by_domain", "app.by_tree"];
    let stage = Stage::set(SETUP, &tables, PLAN).await;
    let cycles = vec![
        made(7),
        made(199),
        keyed(1, ["'Key5'", "'kEY5'", "'Another'"], ""),
        keyed(2, ["'Key@5'", "'kEY@5'", "'Another@'"], ""),
        keyed(3, ["'a.b5'", "'a.b5'", "'z.Z'"], ", at=, '2026-01-01'"),
    ];
    stage.migrate(cycles).await;
}
