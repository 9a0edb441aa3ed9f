//! Foreign keys that reference a table, from others and from itself: they move with it, there and back, and hold all the while.

mod filled;
mod periods;
mod races;
mod refused;
mod settled;
mod under_load;
mod widened;

use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, home, listed, stage};

const DB: &str = "postgres";

/// A table that is referenced in every way: by plain tables, partitioned ones, itself, another one of the plan that it
/// references in turn, and tables of another role.
const SCHEMA: &str = r#"
create role owner; create role other;
create schema app authorization owner; create schema "Other" authorization other;
create table app.t (id int primary key, kind int not null, up int, lane int, note varchar(20), unique (id, kind));
create table app.lane (id int primary key, t int, n int);
insert into app.t select g, g % 3, nullif(g / 2, 0), 1 + g % 20, 'n' || g from generate_series(1, 200) g;
insert into app.lane select g, g, 0 from generate_series(1, 20) g;
alter table app.t add constraint to_itself foreign key (up) references app.t on delete cascade deferrable;
alter table app.t add constraint to_lane foreign key (lane) references app.lane on delete restrict;
alter table app.lane add constraint "to T" foreign key (t) references app.t (id) on delete set null not valid;
comment on constraint to_itself on app.t is 'a tree';

create table app.plain (
    id int primary key, a int constraint no_action references app.t,
    b int constraint restricts references app.t on delete restrict on update restrict,
    c int constraint cascades references app.t on delete cascade on update cascade,
    d int constraint sets_null references app.t on delete set null on update set null,
    e int default 3 constraint sets_default references app.t on delete set default,
    f int constraint later references app.t deferrable,
    g int constraint "Deferred" references app.t initially deferred,
    kind int,
    constraint "Both" foreign key (h, kind) references app.t (id, kind) match full,
    h int,
    constraint one_of_both foreign key (i, kind) references app.t (id, kind) on delete set null (i), i int);
alter table app.plain add constraint unproven foreign key (id) references app.t not valid;
comment on constraint cascades on app.plain is 'the bill ''goes'' with it';
comment on constraint unproven on app.plain is 'later';
create table "Other"."A child" (id int, "T id" int);
insert into "Other"."A child" select g, g from generate_series(1, 100) g;
alter table "Other"."A child" add constraint "to %s" foreign key ("T id") references app.t on delete cascade;
comment on constraint "to %s" on "Other"."A child" is 'percent';
create table app.parts (id int, t int) partition by range (id);
create table app.parts_1 partition of app.parts for values from (0) to (100) partition by hash (id);
create table app.parts_1_0 partition of app.parts_1 for values with (modulus 2, remainder 0);
create table app.parts_1_1 partition of app.parts_1 for values with (modulus 2, remainder 1);
create table app.parts_2 partition of app.parts for values from (100) to (1000);
insert into app.parts select g, g from generate_series(1, 150) g;
alter table app.parts add constraint whole foreign key (t) references app.t on delete cascade;
alter table app.parts_2 add constraint of_one foreign key (id) references app.t (id);
comment on constraint whole on app.parts is 'of all';
insert into app.plain (id, a, c, d, f, g) select g, g, g, g, g, g from generate_series(1, 100) g;
set constraints all immediate;
alter table app.t owner to owner; alter table app.lane owner to owner; alter table app.plain owner to owner;
alter table app.parts owner to owner; alter table app.parts_1 owner to owner; alter table app.parts_2 owner to owner;
alter table app.parts_1_0 owner to owner; alter table app.parts_1_1 owner to owner;
alter table "Other"."A child" owner to other;
grant usage on schema app to other; grant references, select on app.t to other;
analyze;
"#;

const PLAN: &str = "
version: 1
name: inbound
settings: {workers: 2, soak: 1h}
tables:
  - table: app.lane
    columns: {n: {type: bigint}}
  - table: app.t
    partition_by: {hash: id, partitions: 3}
    columns: {note: {type: text}}
";

/// A dump without what the run itself has, and without the tables that it changes, except their names.
fn dump(cluster: &Cluster, tables: bool) -> String {
    let mut args = vec!["--schema-only", "--exclude-schema=projh_*", "--exclude-table=app.t_h*"];
    if !tables {
        args.extend(["--exclude-table=app.t", "--exclude-table=app.lane"]);
    }
    let is_ours = |line: &str| line.contains("projh_bg_") || line.is_empty() || line.starts_with("--");
    let dump = cluster.pg_dump(DB, &args);
    dump.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect()
}

fn same(one: &str, other: &str) {
    let lines = |text: &str, without: &str| {
        let lost = text.lines().filter(|line| !without.lines().any(|other| other == *line));
        lost.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert!(one == other, "was:\n{}\nis:\n{}", lines(one, other), lines(other, one));
}

/// Foreign keys that reference a table, with whether each is valid; those of partitions are their parent's.
async fn referencing(client: &Client, table: &str) -> String {
    let sql = "select coalesce(string_agg(format('%s %s %s', conrelid::regclass, conname, convalidated), ', ' order by conrelid::regclass::text, conname), '') \
               from pg_constraint where contype = 'f' and conparentid = 0 and confrelid = $1::text::regclass";
    client.query_one(sql, &[&table]).await.unwrap().get(0)
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

/// The SQLSTATE with which a statement is rejected.
async fn rejected(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let _ = client.batch_execute("rollback").await;
    error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code().to_owned()
}

/// The SQLSTATE with which ON DELETE RESTRICT rejects a statement: before 18, that of other foreign keys.
async fn restricts(client: &Client) -> &'static str {
    let sql = "select current_setting('server_version_num')::int >= 180000";
    let is_its_own = client.query_one(sql, &[]).await.unwrap().get(0);
    if is_its_own { "23001" } else { "23503" }
}

/// Every key checks new rows, and its action is carried out once.
async fn all_hold(client: &Client) {
    for column in ["a", "b", "c", "d", "e", "f"] {
        let sql = format!("insert into app.plain (id, {column}) values (150, 9999)");
        assert_eq!(rejected(client, &sql).await, "23503", "{sql}");
    }
    for sql in [
        "insert into app.plain (id) values (9999)",
        "insert into \"Other\".\"A child\" values (1, 9999)",
        "insert into app.parts values (10, 9999)",
        "insert into app.parts_2 values (999, 1)",
        "insert into app.plain (id, h, kind) values (150, 1, 7)",
        "insert into app.plain (id, h) values (150, 1)",
        "insert into app.t (id, kind, up) values (9998, 1, 9999)",
        "insert into app.t (id, kind, lane) values (9998, 1, 9999)",
        "insert into app.lane (id, t) values (9998, 9999)",
        "begin; set constraints app.\"Deferred\", app.later deferred; insert into app.plain (id, f, g) values (150, 9999, 9999); commit",
    ] {
        assert_eq!(rejected(client, sql).await, "23503", "{sql}");
    }
    assert_eq!(rejected(client, "delete from app.lane where id = 3").await, restricts(client).await);
    client
        .batch_execute(
            "begin; set constraints all deferred; insert into app.plain (id, f, g) values (150, 9001, 9001); \
             insert into app.t (id, kind) values (9001, 1); commit; \
             insert into app.plain (id, b) values (151, 9001); update app.plain set f = null, g = null where id = 150",
        )
        .await
        .unwrap();
    assert_eq!(rejected(client, "delete from app.t where id = 9001").await, "23503");
    client
        .batch_execute("delete from app.plain where id in (150, 151); delete from app.t where id = 9001")
        .await
        .unwrap();
}

/// Deletes a row that others reference, with what depends on it. In a transaction of its own: the server checks all keys of
/// a row that the same transaction has made, whichever action is first.
async fn cascade(client: &Client, id: i32) {
    client
        .batch_execute(&format!(
            "insert into app.t (id, kind) values ({id}, 1); insert into app.t (id, kind, up) values ({id} + 1, 1, {id}); \
             insert into app.plain (id, c) values (120, {id}); insert into app.plain (id, d, e) values (121, {id} + 1, {id}); \
             insert into app.plain (id, h, i, kind) values (122, 1, {id}, 1); insert into app.lane (id, t) values ({id}, {id}); \
             insert into \"Other\".\"A child\" values (7777, {id}); insert into app.parts values (50, {id}), (51, {id} + 1)"
        ))
        .await
        .unwrap();
    client.batch_execute(&format!("delete from app.t where id = {id}")).await.unwrap();
    let left = "app.plain where id = 120 or id = 121 and (d is not null or e <> 3) or id = 122 and (i is not null or kind is null)";
    assert_eq!(count(client, left).await, 0);
    assert_eq!(count(client, &format!("app.t where id in ({id}, {id} + 1)")).await, 0);
    assert_eq!(count(client, &format!("app.lane where id = {id} and t is null")).await, 1);
    assert_eq!(count(client, "\"Other\".\"A child\" where id = 7777").await, 0);
    assert_eq!(count(client, &format!("app.parts where t in ({id}, {id} + 1)")).await, 0);
    client.batch_execute("delete from app.plain where id in (121, 122)").await.unwrap();
}

/// Before version 15, SET NULL has no columns.
fn schema(cluster: &Cluster) -> String {
    let instead = if cluster.is_before(15) { "on delete cascade" } else { "on delete set null (i)" };
    SCHEMA.replace("on delete set null (i)", instead)
}

async fn staged(cluster: &Cluster) -> (Client, Bluegreen) {
    stage(cluster, &schema(cluster), PLAN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_move_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = staged(&cluster).await;
    let (others, all) = (dump(&cluster, false), dump(&cluster, true));
    let (of_t, of_lane) = (referencing(&client, "app.t").await, referencing(&client, "app.lane").await);
    assert_eq!(of_t.matches(", ").count(), 14, "{of_t}");
    all_hold(&client).await;
    cascade(&client, 8001).await;

    // Before anything is settled.
    program.execute(&["--yes", "--until", "swap"]).expect_code(0);
    all_hold(&client).await;
    program.run("rollback", &[]).expect_code(6);
    same(&all, &dump(&cluster, true));
    assert_eq!(referencing(&client, "app.t").await, of_t);

    for cycle in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        same(&others, &dump(&cluster, false));
        assert_eq!(referencing(&client, "app.t").await, of_t);
        assert_eq!(referencing(&client, "app.lane").await, of_lane);
        let blue = home(&client, "blue").await;
        for table in ["t", "lane"] {
            assert_eq!(referencing(&client, &format!("{blue}.{table}")).await, "", "{table}");
        }
        all_hold(&client).await;
        cascade(&client, 8101 + cycle * 10).await;
        client.batch_execute("create table app.parts_3 partition of app.parts for values from (2000) to (3000); insert into app.parts values (2001, 1)").await.unwrap();

        program.run("rollback", &[]).expect_code(6);
        assert_eq!(rejected(&client, "insert into app.parts_3 values (2000, 9999)").await, "23503");
        client.batch_execute("drop table app.parts_3").await.unwrap();
        same(&all, &dump(&cluster, true));
        assert_eq!(referencing(&client, "app.t").await, of_t);
        all_hold(&client).await;
        cascade(&client, 8201 + cycle * 10).await;
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    same(&others, &dump(&cluster, false));
    assert_eq!(referencing(&client, "app.t").await, of_t);
    all_hold(&client).await;
    cascade(&client, 8301).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_the_preview_list_each_key_and_a_rollback_leaves_all_alone() {
    let cluster = Cluster::start();
    let (client, program) = staged(&cluster).await;
    let before = dump(&cluster, true);
    listed(
        &program,
        &[
            "foreign key cascades on app.plain depends on it: in the swap it is bound to the new table, NOT VALID, and validated after it",
            "foreign key unproven on app.plain depends on it: in the swap it is bound to the new table, and stays NOT VALID",
            "foreign key whole on app.parts depends on it: in the swap each partition's is bound",
            "foreign key \"to %s\" on \"Other\".\"A child\" depends on it",
            "foreign key to_lane on app.t depends on it",
            "foreign key to_itself on app.t to itself depends on it: in the swap the new table's own takes its place",
        ],
    );
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    same(&before, &dump(&cluster, true));
    assert_eq!(count(&client, "pg_namespace where nspname like 'projh_bg%'").await, 0);
}
