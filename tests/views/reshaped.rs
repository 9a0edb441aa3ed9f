//! What depends on a table whose columns the plan renames and retypes keeps its own names and types, and comes back as it was.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Cluster, listed, stage};

const SCHEMA: &str = r#"
create schema app; create role reader; grant usage on schema app to reader;
create table app.t (id int primary key, at date not null, amount int not null default 0, "Note" text, ratio numeric(9,2), kind varchar(10), tag varchar(5) default 'tag');
insert into app.t select g, date '2026-01-01' + g % 50, g, 'n' || g, g / 7.0, 'k' || g % 3 from generate_series(1, 200) g;
create table app.other (id int primary key, t_id int);
insert into app.other select g, g from generate_series(1, 200) g;
create view app.all_of_it as select * from app.t;
create view app.writable as select id, "Note", at from app.t where "Note" <> '' with check option;
create view app.sums as select kind, sum(amount) as total, max(ratio) as ratio, min(amount) + 1 as least, array_agg(amount) as amounts
    from app.t where amount > 3 group by kind;
create view app.joined as select o.id as other, extract(year from t.at) as year, t.amount as "Amount", t."Note" as note,
    case when t.amount > 5 then t.amount else 0 end as more from app.other o join app.t on t.id = o.t_id order by t.amount;
create view app.over as select s.total, j."Amount" from app.sums s, app.joined j where j."Amount" = s.least;
create view app.kinds as select distinct kind, amount % 3 as rest from app.t;
create view app.both as select kind, amount, ratio from app.t where id < 50 union all select tag, id, 1 from app.t where id > 150;
create view app.other_name as select id, tag as kind from app.t where kind <> '';
create function app.find(text) returns setof int begin atomic select t.id from app.t where t."Note" = $1; end;
alter table app.other enable row level security;
create policy seen on app.other for select to reader using (exists (select from app.t where t.id = other.t_id and t."Note" like 'n1%'));
grant select, insert on app.writable, app.t, app.other to reader;
"#;

const PLAN: &str = r#"
version: 1
name: reshaped
settings: {workers: 2, soak: 1h}
tables:
  - table: app.t
    partition_by: {hash: id, partitions: 2}
    columns:
      amount: {type: bigint}
      kind: {type: text}
      '"Note"': {rename: remark}
      ratio: {rename: share, type: 'numeric(12,4)'}
"#;

/// What clients see through all of it, and the types that they see it as.
async fn seen(client: &Client) -> String {
    let sql = "select concat_ws(' ', (select md5(string_agg(v::text, ',' order by id)) from app.all_of_it v),
        (select md5(string_agg(v::text, ',' order by kind)) from (select kind, total, round(ratio, 2), least from app.sums) v),
        (select md5(string_agg(v::text, ',' order by other)) from app.joined v), (select count(*) from app.over),
        (select md5(string_agg(v::text, ',' order by v)) from app.kinds v), (select md5(string_agg(kind || amount || round(ratio, 2), ',' order by kind, amount)) from app.both), app.find('n7'),
        (select string_agg(concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by c.relname, a.attnum)
         from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
         where c.relnamespace = 'app'::regnamespace and c.relkind = 'v'))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Without what the run itself has, and green's partitions.
fn dump(cluster: &Cluster) -> String {
    let lines = cluster
        .pg_dump("postgres", &["--schema-only", "--exclude-schema=projh_*", "--exclude-table=app.t_h*"]);
    let is_kept = |line: &&str| {
        !line.contains("projh_bg_")
            && !line.contains("restrict ")
            && !line.starts_with("--")
            && !line.is_empty()
    };
    lines.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_depends_on_renamed_and_retyped_columns_keeps_its_own() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = (dump(&cluster), seen(&client).await);
    let note = "in the swap its query is bound to the new table; all else of it stays; what it shows as amount is cast to integer, \
                and can no longer be written through it; what it shows as ratio is cast to numeric(9,2), and can no \
                longer be written through it; what it shows as kind is cast to character varying(10), and can no \
                longer be written through it";
    let around = "its query is bound to the new table; all else of it stays; what it shows is cast to the types that it has";
    listed(
        &program,
        &[
            &format!("view app.all_of_it depends on it: {note}"),
            &format!("view app.kinds depends on it: in the swap {around}"),
            "function app.find(text) depends on it",
        ],
    );

    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(seen(&client).await, before.1);
    let by_reader = "begin; set local role reader; insert into app.writable values (500, 'by a view', '2026-02-02');
         select 1 / (count(*) = 111)::int from app.other; select 1 / (count(*) > 0)::int from app.t where remark = 'by a view'; rollback";
    client.batch_execute(by_reader).await.unwrap();
    // What has the name of a retyped column there is another column.
    let written = "begin; update app.other_name set kind = 'other' where id = 7; rollback";
    client.batch_execute(written).await.unwrap();
    // A value that does not fit is not cut off.
    for view in ["app.all_of_it", "app.sums", "app.kinds"] {
        let read = format!(
            "begin; insert into app.t (id, at, amount, kind) values (501, '2026-02-02', 9, 'eleven char'); select count(kind) from {view}"
        );
        let failed = client.batch_execute(&read).await.unwrap_err();
        assert_eq!(failed.code(), Some(&SqlState::STRING_DATA_RIGHT_TRUNCATION), "{view}");
        client.batch_execute("rollback").await.unwrap();
    }
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(seen(&client).await, before.1);
    super::same(&before.0, &dump(&cluster));
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(seen(&client).await, before.1);
    client.batch_execute("update app.writable set \"Note\" = 'after' where id = 7").await.unwrap();
}
