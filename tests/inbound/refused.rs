//! A key that cannot stay as it is is refused by name; one that is made, changed or dropped during a run stops it.

use crate::support::bluegreen::tells;
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, each_stops_a_run, stage};

const SCHEMA: &str = "
create role owner; create role mover login replication in role owner; grant pg_read_all_stats to mover;
grant create on database postgres to mover; create role keeper;
create schema app authorization owner; create schema hidden; grant usage, create on schema app to mover;
create table app.t (id int primary key, at date not null, code int unique, note varchar(10));
insert into app.t select g, date '2026-01-01' + g % 50, g, 'n' || g from generate_series(1, 100) g;
create table app.child (id int, t int constraint fits references app.t);
insert into app.child select g, g from generate_series(1, 100) g;
alter table app.t owner to owner; alter table app.child owner to owner;
";

const PLAN: &str = "
version: 1
name: refused
settings: {workers: 1, soak: 1h}
tables:
  - table: app.t
    indexes: ['create index t_at on app.t (at)']
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_stay_as_it_is_is_refused_by_name() {
    let by_id = "    partition_by: {hash: id, partitions: 2}\n    drop_indexes: [t_code_key]\n";
    let cases = [
        (
            "alter table app.child add constraint x foreign key (id) references app.t (code)",
            by_id,
            "foreign key x on app.child references (code), and the plan leaves no unique key",
            "{hash: code, partitions: 16} keeps it; or alter table app.child drop constraint x",
        ),
        (
            "alter table app.child add constraint x foreign key (id) references app.t (code)",
            "    columns: {code: drop}\n    drop_indexes: [t_code_key]\n",
            "foreign key x on app.child references column \"code\", which the plan drops",
            "alter table app.child drop constraint x",
        ),
        (
            "select",
            "    columns: {id: {type: text, using: id::text, back: id::int}}\n",
            "foreign key fits on app.child does not fit the new table: foreign key constraint \"fits\" cannot be",
            "alter table app.child drop constraint fits; and add it again after the swap",
        ),
        (
            "create table app.many (t int references app.t) partition by list (t);
             do $$ begin for i in 1..40 loop execute format('create table app.many_%s partition of app.many for values in (%s)', i, i); end loop; end $$",
            "    partition_by: {hash: id, partitions: 26}\n    drop_indexes: [t_code_key]\n",
            "would make 1040 constraints under its locks",
            "fewer partitions",
        ),
        (
            "alter table app.t add up int constraint up references app.t",
            "    partition_by: {hash: id, partitions: 32}\n    drop_indexes: [t_code_key]\n",
            "foreign key \"up\" references its own table: with 32 partitions the swap would make 1024 constraints",
            "alter table app.t drop constraint \"up\"",
        ),
        (
            "alter table app.t add up int constraint up references app.t",
            "    columns: {id: {rename: key}}\n",
            "foreign key \"up\" references column \"id\" of its own table, which is renamed",
            "drop constraint \"up\"",
        ),
        (
            "create table app.lane (id int primary key, t int constraint x references app.t)",
            "    columns: {id: {rename: key}}\n  - table: app.lane\n    indexes: ['create index lane_t on app.lane (t)']\n",
            "foreign key x on app.lane references column \"id\", which the plan renames",
            "in a plan of its own, without table app.lane",
        ),
        (
            "create table app.split (t int references app.t) partition by list (t);
             create table app.split_1 partition of app.split for values in (1); alter table app.split_1 owner to keeper",
            "",
            "is on a partitioned table of \"postgres\", and \"keeper\" owns a partition",
            "give its partitions to \"postgres\"",
        ),
    ];
    let cluster = Cluster::start();
    cluster.psql("postgres", SCHEMA);
    for (number, (sql, plan, what, hint)) in cases.into_iter().enumerate() {
        let db = format!("refused{number}");
        cluster.psql("template1", &format!("create database {db} template postgres"));
        cluster.psql(&db, sql);
        let plan = if plan.is_empty() {
            PLAN.to_owned()
        } else {
            PLAN.replace("    indexes: ['create index t_at on app.t (at)']\n", plan)
        };
        let checked = Bluegreen::new(&cluster, &db).plan(&plan).run("check", &[]).expect_code(3);
        let refusals = checked.refusals();
        assert!(refusals.iter().any(|finding| tells(finding, what, hint)), "{sql}: {refusals:#?}");
        assert_eq!(refusals.len(), 1, "{sql}: {refusals:#?}");
    }
}

/// The referenced column has another name while green is live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_referenced_column_may_be_renamed_and_retyped() {
    let cluster = Cluster::start();
    let plan = PLAN.replace(
        "    indexes:",
        "    columns: {id: {rename: key, type: bigint, using: id, back: key::int}}\n    indexes:",
    );
    let (client, program) = stage(&cluster, SCHEMA, &plan).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(super::referencing(&client, "app.t").await, "app.child fits t");
    client
        .batch_execute(
            "insert into app.t (key, at) values (500, now()); insert into app.child values (500, 500)",
        )
        .await
        .unwrap();
    assert_eq!(super::rejected(&client, "insert into app.child values (1, 999)").await, "23503");
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(super::count(&client, "app.t join app.child c on c.t = t.id where t.id = 500").await, 1);
    assert_eq!(super::rejected(&client, "delete from app.t where id = 500").await, "23503");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_a_childs_owner_are_required_and_no_superusers() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let program = program.env("PGUSER", "mover");
    program.run("check", &[]).expect_code(0);
    client
        .batch_execute(
            "create table hidden.child (t int constraint far references app.t on delete cascade); insert into hidden.child select generate_series(1, 50); \
             alter table hidden.child owner to keeper",
        )
        .await
        .unwrap();
    let refused = program.run("check", &[]).expect_code(3);
    for (what, hint) in [
        (
            "does not have the rights of \"keeper\", which owns foreign key far on hidden.child",
            "grant \"keeper\" to \"mover\"",
        ),
        ("may not use schema \"hidden\"", "grant usage on schema \"hidden\" to \"mover\""),
    ] {
        assert!(
            refused.refusals().into_iter().any(|finding| tells(finding, what, hint)),
            "{}",
            refused.stdout
        );
    }
    client.batch_execute("grant keeper to mover; grant usage on schema hidden to mover, keeper; grant usage on schema app to keeper").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(super::referencing(&client, "app.t").await, "app.child fits t, hidden.child far t");
    client.batch_execute("insert into app.t values (600, now()); insert into hidden.child values (600); delete from app.t where id = 600").await.unwrap();
    assert_eq!(super::count(&client, "hidden.child where t = 600").await, 0);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(super::referencing(&client, "app.t").await, "app.child fits t, hidden.child far t");
}

#[test]
fn a_key_that_is_made_changed_validated_or_dropped_during_a_run_stops_it() {
    let again =
        "alter table app.child drop constraint fits, add constraint fits foreign key (t) references app.t";
    let changes = [
        (
            "create table app.more (t int constraint more references app.t)".to_owned(),
            "constraint more of app.more is new",
        ),
        ("alter table app.child drop constraint fits".to_owned(), "constraint fits of app.child was dropped"),
        (format!("{again} on delete cascade"), "constraint fits of app.child was changed"),
        (format!("{again} deferrable"), "constraint fits of app.child was changed"),
        (
            "alter table app.child validate constraint unproven".to_owned(),
            "validity of constraint unproven of app.child was changed",
        ),
        (
            "comment on constraint fits on app.child is 'x'".to_owned(),
            "comment on constraint fits of app.child is new",
        ),
        ("alter table app.child owner to keeper".to_owned(), "constraint fits of app.child was changed"),
        ("alter table app.child rename to other".to_owned(), "constraint fits of app.other is new"),
    ];
    let cluster = Cluster::start();
    cluster.psql("postgres", SCHEMA);
    cluster.psql(
        "postgres",
        "alter table app.child add constraint unproven foreign key (id) references app.t not valid",
    );
    let changes: Vec<_> = changes.iter().map(|(sql, what)| (sql.as_str(), *what)).collect();
    each_stops_a_run(&cluster, PLAN, &changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_dropped_in_the_soak_is_an_alarm_and_a_new_partition_is_none() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    client
        .batch_execute(
            "create table app.parts (id int, t int constraint whole references app.t) partition by list (id); \
             comment on constraint whole on app.parts is 'of all'; create table app.parts_1 partition of app.parts for values in (1)",
        )
        .await
        .unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("create table app.parts_2 partition of app.parts for values in (2); insert into app.parts values (2, 1)").await.unwrap();
    running.terminate();
    running.finish().expect_code(7);
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("alter table app.child drop constraint fits").await.unwrap();
    running
        .finish()
        .expect_code(1)
        .expect_words(&["blue no longer follows it", "constraint fits of app.child was dropped"]);
    eventually(
        &client,
        "select exists (select from pg_indexes where indexname = 't_at' and schemaname = 'app')",
    )
    .await;
}
