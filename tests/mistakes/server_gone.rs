//! The server is gone: before a run, in the middle of it, at its end; or only the way to it is.

use crate::support::{Bluegreen, Cluster, Finished, Forwarder};

const DB: &str = "postgres";

/// A table of its own for each test, and a plan that waits as long for a server.
fn stage(cluster: &Cluster, table: &str, reconnect_for: &str) -> Bluegreen {
    let sql = "create table T (id int primary key, note text not null);
               insert into T select n, repeat('note ' || n, 10) from generate_series(1, 8000) n; analyze T";
    cluster.psql(DB, &sql.replace('T', table));
    let plan = format!(
        "version: 1\nname: {table}\nsettings: {{chunk_size: 256KiB, reconnect_for: {reconnect_for}}}\n\
         tables:\n  - table: public.{table}\n    partition_by: {{hash: id, partitions: 2}}\n"
    );
    Bluegreen::new(cluster, DB).plan(&plan)
}

/// The table is swapped, and has every row.
fn assert_swapped(cluster: &Cluster, table: &str) {
    let sql = format!(
        "select c.relkind, (select count(*) || ' ' || sum(length(note)) from {table}) from pg_class c \
         where c.oid = '{table}'::regclass"
    );
    let length = "select sum(length(repeat('note ' || n, 10))) from generate_series(1, 8000) n";
    assert_eq!(cluster.psql(DB, &sql).trim(), format!("p|8000 {}", cluster.psql(DB, length).trim()));
}

/// It ended with exit code 1, and said what happened, where things stand, and what to type.
fn assert_told(finished: &Finished, at: &str) {
    assert_eq!(finished.code, Some(1), "{at}: {}", finished.stdout);
    let retry = &finished.events_of("retry");
    assert!(!retry.is_empty(), "{at}: it did not try again:\n{}", finished.stdout);
    let error = finished.events_of("error")[0];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("cannot reach PostgreSQL"), "{at}: {message}");
    let end = finished.events_of("end")[0];
    assert!(end["state"].as_str().unwrap().contains("the run can be resumed"), "{at}: {end}");
    assert!(end["next"].as_str().unwrap().contains("projh-bluegreen execute"), "{at}: {end}");
}

#[test]
fn gone_in_the_middle_or_at_the_end_it_is_tried_again_and_then_told_and_a_resumed_run_ends_right() {
    let mut cluster = Cluster::start();
    for phase in ["copy", "index", "verify", "swap", "settle"] {
        let table = format!("in_{phase}");
        let program = stage(&cluster, &table, "400ms");
        let running = program.spawn("execute", &["--yes"]);
        let began = |event: &serde_json::Value| event["type"] == "phase_started" && event["phase"] == phase;
        running.wait_until(began).expect("the phase begins");
        cluster.kill9();
        let finished = running.finish();
        // Nothing was left to do but to tell the end, where the last phase is quick.
        if phase != "settle" || finished.code != Some(0) {
            assert_told(&finished, phase);
        }
        cluster.restart();
        program.execute(&["--yes"]).expect_code(0);
        assert_swapped(&cluster, &table);
        program.run("finish", &["--yes"]).expect_code(0);
    }
    let left = "select slot_name from pg_replication_slots union all select pubname from pg_publication
                union all select nspname from pg_namespace where nspname ~ '^projh_bg_'";
    assert_eq!(cluster.psql(DB, left).trim(), "");
}

/// A rollback and a finish, too, are continued by the command that began them.
#[test]
fn gone_in_a_rollback_or_a_finish_it_is_tried_again() {
    let mut cluster = Cluster::start();
    for (command, until, schema, code) in
        [("rollback", "verify", "green", 6), ("finish", "settle", "blue", 0)]
    {
        let table = format!("in_{command}");
        let program = stage(&cluster, &table, "60s");
        program.execute(&["--yes", "--until", until]).expect_code(0);
        let home = format!("select nspname from pg_namespace where nspname ~ '_{schema}$'");
        let home = cluster.psql(DB, &home).trim().to_owned();
        let holder = Session::open(&cluster);
        holder.execute(&format!("begin; lock table {home}.{table} in access share mode"));
        let running = program.spawn(command, if command == "finish" { &["--yes"] } else { &[] });
        running.wait_for("waiting");
        cluster.kill9();
        running.wait_for("retry");
        cluster.restart();
        let finished = running.finish().expect_code(code);
        let phases = |event: &str| {
            let of = finished.events_of(event).into_iter().filter(|event| event["phase"] == command);
            of.count()
        };
        assert_eq!((phases("phase_started"), phases("phase_done")), (2, 1), "{}", finished.stdout);
        assert_eq!(
            cluster.psql(DB, "select count(*) from pg_namespace where nspname ~ '^projh_bg_'").trim(),
            "0"
        );
    }
}

#[test]
fn a_connection_that_the_server_does_not_know_is_lost_does_not_lock_us_out() {
    let cluster = Cluster::start();
    for phase in ["copy", "swap"] {
        let table = format!("cut_in_{phase}");
        let program = stage(&cluster, &table, "60s");
        let forwarder = Forwarder::to(cluster.port());
        let program = program.env("PGPORT", &forwarder.port().to_string());
        let running = program.spawn("execute", &["--yes"]);
        let began = |event: &serde_json::Value| event["type"] == "phase_started" && event["phase"] == phase;
        running.wait_until(began).expect("the phase begins");
        assert!(forwarder.cut() >= 3, "there was nothing to cut");
        let finished = running.finish().expect_code(0);
        assert!(phase == "swap" || !finished.events_of("retry").is_empty(), "{}", finished.stdout);
        assert_swapped(&cluster, &table);
        program.run("finish", &["--yes"]).expect_code(0);
    }
}

#[test]
fn gone_before_it_begins_it_is_told_why() {
    let mut cluster = Cluster::start();
    let program = stage(&cluster, "before", "0s");
    let session = Session::open(&cluster);
    cluster.shut_down_smartly();
    let check = ["check", "plan.yaml"];
    let words = ["accepts no connections now: the database system is shutting down", "try again when"];
    program.say(&check).expect_code(1).expect_words(&words);
    drop(session);
    cluster.restart();
    program.say(&check).expect_code(0);
    cluster.kill9();
    let words = ["cannot reach PostgreSQL at 127.0.0.1:", "Connection refused", "listen_addresses"];
    program.say(&check).expect_code(1).expect_words(&words);
    program.say(&["execute", "plan.yaml", "--yes"]).expect_code(1).expect_words(&words);
    let directory = cluster.socket_directory().to_str().unwrap().to_owned();
    let program = program.env("PGHOST", &directory);
    std::fs::remove_file(cluster.socket_directory().join(format!(".s.PGSQL.{}", cluster.port()))).unwrap();
    let words = ["/.s.PGSQL.", "No such file or directory", "unix_socket_directories"];
    program.say(&check).expect_code(1).expect_words(&words);
}

/// Somebody who stays connected.
struct Session {
    client: tokio_postgres::Client,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    fn open(cluster: &Cluster) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = runtime.block_on(cluster.client(DB));
        Self { client, runtime }
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap();
    }
}
