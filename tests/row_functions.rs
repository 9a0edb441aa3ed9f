//! Functions with a table's row type in their signature change places with others in a swap, there and back, with what calls
//! them, and no call by name fails meanwhile.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::{Client, Config, NoTls};

use crate::support::bluegreen::tells;
use crate::support::definitions::definitions;
use crate::support::{Bluegreen, Cluster, home, listed, stage};

const DB: &str = "postgres";

const SCHEMA: &str = r#"
create role owner; create role reader; create schema app authorization owner; grant usage on schema app to reader;
create table app.t (id bigint primary key, at date not null, note text not null, open boolean not null default true);
insert into app.t (id, at, note, open) select g, date '2026-01-01' + g % 55, 'n' || g, g % 2 = 0 from generate_series(1, 200) g;
create table app.other (id int primary key, t_id bigint, n bigint);
insert into app.other (id, t_id) select g, g from generate_series(1, 200) g;
alter table app.t owner to owner; alter table app.other owner to owner;
grant select on app.t, app.other to reader; grant insert, update on app.t to reader;
create function app.label(app.t) returns text language sql immutable strict parallel safe cost 7 as 'select $1.note || $1.id';
create function app.label(int) returns text language sql as 'select ''i'' || $1';
create function app.recent(from_id int default 190) returns setof app.t language plpgsql stable security definer rows 11
    set search_path = app as 'begin return query select * from t where id > from_id; end';
create function app.first() returns app.t begin atomic select * from app.t order by id limit 1; end;
create function app.many(variadic app.t[]) returns int language sql as 'select cardinality($1)';
create function app.pairs(out x app.t, out n int) returns setof record language plpgsql as 'begin return query select t, 1 from app.t; end';
create procedure app.keep(inout x app.t default null) language plpgsql as 'begin select * into x from app.t where id = 7; end';
create function app."Of one"(app.t) returns text return app.label($1) || '!';
create view app.labels as select t.id, app.label(t), app.label(1) as n, app."Of one"(t) as one from app.t;
create view app.newest as select * from app.recent(195);
create materialized view app.kept as select app.label(t) as l from app.t;
create function app.total() returns bigint begin atomic select count(*) from app.t where app.label(t) <> ''; end;
alter table app.other alter n set default (app.first()).id;
alter table app.other enable row level security; alter table app.t enable row level security;
create policy reads on app.other for select to reader using (exists (select from app.recent(0) r where r.id = t_id and app.label(r) <> 'n7'));
create policy own on app.t for select to reader using (app.label(t) <> '');
create policy writes on app.t for update to reader using (true); create policy adds on app.t for insert to reader with check (true);
create rule counted as on delete to app.other do also select app.label(t) from app.t where false;
alter function app.recent(int) owner to owner; comment on function app.label(app.t) is 'of it';
revoke execute on function app.label(app.t) from public; grant execute on function app.label(app.t) to reader with grant option;
revoke all on procedure app.keep(app.t) from public, postgres; grant execute on procedure app.keep(app.t) to reader;
grant select on app.labels, app.newest to reader;
grant execute on function app.label(app.t) to owner;
alter default privileges in schema app grant execute on functions to owner;
set search_path = app; create function app.last_ones(n int default 3) returns setof t language sql as 'select * from t order by id desc limit n';
reset search_path;
"#;

const PLAN: &str = "
version: 1
name: rows
settings: {workers: 2, soak: 1h}
tables:
  - table: app.t
";

/// What a client of another role sees; each statement has to succeed.
const CALLS: &str = "select 1 / (count(*) >= 200)::int from app.t where app.label(t) = note || id;
    select 1 / (count(*) = 10)::int from app.recent() where id <= 200;
    select 1 / ((app.first()).id = 1)::int; call app.keep();
    select 1 / (app.many(t, t) = 2)::int from app.t where id = 3;
    select 1 / (count((x).id) >= 200)::int from app.pairs();
    select 1 / (count(*) = 1)::int from app.labels where one = 'n77!' and n = 'i1';
    select 1 / (count(*) >= 5)::int from app.newest; select 1 / (app.total() >= 200)::int;
    select 1 / (count(*) = 200)::int from app.other where id <= 200;
    update app.t set note = note where id = 5";

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

async fn caller(config: Config, stop: Arc<AtomicBool>) {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("set role reader").await.unwrap();
    let sql = "select app.label(t), r.id from app.t, app.recent(198) r where t.id = $1";
    let prepared = client.prepare(sql).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        client.batch_execute(CALLS).await.unwrap();
        let rows = client.query(&prepared, &[&9_i64]).await.unwrap();
        assert!(rows.len() >= 2 && rows[0].get::<_, &str>(0) == "n99");
    }
}

/// The functions in the schema are over what is in it, and nothing outside calls those that are not.
async fn expect_bound(client: &Client) {
    let sql = "select string_agg(p.oid::regprocedure::text, ' ') from pg_proc p
        where p.pronamespace = 'app'::regnamespace and exists (
          select from pg_depend d join pg_type t on t.oid = d.refobjid join pg_namespace n on n.oid = t.typnamespace
          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_type'::regclass and n.nspname ~ '^projh_')";
    assert_eq!(text(client, sql).await, "");
    let sql = "select string_agg(x.who, ' ') from (
          select pg_describe_object(d.classid, d.objid, 0) as who from pg_depend d join pg_proc p on p.oid = d.refobjid
          where d.refclassid = 'pg_proc'::regclass and p.pronamespace::regnamespace::text ~ '^projh_bg_') x where x.who !~ 'projh_bg_'";
    assert_eq!(text(client, sql).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_over_rows_change_places_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = definitions(&cluster, DB);
    listed(
        &program,
        &[
            "function app.label(app.t) depends on it: another one over the new table's row type",
            "procedure app.keep(app.t) depends on it",
            "view app.newest depends on it: in the swap its query is bound to the new table",
            "policy reads on app.other depends on it",
        ],
    );
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..3).map(|_| tokio::spawn(caller(config.clone(), Arc::clone(&stop)))).collect();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(definitions(&cluster, DB), before);
    expect_bound(&client).await;
    client.batch_execute("insert into app.t values (1000, '2026-03-03', 'n')").await.unwrap();
    assert_eq!(text(&client, "select label from app.labels where id = 1000").await, "n1000");
    assert_eq!(text(&client, "select app.total()::text").await, "201");
    client.batch_execute("delete from app.t where id = 1000").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(definitions(&cluster, DB), before);
    expect_bound(&client).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let blue = home(&client, "blue").await;
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(definitions(&cluster, DB), before);
    let left = format!("select count(*)::text from pg_namespace where nspname = '{blue}'");
    assert_eq!(text(&client, &left).await, "0");
    client.batch_execute(&format!("set role reader; {CALLS}")).await.unwrap();
}

/// Each with a part of its refusal, and of its hint.
const REFUSED: [(&str, &str, &str); 10] = [
    (
        "create function app.w(app.t) returns void begin atomic update app.t set note = ''; end",
        "its row type in its signature: app.w(app.t)",
        "pg_get_functiondef('app.w(app.t)'::regprocedure)",
    ),
    (
        "create function app.w(app.t) returns bigint return (select sum(n) from (select id, note, count(*) as n from app.t group by id) x)",
        "its row type in its signature: app.w(app.t)",
        "drop function app.w(app.t)",
    ),
    (
        "create function app.s(int, app.t) returns int language sql as 'select $1'; create aggregate app.agg(app.t) (sfunc = app.s, stype = int)",
        "an aggregate has its row type in its signature: app.agg(app.t)",
        "drop aggregate app.agg(app.t)",
    ),
    (
        "alter table app.t add constraint few check (app.label(t) <> 'x')",
        "something of it calls a function with its row type: constraint few on table app.t",
        "alter table app.t drop constraint few",
    ),
    (
        "create index labelled on app.t (app.label(t))",
        "something of it calls a function with its row type: index app.labelled",
        "drop index app.labelled",
    ),
    (
        "create function app.tf() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger told before update on app.t for each row when (app.label(new) <> '') execute function app.tf()",
        "something of it calls a function with its row type: trigger told on table app.t",
        "drop trigger told on app.t",
    ),
    (
        "alter table app.t alter note set default (app.first()).note",
        "the default of column \"note\" names",
        "alter column \"note\" drop default",
    ),
    (
        "create view app.whole as select x from app.recent() x",
        "view app.whole does not fit the new table: cannot change data type of view column",
        "drop view app.whole",
    ),
    (
        "create schema twin; create function twin.recent(int) returns setof app.t language sql as 'select * from app.t'",
        "would have one name in the schema that the old table is kept in",
        "rename to ...",
    ),
    (
        "create operator app.### (leftarg = app.t, rightarg = app.t, function = app.same)",
        "operator app.###(app.t,app.t)",
        "this version does not know how to carry it",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_follow_is_named_and_changes_are_noticed() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let same = "create function app.same(app.t, app.t) returns boolean language sql as 'select $1 is not distinct from $2'";
    client.batch_execute(same).await.unwrap();
    drop(client);
    for (sql, what, hint) in REFUSED {
        cluster.psql("template1", &format!("create database one template {DB}"));
        cluster.client("one").await.batch_execute(sql).await.unwrap();
        let checked = Bluegreen::new(&cluster, "one").plan(PLAN).run("check", &[]).expect_code(3);
        let found = checked.refusals();
        assert!(found.iter().any(|finding| tells(finding, what, hint)), "{sql}: {found:#?}");
        cluster.psql("template1", "drop database one with (force)");
    }
    let client = cluster.client(DB).await;
    let both = "create function app.pair_of(app.t, app.other) returns int language sql as 'select 1'";
    client.batch_execute(both).await.unwrap();
    program.write_plan(&format!("{PLAN}  - table: app.other\n"));
    let checked = program.run("check", &[]).expect_code(3);
    let found = checked.refusals();
    let (what, hint) =
        ("function app.pair_of(app.t,app.other) has the row type of this table", "in a plan of its own");
    assert!(found.iter().any(|finding| tells(finding, what, hint)), "{found:#?}");
    client.batch_execute("drop function app.pair_of(app.t, app.other)").await.unwrap();
    program.write_plan(PLAN);
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, what, back) in [
        (
            "create function app.late(app.t) returns int language sql as 'select 1'",
            "function app.late(app.t) is new",
            "drop function app.late(app.t)",
        ),
        (
            "revoke execute on function app.label(app.t) from owner",
            "function app.label(app.t) was changed",
            "grant execute on function app.label(app.t) to owner",
        ),
        (
            "create view app.later as select * from app.recent()",
            "view app.later is new",
            "drop view app.later",
        ),
    ] {
        client.batch_execute(sql).await.unwrap();
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
        client.batch_execute(back).await.unwrap();
    }
    program.run("rollback", &[]).expect_code(6);
}

const SHAPED: &str = "
create table app_t (id bigint primary key, at date not null, note varchar(50) not null, n int);
insert into app_t select g, date '2026-01-01' + g % 55, 'n' || g, g from generate_series(1, 100) g;
create function label(app_t) returns text language sql as 'select $1.note || $1.id';
create function named(app_t) returns text return $1.note;
create function all_of() returns setof app_t begin atomic select * from app_t; end;
create function rows_of() returns setof app_t language sql as 'select * from app_t';
create view labels as select label(app_t), app_t.note from app_t;
";

const SHAPED_PLAN: &str = "
version: 1
name: shaped
settings: {workers: 2, soak: 1h}
tables:
  - table: app_t
    partition_by: {range: at, every: 1 month}
    primary_key: [id, at]
    columns: {n: {type: bigint}}
    add_columns: [\"more boolean default true\"]
";

/// Green's rows have another column, another type of one, and are in partitions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_get_the_rows_of_another_shape() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SHAPED, SHAPED_PLAN).await;
    let checked = program.run("check", &[]).expect_code(3);
    let found = checked.refusals();
    let (what, hint) =
        ("function public.all_of() does not fit the new table", "save what select pg_get_functiondef");
    assert!(found.iter().any(|finding| tells(finding, what, hint)), "{found:#?}");
    client.batch_execute("drop function all_of()").await.unwrap();
    let before = definitions(&cluster, DB);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let calls = "select max(label) || (select count(*) from rows_of() where more) \
                 || (select named(x) from app_t x where id = 7) from labels";
    assert_eq!(text(&client, calls).await, "n9999100n7");
    program.run("rollback", &[]).expect_code(6);
    program.run("rollback", &["--drop-green"]).expect_code(6);
    assert_eq!(definitions(&cluster, DB), before);
}

const TWO: &str = "
create role one; create role two; create role reader; grant usage, create on schema public to one, two; create schema x;
create table a (id int primary key); insert into a select generate_series(1, 100);
create table b (id int primary key); insert into b select generate_series(1, 100);
create function of(a) returns text language sql as 'select ''a'' || $1.id';
create function of(b) returns text language sql as 'select ''b'' || $1.id';
create function few(n int) returns setof a language sql as 'select * from a where id < n';
alter table a owner to one; alter table b owner to two; alter function of(b) owner to one; alter function few(int) owner to two;
revoke execute on function of(a) from public; grant execute on function of(a) to reader; grant select on a, b to reader;
";

const TWO_PLAN: &str = "
version: 1
name: two
settings: {workers: 2, soak: 1h}
tables:
  - table: a
  - table: b
";

/// All counterparts are in one schema.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_of_two_tables_keep_their_owners_and_privileges() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, TWO, TWO_PLAN).await;
    let before = definitions(&cluster, DB);
    let twin = "create function x.few(int) returns setof b language sql as 'select * from b'";
    client.batch_execute(twin).await.unwrap();
    let checked = program.run("check", &[]).expect_code(3);
    let (what, hint) = ("would have one name in the schema that the old table is kept in", "rename to ...");
    assert!(checked.refusals().iter().any(|finding| tells(finding, what, hint)), "{}", checked.stdout);
    client.batch_execute("drop function x.few(int)").await.unwrap();
    for (command, code) in [("execute", 0), ("rollback", 6), ("execute", 0)] {
        let args: &[&str] = if code == 0 { &["--yes", "--until", "settle"] } else { &[] };
        program.run(command, args).expect_code(code);
        assert_eq!(definitions(&cluster, DB), before, "{command}");
        let calls =
            "set role reader; select of(a) from a; select of(b) from b; select * from few(7); reset role";
        client.batch_execute(calls).await.unwrap();
    }
    let admitted = "select count(*)::text from pg_namespace n, aclexplode(nspacl) a \
                    where nspname like 'projh\\_bg\\_%' and a.grantee not in (nspowner, 'one'::regrole, 'two'::regrole)";
    assert_eq!(text(&client, admitted).await, "0");
}
