//! Functions with an SQL body that read a table, and policies of other tables that do: they move with it, there and back,
//! and neither a call nor a read of the other table fails meanwhile.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::{Client, Config, NoTls};

use crate::support::bluegreen::tells;
use crate::support::definitions::definitions;
use crate::support::{Cluster, home, listed, stage};

const DB: &str = "postgres";

const SCHEMA: &str = r#"
create role owner; create role reader; create schema app authorization owner; grant usage on schema app to reader;
create table app.t (id bigint primary key, at date not null, note text not null, open boolean not null default true, n serial);
insert into app.t (id, at, note, open) select g, date '2026-01-01' + g % 55, 'n' || g, g % 2 = 0 from generate_series(1, 200) g;
create table app.other (id int primary key, t_id bigint, note text, n int default nextval('app.t_n_seq'));
grant usage on sequence app.t_n_seq to reader;
insert into app.other (id, t_id, note) select g, g, 'o' || g from generate_series(1, 200) g;
alter table app.t owner to owner; alter table app.other owner to owner;
grant select (id, note, open) on app.t to reader; grant select, insert on app.other to reader;
create view app.seen as select id, note from app.t; grant select on app.seen to reader, owner;
create function app.total() returns bigint begin atomic select count(id) from app.t; end;
create function app.named(from_id int default 3, out id bigint, out note text) returns setof record stable rows 7
    set work_mem = '5MB' begin atomic select t.id, t.note from app.t where t.id >= named.from_id; end;
create function app."By definer"(text) returns text language sql security definer
    return (select max(s.note) || $1 from app.seen s join app.t on t.id = s.id);
create function app.grouped() returns bigint begin atomic select sum(x.n) from (select t.id, t.note, count(*) as n from app.t group by t.id) x; end;
create procedure app.twice(inout m bigint) begin atomic select m + count(id) from app.t; end;
create view app.over as select app.total() as n; grant select on app.over to reader;
comment on function app.total() is 'all'; revoke execute on function app.named(int) from public; grant execute on function app.named(int) to reader;
alter function app."By definer"(text) owner to owner; alter function app.named(int) depends on extension plpgsql;
alter table app.other enable row level security;
create policy reads on app.other for select to reader using (exists (select from app.t where t.id = other.t_id and t.open));
create policy "Writes" on app.other for insert to reader with check (t_id in (select id from app.t) and note <> '');
comment on policy reads on app.other is 'of open ones';
"#;

const PLAN: &str = "
version: 1
name: functions
settings: {workers: 2, soak: 1h}
tables:
  - table: app.t
";

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

async fn identities(client: &Client) -> String {
    let sql = "select (select string_agg(oid::text, ' ' order by oid) from pg_proc where pronamespace = 'app'::regnamespace)
        || ' ' || (select string_agg(oid::text, ' ' order by oid) from pg_policy where polrelid = 'app.other'::regclass)";
    text(client, sql).await
}

/// What a client of another role than the owner sees; each statement has to succeed.
const CALLS: &str = "select 1 / (app.total() >= 200)::int, 1 / (count(*) >= 198)::int from app.named();
    select 1 / (app.\"By definer\"('x') = 'n99x')::int, 1 / (n >= 200)::int from app.over;
    select 1 / (count(*) = 100)::int from app.other where id <= 200";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_policies_of_other_tables_move_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = (definitions(&cluster, DB), identities(&client).await);
    listed(
        &program,
        &[
            "function app.total() depends on it: in the swap its body is bound to the new table",
            "procedure app.twice(bigint) depends on it",
            "policy reads on app.other depends on it: in the swap it is bound to the new table",
        ],
    );
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (config, stop) = (config.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (client, connection) = config.connect(NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute("set role reader").await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    client.batch_execute(CALLS).await.unwrap();
                }
            })
        })
        .collect();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!((definitions(&cluster, DB), identities(&client).await), before);
    let blue = home(&client, "blue").await;
    let left = format!(
        "select string_agg(pg_describe_object(d.classid, d.objid, 0), ' ') from pg_depend d where d.refobjid = '{blue}.t'::regclass
         and d.classid in ('pg_proc'::regclass, 'pg_policy'::regclass, 'pg_rewrite'::regclass)"
    );
    assert_eq!(text(&client, &left).await, "");
    let by_name = format!("set role reader; select id from {blue}.t");
    assert!(client.batch_execute(&by_name).await.is_err());
    client
        .batch_execute(
            "reset role; insert into app.t (id, at, note) values (1000, '2026-03-03', 'n1000');
             set role reader; insert into app.other (id, t_id, note) values (1000, 1000, 'x'); reset role",
        )
        .await
        .unwrap();
    assert_eq!(text(&client, "select app.total()::text || count(*) from app.named(1000)").await, "2011");
    let numbers =
        "select count(distinct n)::text from (select n from app.t union all select n from app.other) x";
    assert_eq!(text(&client, numbers).await, "402", "two tables share a sequence");
    program.run("rollback", &[]).expect_code(6);
    assert_eq!((definitions(&cluster, DB), identities(&client).await), before);
    assert_eq!(text(&client, "select app.total()::text || count(*) from app.named(1000)").await, "2011");
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!((definitions(&cluster, DB), identities(&client).await), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_or_changes_meanwhile_is_named() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let widened =
        format!("{PLAN}    partition_by: {{hash: id, partitions: 2}}\n    columns: {{open: drop}}\n");
    program.write_plan(&widened);
    let checked = program.run("check", &[]).expect_code(3);
    let found = checked.refusals();
    let (what, hint) =
        ("policy reads on app.other does not fit the new table", "keep column \"open\" as it is");
    assert!(found.iter().any(|finding| tells(finding, what, hint)), "{found:#?}");
    program.write_plan(PLAN);
    for (sql, what, hint) in [
        (
            "create function app.f() returns void begin atomic update app.t set note = ''; end",
            "writes it in its SQL body",
            "or give it a string body",
        ),
        (
            "create function app.f() returns setof app.t begin atomic update app.t set note = '' returning *; end",
            "its row type in its signature: app.f()",
            "row type of the old table",
        ),
    ] {
        client.batch_execute(sql).await.unwrap();
        let checked = program.run("check", &[]).expect_code(3);
        let found = checked.refusals();
        assert!(found.len() == 1 && tells(found[0], what, hint), "{sql}: {found:#?}");
        client.batch_execute("drop function app.f()").await.unwrap();
    }
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, what, back) in [
        (
            "create or replace function app.total() returns bigint begin atomic select 7::bigint + count(id) from app.t; end",
            "function app.total() was changed",
            "create or replace function app.total() returns bigint begin atomic select count(id) from app.t; end",
        ),
        (
            "alter policy \"Writes\" on app.other with check (t_id in (select id from app.t))",
            "policy Writes on table app.other was changed",
            "alter policy \"Writes\" on app.other with check (t_id in (select id from app.t) and note <> '')",
        ),
    ] {
        client.batch_execute(sql).await.unwrap();
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
        client.batch_execute(back).await.unwrap();
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
}
