//! Publications of others: the new table takes the old one's place, and a subscriber gets each change exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;

use crate::support::waiting::{eventually, until};
use crate::support::{Bluegreen, Cluster, listed, stage};

const TABLES: &str = "
create table public.t (id bigint primary key, at date not null, note text, secret text);
create table public.plain (id int primary key, note text);
create schema app; create table app.u (id int primary key, note text);
insert into public.t select g, date '2026-01-01' + g % 59, 'note ' || g, 's' from generate_series(1, 400) g;
insert into public.plain select g, 'p' from generate_series(1, 9) g;
insert into app.u select g, 'u' from generate_series(1, 200) g;";

const PUBLICATIONS: &str = "
create publication whole for table public.t, public.plain with (publish = 'insert, update, delete');";

/// From version 15 on.
const MORE: &str = "
create publication part for table public.t (id, at, note) where (id % 2 = 0);
create publication schema_app for tables in schema app;";

const PLAN: &str = "
version: 1
name: published
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
  - table: app.u
    indexes: [create index u_note on u (note)]
";

/// Databases of the same server that subscribe, each to one publication.
async fn subscribe(cluster: &Cluster, publications: &[&str]) -> Vec<Client> {
    let mut subscribers = Vec::new();
    for publication in publications {
        let slot = format!("select pg_create_logical_replication_slot('of_{publication}', 'pgoutput')");
        cluster.psql("postgres", &slot);
        cluster.create_db(publication);
        let client = cluster.client(publication).await;
        let sql = format!(
            "create subscription s connection '{}' publication {publication} \
             with (create_slot = false, slot_name = 'of_{publication}', copy_data = false)",
            cluster.url("postgres")
        );
        let only = if *publication == "part" {
            "delete from public.t where id % 2 = 1; alter table public.t drop secret;"
        } else {
            ""
        };
        client.batch_execute(&format!("{TABLES}{only}")).await.unwrap();
        client.batch_execute(&sql).await.unwrap();
        subscribers.push(client);
    }
    subscribers
}

/// Writes until it is told to stop, or a statement fails.
async fn write(client: Client, stop: Arc<AtomicBool>) -> Result<i64, tokio_postgres::Error> {
    let mut id = 1_000_i64;
    while !stop.load(Ordering::Relaxed) {
        id += 1;
        client
            .batch_execute(&format!(
                "insert into public.t values ({id}, date '2026-01-01' + {id} % 59, 'new', 's'); \
                 update public.t set note = 'changed {id}' where id in ({id} - 3, {id} % 400); \
                 update public.t set at = date '2026-01-01' + ({id} + 30) % 59 where id = {id} - 5; \
                 delete from public.t where id = {id} - 20 and id % 3 = 0; \
                 insert into app.u values ({id}, 'new'); update app.u set note = 'changed' where id = {id} - 1; \
                 delete from app.u where id = {id} - 9 and id % 2 = 0"
            ))
            .await?;
    }
    Ok(id)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

/// What is published of whom, without what runs publish.
async fn published(client: &Client) -> String {
    let sql = "select string_agg(p.pubname || p.pubviaroot || (to_jsonb(t) - 'attnames')::text || coalesce(to_jsonb(t)->>'attnames', ''), E'\\n' \
               order by p.pubname, t.schemaname, t.tablename) \
               from pg_publication p join pg_publication_tables t using (pubname) where pubname !~ '^projh_bg_'";
    text(client, sql).await
}

const OF_T: &str = "select md5(string_agg(t::text, ',' order by id)) from public.t";
const OF_U: &str = "select md5(string_agg(u::text, ',' order by id)) from app.u";
const OF_PART: &str =
    "select md5(string_agg((id, at, note)::text, ',' order by id)) from public.t where id % 2 = 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_get_each_change_once_through_swaps_in_both_directions() {
    let cluster = Cluster::builder().setting("max_logical_replication_workers", "12").start();
    let (client, program) = stage(&cluster, &format!("{TABLES}{PUBLICATIONS}"), PLAN).await;
    let has_more = text(&client, "show server_version_num").await.as_str() >= "150000";
    let mut names = vec!["whole"];
    if has_more {
        client.batch_execute(MORE).await.unwrap();
        names.extend(["part", "schema_app"]);
    }
    let subscribers = subscribe(&cluster, &names).await;
    let compared = [("public.t", OF_T, OF_T), ("part", OF_PART, OF_PART), ("app.u", OF_U, OF_U)];
    let before = published(&client).await;
    listed(&program, &["publication whole depends on it: in the swap the new table takes"]);
    assert_eq!(published(&client).await, before);

    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(cluster.client("postgres").await, Arc::clone(&stop)));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let root = "bool_and(pubviaroot) from pg_publication where pubname in ('whole', 'part')";
    assert!(ask(&client, root).await);
    eventually(&client, "select max(id) > 1100 from public.t").await;
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(published(&client).await, before);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap().unwrap();

    for (subscriber, (what, here, there)) in subscribers.iter().zip(compared) {
        let wanted = text(&client, here).await;
        until(what, async || text(subscriber, there).await == wanted).await;
        if has_more {
            assert!(
                ask(subscriber, "sum(apply_error_count) = 0 from pg_stat_subscription_stats").await,
                "{what}"
            );
        }
        subscriber.batch_execute("drop subscription s").await.unwrap();
    }
}

async fn ask(client: &Client, sql: &str) -> bool {
    client.query_one(&format!("select {sql}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_could_not_be_kept_is_refused_by_name_and_a_change_of_one_stops_a_run() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &format!("{TABLES}{PUBLICATIONS}"), PLAN).await;
    let refused = async |sql: &str, undo: &str, what: &str| {
        client.batch_execute(sql).await.unwrap();
        let refused = program.run("check", &[]).expect_code(3);
        let told = refused.refusals()[0]["what"].as_str().unwrap().to_owned();
        assert!(told.contains(what), "{told}");
        client.batch_execute(undo).await.unwrap();
    };
    refused(
        "create table other (id int primary key) partition by hash (id); alter publication whole add table other",
        "drop table other",
        "publication whole publishes changes of partitions under the partitions' names",
    )
    .await;
    if text(&client, "show server_version_num").await.as_str() >= "150000" {
        let of = |rest: &str| format!("create publication part for table public.t {rest}");
        refused(&of("(id, note)"), "drop publication part", "does not list column at").await;
        refused(
            "create publication p for tables in schema public",
            "drop publication p",
            "of the schema of its partitions",
        )
        .await;
        refused(
            "alter table plain add of_t oid; create publication p for table plain where (of_t <> 'app.u'::regclass) with (publish = 'insert')",
            "drop publication p",
            "the row filter that a publication has for another table names it: p on public.plain",
        )
        .await;
        program.write_plan(
            &format!("{PLAN}    columns: {{note: drop}}\n")
                .replace("app.u\n    indexes: [create index u_note on u (note)]", "public.t2"),
        );
        client.batch_execute("create table t2 (id int primary key, note text)").await.unwrap();
        refused(
            "create publication part for table t2 (id, note)",
            "drop publication part",
            "lists column note",
        )
        .await;
        refused(
            "create publication part for table t2 where (note = 'x') with (publish = 'insert')",
            "drop publication part",
            "reads column note",
        )
        .await;
        program.write_plan(PLAN);
    }
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let stops = async |change: &str, undo: &str, program: &Bluegreen| {
        client.batch_execute(change).await.unwrap();
        let stopped = program.execute(&["--yes"]).expect_code(1);
        assert!(stopped.error().contains("publication"), "{}", stopped.error());
        client.batch_execute(undo).await.unwrap();
    };
    stops("create publication more for table public.t", "drop publication more", &program).await;
    stops(
        "alter publication whole drop table public.t",
        "alter publication whole add table public.t",
        &program,
    )
    .await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert!(ask(&client, "count(*) = 2 from pg_publication_tables where pubname = 'whole'").await);
}
