//! What cannot be carried is refused by a check, with its reason and what to do, and once that is done it is carried.

use super::built_in::REFUSED;
use super::twin::DB;
use crate::support::{Bluegreen, Cluster, Finished};

const PLAN: &str =
    "version: 1\nname: refused\ntables:\n  - table: app.t\n    indexes: [create index t_more on t (id)]\n";

fn findings(checked: &Finished) -> Vec<(String, String, String)> {
    let text = |event: &serde_json::Value, name: &str| event[name].as_str().unwrap().to_owned();
    checked
        .refusals()
        .into_iter()
        .map(|event| (text(event, "check"), text(event, "what"), text(event, "hint")))
        .collect()
}

/// `setup` is refused by the check of this name, for this reason; its hint holds `hint`.
async fn refuse(cluster: &Cluster, setup: &str, plan: &str, [check, what, hint]: [&str; 3]) -> Vec<String> {
    let client = cluster.client(DB).await;
    client
        .batch_execute(&format!("drop schema if exists app cascade; create schema app; {setup}"))
        .await
        .unwrap();
    let program = Bluegreen::new(cluster, DB).plan(plan);
    let checked = program.run("check", &[]).expect_code(3);
    let found = findings(&checked);
    assert!(!found.is_empty());
    for (by, why, how) in &found {
        assert!(by == check && why.contains(what) && how.contains(hint), "{setup}: {by}: {why}; {how}");
    }
    found.into_iter().map(|(_, _, hint)| hint).collect()
}

/// The hint, typed as it stands, is enough.
async fn refuse_and_mend(cluster: &Cluster, setup: &str, says: [&str; 3]) {
    let hints = refuse(cluster, setup, PLAN, says).await;
    let client = cluster.client(DB).await;
    for hint in hints {
        client.batch_execute(&hint).await.unwrap_or_else(|error| panic!("{hint}: {error:?}"));
    }
    let program = Bluegreen::new(cluster, DB).plan(PLAN);
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_carried_is_refused_and_can_be_repaired() {
    let cluster = Cluster::start();
    for name in REFUSED {
        let setup = format!("create table app.t (id int primary key, x pg_catalog.{name})");
        refuse(&cluster, &setup, PLAN, ["types", "no binary form that can be read back", "change its type"])
            .await;
    }
    let setup = "create extension if not exists seg; create table app.t (id int primary key, x seg)";
    refuse(
        &cluster,
        setup,
        PLAN,
        ["types", "has type public.seg, which has no binary form", "drop it in the plan"],
    )
    .await;
    let setup = "create type app.pair as (a int, b text); create table app.t (id app.pair primary key)";
    refuse(&cluster, setup, PLAN, ["statements", "which is composite", "use a key of another type"]).await;
    let setup = "create table app.t (id int[] primary key)";
    refuse(
        &cluster,
        setup,
        PLAN,
        ["statements", "of which there are no arrays", "use a key of another type"],
    )
    .await;
    let setup = "create table app.t (id int primary key, projh_ord int)";
    refuse(
        &cluster,
        setup,
        PLAN,
        ["statements", "a name like the columns of our own statements", "rename column"],
    )
    .await;
    let setup = "create domain app.small as int; create table app.t (id int primary key, x app.small);
                 insert into app.t values (1, 1000); alter domain app.small add constraint \"Is small\" check (value < 10) not valid;
                 update app.t set x = 1";
    refuse_and_mend(
        &cluster,
        setup,
        ["types", "constraint \"Is small\" of domain app.small, which is NOT VALID", "validate"],
    )
    .await;
    let setup = "create table app.t (id int primary key, x xml); insert into app.t values (1, E'\\n\\n<a/>'), (2, '<b/>')";
    refuse_and_mend(&cluster, setup, ["xml", "1 values of column \"x\" begin with an empty line", "ltrim"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_need_more_locks_than_there_are() {
    let cluster = Cluster::builder()
        .setting("max_connections", "100")
        .setting("max_locks_per_transaction", "16")
        .start();
    let plan =
        "version: 1\nname: locks\ntables:\n  - table: app.t\n    partition_by: {hash: id, partitions: 500}\n";
    let setup = "create table app.t (id int primary key)";
    let hints =
        refuse(&cluster, setup, plan, ["locks", "need 2000 locks at once", "max_locks_per_transaction = "])
            .await;
    // What it asks for is enough.
    let number: String =
        hints[0].chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    drop(cluster);
    let cluster = Cluster::builder()
        .setting("max_connections", "100")
        .setting("max_locks_per_transaction", &number)
        .start();
    let client = cluster.client(DB).await;
    client.batch_execute(&format!("create schema app; {setup}")).await.unwrap();
    let program = Bluegreen::new(&cluster, DB).plan(plan);
    program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    let left = "select nspname::text from pg_namespace where nspname like 'projh\\_bg%'";
    assert!(client.query(left, &[]).await.unwrap().is_empty());
}
