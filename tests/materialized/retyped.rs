//! A materialized view over columns that the plan gives other types, and other names, keeps its own, with its indexes.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Cluster, listed, stage};

const SCHEMA: &str = r#"
create schema app; create role reader; grant usage on schema app to reader;
create table app.t (id int primary key, amount int not null default 0, ratio numeric(9,2), kind varchar(10), code char(4), bits bit(3));
insert into app.t select g, g, g / 7.0, 'k' || g % 3, 'c' || g % 5, (g % 8)::bit(3) from generate_series(1, 200) g;
create table app.u (id int primary key, amount int, note varchar(20));
insert into app.u select g, g * 2, 'n' || g from generate_series(1, 200) g;
create materialized view app.stored with (fillfactor = 70) as select * from app.t;
create unique index stored_id on app.stored (id) include (kind);
create index stored_kind on app.stored (lower(kind::text), amount) where amount > 3;
alter materialized view app.stored alter column kind set statistics 321;
alter materialized view app.stored cluster on stored_id;
comment on column app.stored.amount is 'how much';
create statistics app.stored_stats (dependencies) on amount, kind from app.stored;
create materialized view app.sums as select kind, sum(amount) as total, max(ratio) as ratio, array_agg(amount order by amount) as amounts
    from app.t where amount > 3 group by kind;
create unique index sums_kind on app.sums (kind);
create materialized view app.joined as select u.id, u.amount as "Other", t.amount, coalesce(u.note, t.kind) as note
    from app.t join app.u using (id);
create materialized view app.empty as select id, amount from app.t where amount > 5 with no data;
create materialized view app.above as select s.total, j.amount from app.sums s join app.joined j on j.note = s.kind;
create view app.over as select total, ratio from app.sums;
grant select on app.stored to reader; grant select (total) on app.sums to reader;
"#;

const PLAN: &str = r#"
version: 1
name: retyped
settings: {workers: 2, soak: 1h}
tables:
  - table: app.t
    partition_by: {hash: id, partitions: 2}
    columns:
      amount: {rename: quantity, type: bigint}
      ratio: {type: 'numeric(12,4)'}
      kind: {type: text}
      code: {type: text}
      bits: {type: varbit}
  - table: app.u
    columns:
      amount: {type: bigint}
      note: {type: varchar(40)}
"#;

/// The rows of all materialized views, and the types, indexes and statistics that clients see.
async fn seen(client: &Client) -> String {
    let sql = "select concat_ws(' ', (select md5(string_agg(v::text, ',' order by id)) from app.stored v),
        (select md5(string_agg(v::text, ',' order by kind)) from (select kind, total, round(ratio, 2), amounts from app.sums) v),
        (select md5(string_agg(v::text, ',' order by id)) from app.joined v), (select count(*) from app.above), (select count(*) from app.over),
        (select relispopulated from pg_class where oid = 'app.empty'::regclass),
        (select string_agg(concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attstattarget), ', ' order by c.relname, a.attnum)
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
         where c.relnamespace = 'app'::regnamespace and c.relkind = any ('{m,v}')),
        (select string_agg(pg_get_indexdef(i.indexrelid) || i.indisclustered || i.indisvalid, ', ' order by i.indexrelid::regclass::text)
         from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = 'app'::regnamespace and c.relkind = 'm'),
        (select string_agg(pg_get_statisticsobjdef(oid), ', ') from pg_statistic_ext where stxnamespace = 'app'::regnamespace))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_shows_of_retyped_columns_is_cast_to_the_types_that_it_has() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = (super::dump(&cluster, true), seen(&client).await);
    let rows = "another one over the new table is made and filled before the swap, and takes its place in it; its rows are then \
                those of a REFRESH just before";
    listed(
        &program,
        &[
            &format!(
                "materialized view app.stored depends on it: {rows}; what it shows as amount is cast to integer; what it shows as \
                 ratio is cast to numeric(9,2); what it shows as kind is cast to character varying(10); what it shows as code is cast to \
                 character(4); what it shows as bits is cast to bit(3)"
            ),
            &format!(
                "materialized view app.sums depends on it: {rows}; what it shows as kind is cast to character varying(10)"
            ),
        ],
    );
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(seen(&client).await, before.1);
    client
        .batch_execute(
            "update app.t set quantity = quantity + 1 where id < 50; refresh materialized view concurrently app.stored; \
             refresh materialized view concurrently app.sums; refresh materialized view app.joined; refresh materialized view app.above",
        )
        .await
        .unwrap();
    let refreshed = seen(&client).await;
    assert_ne!(refreshed, before.1);
    // A value that does not fit is not cut off.
    for (set, code) in [
        ("kind = 'eleven char'", SqlState::STRING_DATA_RIGHT_TRUNCATION),
        ("code = 'fiver'", SqlState::STRING_DATA_RIGHT_TRUNCATION),
        ("bits = '1111'", SqlState::STRING_DATA_LENGTH_MISMATCH),
        ("quantity = 3000000000", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
    ] {
        let sql = format!("begin; update app.t set {set} where id = 7; refresh materialized view app.stored");
        assert_eq!(client.batch_execute(&sql).await.unwrap_err().code(), Some(&code), "{set}");
        client.batch_execute("rollback").await.unwrap();
    }
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(seen(&client).await, refreshed);
    assert_eq!(super::dump(&cluster, true), before.0);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(seen(&client).await, refreshed);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(seen(&client).await, refreshed);
    client.batch_execute("refresh materialized view concurrently app.stored").await.unwrap();
    assert_eq!(seen(&client).await, refreshed);
}
