//! What a command leaves that is killed has copies of rows: whoever comes next drops it, and nothing else.

use tokio_postgres::Client;

use super::numbers;
use super::soak::{cannot_move_rows, soaking};
use crate::support::bluegreen::tells;
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster};

/// The triggers and the private schemas of `partitions`.
async fn left(client: &Client) -> Vec<i64> {
    let sql = "select (select count(*) from pg_trigger where tgname = 'projh_upkeep'),
        (select count(*) from pg_namespace where nspname ~ 'projh_bg_upkeep')";
    numbers(client, sql).await
}

/// The same program with a failpoint.
fn at(cluster: &Cluster, program: &Bluegreen, point: &str) -> Bluegreen {
    let plan = std::fs::read_to_string(program.folder().join("plan.yaml")).unwrap();
    Bluegreen::new(cluster, "postgres").plan(&plan).env("FAILPOINTS", point)
}

async fn killed(cluster: &Cluster, client: &Client, program: &Bluegreen) {
    let killed = at(cluster, program, "no old snapshots=return").run("partitions", &["--ahead", "4"]);
    assert_eq!(killed.code, None, "{}", killed.stderr);
    assert_eq!(left(client).await, [1, 1]);
}

/// A schema such as an earlier release left.
async fn leave(client: &Client, table: &str) -> String {
    let sql = format!("select format('projh_bg_upkeep_%s', {table})");
    let schema: String = client.query_one(&sql, &[]).await.unwrap().get(0);
    let make = format!(
        "create schema {schema}; create table {schema}.twin (id int, at date) partition by range (at);
         create table {schema}.t_default partition of {schema}.twin default; create table {schema}.noted (id int)"
    );
    client.batch_execute(&make).await.unwrap();
    schema
}

const GREEN: &str = "(select c.oid from pg_class c where c.relname = 't' and c.relkind = 'p')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_with_a_rollback_and_with_a_finish_and_status_names_it() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    let named = || {
        let shown = program.run("status", &[]).expect_code(0);
        let status = shown.events_of("status");
        status[0]["left_by_partitions"].as_array().unwrap().clone()
    };
    assert!(named().is_empty());
    killed(&cluster, &client, &program).await;
    let names = named();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0]["table"], "public.t");
    assert!(names[0]["schema"].as_str().unwrap().starts_with("projh_bg_upkeep_"), "{names:?}");
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(left(&client).await, [0, 0]);
    assert!(named().is_empty());
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    killed(&cluster, &client, &program).await;
    let rows = "select count(*), count(*) filter (where n = 1) from t";
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(left(&client).await, [0, 0]);
    assert_eq!(numbers(&client, rows).await, [2500, 500]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_holds_up_no_run() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    killed(&cluster, &client, &program).await;
    let reader = cluster.client("postgres").await;
    reader.batch_execute("begin; select from only t_default limit 1").await.unwrap();
    program
        .run("finish", &["--yes", "--now"])
        .expect_code(0)
        .expect_words(&["was not dropped: its locks were not granted within 5 s", "the next one drops it"]);
    assert_eq!(left(&client).await, [1, 1]);
    reader.batch_execute("rollback").await.unwrap();
    program.run("partitions", &["--ahead", "4"]).expect_code(0);
    assert_eq!(left(&client).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_when_green_is_dropped_and_when_the_command_is_refused() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    program.run("rollback", &[]).expect_code(6);
    let gone = leave(&client, "4294967290").await;
    let of_green = leave(&client, GREEN).await;
    let shown = program.run("partitions", &["--dry-run"]).expect_code(3);
    assert!(tells(shown.refusals()[0], "it is not partitioned", "execute the plan"), "{}", shown.stdout);
    assert_eq!(left(&client).await, [0, 2]);
    let refused = program.run("partitions", &[]).expect_code(3);
    assert!(tells(refused.refusals()[0], "it is not partitioned", "execute the plan"), "{}", refused.stdout);
    assert_eq!(left(&client).await, [0, 0], "{gone} {of_green}");
    leave(&client, GREEN).await;
    program.run("rollback", &["--drop-green"]).expect_code(6);
    assert_eq!(left(&client).await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_made_or_build_stays() {
    let cluster = Cluster::start();
    let (client, program) = soaking(&cluster).await;
    if cannot_move_rows(&cluster, &program) {
        return;
    }
    let schema = leave(&client, "'t'::regclass::oid").await;
    let cases = [
        ("create table %.mine (id int)", "drop table %.mine", "it has what others have made: table "),
        ("create view v as select * from %.noted", "drop view v", "view public.v depends on it"),
        ("create function %.f() returns int language sql return 1", "drop function %.f()", "function "),
    ];
    for (make, undo, why) in cases {
        client.batch_execute(&make.replace('%', &schema)).await.unwrap();
        let refused = program.run("partitions", &["--ahead", "4"]).expect_code(3);
        assert!(tells(refused.refusals()[0], why, "drop that first"), "{}", refused.stdout);
        assert_eq!(left(&client).await, [0, 1]);
        client.batch_execute(&undo.replace('%', &schema)).await.unwrap();
    }
    client.batch_execute(&format!("create table {schema}.mine (id int)")).await.unwrap();
    program.run("rollback", &[]).expect_code(6).expect_words(&["was not dropped", "what others have made"]);
    assert_eq!(left(&client).await, [0, 1]);
    client.batch_execute(&format!("drop table {schema}.mine")).await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(left(&client).await, [0, 0]);
    // One that is at work.
    let slow = at(&cluster, &program, "no old snapshots=1*sleep(15000)");
    let at_work = slow.spawn("partitions", &["--ahead", "4"]);
    eventually(&client, "select exists (select from pg_trigger where tgname = 'projh_upkeep')").await;
    let shown = program.run("status", &[]).expect_code(0);
    assert!(shown.events_of("status")[0]["left_by_partitions"].as_array().unwrap().is_empty());
    program.run("partitions", &["--ahead", "4"]).expect_code(8);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(left(&client).await, [1, 1]);
    at_work.finish().expect_code(0);
    assert_eq!(left(&client).await, [0, 0]);
    assert_eq!(numbers(&client, "select count(*) from only t_default").await, [0]);
}
