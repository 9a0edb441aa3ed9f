//! `application_name` says which run a connection belongs to, and which role it has in it.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::support::waiting::PATIENCE;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

const PLAN: &str = "version: 1
name: named
settings: {workers: 2, chunk_size: 64KiB, max_snapshot_age: 50ms}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 4}
    indexes: [create index t_note on t (note)]
";

/// Before a run is known, and after it.
const OUTSIDE_A_RUN: [&str; 5] = [
    "projh-bluegreen check",
    "projh-bluegreen execute",
    "projh-bluegreen journal",
    "projh-bluegreen pulse",
    "projh-bluegreen status",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_says_its_run_and_its_role() {
    let cluster = Cluster::start();
    cluster.psql(
        DB,
        "create role migrator login superuser; create table t (id int primary key, note text not null);
         insert into t select n, repeat('note ' || n, 10) from generate_series(1, 60000) n; analyze t",
    );
    let client = cluster.client(DB).await;
    let program = Bluegreen::new(&cluster, DB).plan(PLAN).env("PGUSER", "migrator");
    let mut running = program.spawn("execute", &["--yes"]);
    let (mut seen, mut streaming) = (BTreeSet::new(), BTreeSet::new());
    let sql = "select application_name, pid in (select pid from pg_stat_replication) from pg_stat_activity
               where usename = 'migrator' and backend_type in ('client backend', 'walsender')
                 and state is not null"; // Or it is being logged in, and has no name yet.
    let until = Instant::now() + PATIENCE;
    while running.is_running() {
        assert!(Instant::now() < until, "it does not end:\n{}", running.said());
        for row in client.query(sql, &[]).await.unwrap() {
            seen.insert(row.get::<_, String>(0));
            if row.get(1) {
                streaming.insert(row.get::<_, String>(0));
            }
        }
    }
    let finished = running.finish().expect_code(0);
    let run = finished.events_of("run")[0]["run"].as_str().unwrap().to_owned();
    let of_run = format!("projh-bluegreen {run} ");
    let mut roles = BTreeSet::new();
    for name in seen.iter().filter(|name| !OUTSIDE_A_RUN.contains(&name.as_str())) {
        roles.insert(name.strip_prefix(&of_run).unwrap_or_else(|| panic!("{name} in {seen:?}")));
    }
    for role in ["journal", "pace", "slot", "snapshot", "copy", "apply", "marker", "index", "verify", "swap"]
    {
        assert!(roles.contains(role), "no {role} in {roles:?}");
    }
    assert!(streaming.iter().any(|name| name.starts_with(&of_run)), "{streaming:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_orchestrator_left_running_ends_when_the_run_is_taken_over() {
    let cluster = Cluster::start();
    cluster.psql(DB, "create table t (id int primary key, note text not null)");
    let program = Bluegreen::new(&cluster, DB).plan(PLAN);
    let begun = program.execute(&["--until", "prepare"]).expect_code(0);
    let run = begun.events_of("run")[0]["run"].as_str().unwrap();
    let (of_run, of_other) = (cluster.client(DB).await, cluster.client(DB).await);
    for (client, run) in [(&of_run, run), (&of_other, "0123abcd")] {
        let name = format!("set application_name = 'projh-bluegreen {run} index'");
        client.batch_execute(&name).await.unwrap();
    }
    let index = of_run.batch_execute("select pg_sleep(60)");
    let taken_over = tokio::task::spawn_blocking(move || program.execute(&["--until", "copy"]));
    let (ended, taken_over) = tokio::join!(index, taken_over);
    assert_eq!(ended.unwrap_err().code().unwrap().code(), "57P01");
    taken_over.unwrap().expect_code(0);
    of_other.batch_execute("select 1").await.unwrap();
}
