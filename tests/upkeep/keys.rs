//! A table of keys keeps exactly the keys of the table's rows while old partitions leave, whatever clients do meanwhile and
//! wherever the command ends.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::numbers;
use crate::support::bluegreen::tells;
use crate::support::waiting::{eventually, waits_for_a_lock};
use crate::support::{Bluegreen, Cluster, stage};

const SCHEMA: &str = "
create table t (id bigint primary key, at timestamptz not null, v text);
create table child (t_id bigint references t on delete cascade);
create table other (t_id bigint references t on update cascade deferrable initially deferred);
create index on child (t_id);
insert into t select g, date_trunc('month', now()) - interval '170 days' + g * interval '2 hours', 'v' from generate_series(1, 2000) g;
insert into child select g from generate_series(1900, 2000) g;";

fn plan(default: bool) -> String {
    format!(
        "
version: 1
name: keys
tables:
  - table: public.t
    partition_by: {{range: at, every: 1 month, ahead: 1, default: {default}, retention: {{keep: 3 months, then: archive}}}}
    primary_key: [id, at]
    inbound_foreign_keys: registry
"
    )
}

async fn swapped(cluster: &Cluster, default: bool) -> (Client, Bluegreen) {
    let (client, program) = stage(cluster, SCHEMA, &plan(default)).await;
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    (client, program)
}

/// Keys without rows, rows without keys, and rows that reference none.
async fn astray(client: &Client) -> Vec<i64> {
    let sql = "select (select count(*) from t_keys k where not exists (select from t where t.id = k.id)),
        (select count(*) from t where not exists (select from t_keys k where k.id = t.id)),
        (select count(*) from (select t_id from child union all select t_id from other) c
           where not exists (select from t where t.id = c.t_id))";
    numbers(client, sql).await
}

/// What a command leaves behind that is killed.
async fn left(client: &Client) -> Vec<i64> {
    let sql = "select (select count(*) from pg_trigger where tgname = 'projh_upkeep'),
        (select count(*) from pg_namespace where nspname ~ 'upkeep')";
    numbers(client, sql).await
}

async fn archived(client: &Client, which: &str) -> i64 {
    let sql = "select coalesce(string_agg('select * from ' || oid::regclass, ' union all '), 'select null::bigint as id where false')
        from pg_class where relkind = 'r' and relnamespace::regnamespace::text ~ 'archive'";
    let union: String = client.query_one(sql, &[]).await.unwrap().get(0);
    numbers(client, &format!("select count(*) from ({union}) a where {which}")).await[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_write_into_a_partition_that_leaves_lose_no_key_and_no_row() {
    for default in [true, false] {
        let cluster = Cluster::start();
        let (client, program) = swapped(&cluster, default).await;
        let writing = cluster.client("postgres").await;
        // A row that comes, and one that references it.
        let late =
            "begin; insert into t select 99999, min(at), 'late' from t; insert into child values (99999)";
        writing.batch_execute(late).await.unwrap();
        let running = program.spawn("partitions", &[]);
        waits_for_a_lock(&client).await;
        writing.batch_execute("commit").await.unwrap();
        let refused = running.finish().expect_code(3);
        assert!(
            tells(refused.refusals()[0], "rows of public.child reference rows of", "delete or change"),
            "{}",
            refused.stdout
        );
        assert_eq!((astray(&client).await, left(&client).await), (vec![0, 0, 0], vec![0, 0]));
        assert_eq!(archived(&client, "true").await, 0);
        // One that goes to another partition, while its key stays.
        client.batch_execute("delete from child where t_id = 99999").await.unwrap();
        writing.batch_execute("begin; update t set at = now() where id = 5").await.unwrap();
        let running = program.spawn("partitions", &[]);
        waits_for_a_lock(&client).await;
        writing.batch_execute("commit").await.unwrap();
        running.finish().expect_code(0);
        assert_eq!((astray(&client).await, left(&client).await), (vec![0, 0, 0], vec![0, 0]));
        assert_eq!(numbers(&client, "select count(*) from t where id = 5").await, [1]);
        assert_eq!(archived(&client, "id = 99999").await, 1);
        client.batch_execute("insert into child values (5)").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_killed_leaves_every_key() {
    let cluster = Cluster::start();
    let (client, program) = swapped(&cluster, true).await;
    let reading = cluster.client("postgres").await;
    reading.batch_execute("begin; select count(*) from t").await.unwrap();
    let running = program.spawn("partitions", &[]);
    running.wait_for("waiting");
    assert_eq!(astray(&client).await, [0, 0, 0]);
    running.kill9();
    reading.batch_execute("commit").await.unwrap();
    assert_eq!(astray(&client).await, [0, 0, 0]);
    let twin = client.batch_execute("insert into t values (7, now(), 'twin')").await.unwrap_err();
    assert_eq!(twin.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let program = program.env("FAILPOINTS", "before a partition leaves=return");
    assert_ne!(program.run("partitions", &[]).code, Some(0));
    assert_eq!(astray(&client).await, [0, 0, 0]);
    assert_eq!(archived(&client, "true").await, 0);
    // Without partitions that are too old it takes away what is left, too.
    program.write_plan(&plan(true).replace("keep: 3 months", "keep: 90 months"));
    assert_eq!(left(&client).await, [1, 1]);
    program.run("partitions", &[]).expect_code(0);
    assert_eq!(left(&client).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_changes_while_its_keys_are_deleted_is_begun_again() {
    let cluster = Cluster::start();
    let (client, program) = swapped(&cluster, true).await;
    // The last release left a row without its key if it was killed, and a client could take that.
    client
        .batch_execute("delete from t_keys where id = 7; insert into t values (7, now(), 'twin')")
        .await
        .unwrap();
    let program = program.env("FAILPOINTS", "partition watched=1*sleep(3000)");
    let running = program.spawn("partitions", &[]);
    eventually(&client, "select exists (select from pg_trigger where tgname = 'projh_upkeep')").await;
    client
        .batch_execute(
            "update t set at = now() where id = 1; insert into t select 99999, min(at), 'late' from t",
        )
        .await
        .unwrap();
    running.finish().expect_code(0);
    assert_eq!((astray(&client).await, left(&client).await), (vec![0, 0, 0], vec![0, 0]));
    assert_eq!(numbers(&client, "select count(*) from t where id in (1, 7)").await, [2]);
    assert_eq!(archived(&client, "id in (7, 99999)").await, 2);
    assert_eq!(
        numbers(&client, "select count(*) from pg_inherits where inhparent = 't'::regclass").await,
        [4 + 1 + 1]
    );
}
