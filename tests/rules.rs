//! Rules on a table and on others that name it: they act for clients, once for each statement, and never for the
//! program.

use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{Cluster, home, stage};

const SCHEMA: &str = r#"
create role owner; create schema app authorization owner;
create table app.t (id int primary key, note text, more int); create table app.log (what text, id int);
create table app.other (id int, note text); create table app.second (id int primary key, t_id int);
insert into app.t select g, 'n' || g from generate_series(1, 100) g; insert into app.second select g, g from generate_series(1, 9) g;
create rule "Adds" as on insert to app.t do also insert into app.log values ('added', new.id);
create rule changes as on update to app.t where old.note <> new.note do also insert into app.log values ('changed', new.id);
create rule off as on delete to app.t do instead nothing;
create rule always as on delete to app.t do also insert into app.log values ('deleted', old.id);
create rule replica as on update to app.t do instead nothing;
alter table app.t disable rule off; alter table app.t enable always rule always; alter table app.t enable replica rule replica;
create rule feeds as on insert to app.other do also insert into app.t (id, note) values (new.id, new.note);
create rule quiet as on delete to app.other do also delete from app.t where id = old.id;
alter table app.other disable rule quiet;
create rule crosses as on delete to app.second do also update app.t set note = 'crossed' where id = old.t_id;
comment on rule "Adds" on app.t is 'counts'; comment on rule feeds on app.other is 'feeds';
grant all on app.log to owner;
alter table app.t owner to owner; alter table app.other owner to owner;
"#;

const PLAN: &str = "
version: 1
name: rules
settings: {workers: 1, soak: 1h}
tables:
  - table: app.t
    partition_by: {hash: id, partitions: 2}
    columns: {more: drop}
  - table: app.second
    add_columns: [seen int]
";

/// Every rule, with all that can be said of it.
async fn rules(client: &Client) -> String {
    let sql = "select string_agg(pg_get_ruledef(r.oid) || r.ev_enabled::text || coalesce(obj_description(r.oid, 'pg_rewrite'), ''), E'\\n' \
               order by r.ev_class::regclass::text, r.rulename) from pg_rewrite r join pg_class c on c.oid = r.ev_class \
               where c.relnamespace <> all (array['pg_catalog', 'information_schema']::regnamespace[])";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn log(client: &Client) -> String {
    let sql = "with gone as (delete from app.log returning *) select string_agg(what || id, ' ' order by what, id) from gone";
    client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_act_once_for_each_statement_of_a_client_on_either_table() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = rules(&client).await;
    let statements = |from: i32| {
        format!(
            "insert into app.t (id, note) values ({from}, 'new'); update app.t set note = 'other' where id = {from}; \
             insert into app.other values ({from} + 1, 'through'); delete from app.t where id = {from}; \
             delete from app.second where id = {}",
            from / 1_000
        )
    };
    let wanted = |from: i32| {
        format!("added{from} added{} changed{} changed{from} deleted{from}", from + 1, from / 1_000)
    };
    client.batch_execute(&statements(1_000)).await.unwrap();
    assert_eq!(log(&client).await, wanted(1_000));
    let checked = program.run("check", &[]).expect_code(0);
    assert_eq!(checked.stdout.matches("\"check\":\"dependents\"").count(), 9, "{}", checked.stdout);

    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    assert_eq!(log(&client).await, "");
    client.batch_execute(&statements(2_000)).await.unwrap();
    assert_eq!(log(&client).await, wanted(2_000));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    assert_eq!(rules(&client).await, before);
    client.batch_execute(&statements(3_000)).await.unwrap();
    let blue = home(&client, "blue").await;
    eventually(&client, &format!("select count(*) = 1 from {blue}.t where id = 3001")).await;
    assert_eq!(log(&client).await, wanted(3_000), "what is applied to blue is no client's");

    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(rules(&client).await, before);
    client.batch_execute(&statements(4_000)).await.unwrap();
    assert_eq!(log(&client).await, wanted(4_000));

    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(rules(&client).await, before);
    client.batch_execute(&statements(5_000)).await.unwrap();
    assert_eq!(log(&client).await, wanted(5_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_does_not_fit_is_refused_by_name_and_one_that_changes_stops_a_run() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    for (rule, on) in [
        ("create rule bad as on update to app.t do also insert into app.log values ('', new.more)", "app.t"),
        ("create rule bad as on insert to app.other do also update app.t set more = 1", "app.other"),
    ] {
        client.batch_execute(rule).await.unwrap();
        let refused = program.run("check", &[]).expect_code(3);
        assert_eq!(refused.refusals().len(), 1, "{}", refused.stdout);
        let what = refused.refusals()[0]["what"].as_str().unwrap().to_owned();
        assert!(what.starts_with(&format!("rule bad on {on} does not fit the new table")), "{what}");
        client.batch_execute(&format!("drop rule bad on {on}")).await.unwrap();
    }
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (change, undo) in [
        ("alter table app.t enable rule off", "alter table app.t disable rule off"),
        ("comment on rule \"Adds\" on app.t is 'x'", "comment on rule \"Adds\" on app.t is 'counts'"),
        (
            "create rule more as on insert to app.other do also update app.t set note = ''",
            "drop rule more on app.other",
        ),
    ] {
        client.batch_execute(change).await.unwrap();
        let stopped = program.execute(&["--yes"]).expect_code(1);
        assert!(
            stopped.error().contains("app.t") || stopped.error().contains("app.other"),
            "{}",
            stopped.error()
        );
        client.batch_execute(undo).await.unwrap();
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
}
