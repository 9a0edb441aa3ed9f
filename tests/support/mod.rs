//! What every test stands on: throw-away servers, and the built program run against them.

pub mod bluegreen;
pub mod cluster;
pub mod contract;
pub mod definitions;
pub mod feeding;
pub mod forwarder;
mod install;
pub mod pooler;
mod process;
pub mod waiting;

pub use bluegreen::{Bluegreen, Finished};
pub use cluster::Cluster;
pub use forwarder::{Dark, Flow, Forwarder};
pub use pooler::Pooler;

use tokio_postgres::Client;

/// The database `postgres` as `setup` makes it: a client of it, and the program with a plan for it.
pub async fn stage(cluster: &Cluster, setup: &str, plan: &str) -> (Client, Bluegreen) {
    let client = cluster.client("postgres").await;
    client.batch_execute(setup).await.unwrap();
    (client, Bluegreen::new(cluster, "postgres").plan(plan))
}

/// Swaps, goes back, swaps again and finishes; `look` is called after each command, with its name.
pub async fn there_and_back(program: &Bluegreen, look: impl AsyncFn(&str)) {
    let swap: (&str, &[&str], i32) = ("execute", &["--yes", "--until", "settle"], 0);
    for (command, arguments, code) in [swap, ("rollback", &[], 6), swap, ("finish", &["--yes", "--now"], 0)] {
        program.run(command, arguments).expect_code(code);
        look(command).await;
    }
}

/// The schema of the only run's `green` or `blue`.
pub async fn home(client: &Client, side: &str) -> String {
    let sql = format!("select nspname::text from pg_namespace where nspname ~ '^projh_bg_.*_{side}$'");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// A swap window that is closed for hours.
pub fn closed_window() -> String {
    let hour = |from_now: i64| {
        let time = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(from_now);
        time.strftime("%H:00").to_string()
    };
    format!("window: \"{}-{} UTC\"", hour(6), hour(7))
}

/// `check` notes what depends on the tables, also in these words, and the preview lists as much.
pub fn listed(program: &Bluegreen, words: &[&str]) {
    let checked = program.run("check", &[]).expect_code(0);
    let findings = checked.events_of("finding");
    let notes: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["check"] == "dependents")
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    for what in words {
        assert!(notes.iter().any(|note| note.starts_with(what)), "{what}: {notes:#?}");
    }
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    let changes = preview.events_of("preview_change");
    let listed = changes.iter().filter(|change| change["object"] == "depends on it").count();
    assert_eq!(listed, notes.len(), "{changes:#?}");
}

/// Each of these changes stops a verified run, which says so; one that is rolled back does not. Each in a copy of `postgres`,
/// to which nobody may be connected.
pub fn each_stops_a_run(cluster: &Cluster, plan: &str, changes: &[(&str, &str)]) {
    for (number, (sql, what)) in changes.iter().enumerate() {
        let db = format!("stopped{number}");
        cluster.psql("template1", &format!("create database {db} template postgres"));
        let program = Bluegreen::new(cluster, &db).plan(plan);
        program.execute(&["--yes", "--until", "verify"]).expect_code(0);
        cluster.psql(&db, &format!("begin; {sql}; rollback"));
        cluster.psql(&db, sql);
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
        program.run("rollback", &[]).expect_code(6);
    }
}
