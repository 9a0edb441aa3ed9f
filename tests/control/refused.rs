//! What cannot be done to a run is refused with the reason, and exit code 2.

use super::{BLUE, PAUSED, count, plan};
use crate::support::{Bluegreen, Cluster, stage};

/// What is set, and what is said of it. No server is asked.
const TYPED: &[(&[&str], &[&str])] = &[
    (&["wokers=8"], &["`wokers` is not a key of `settings`; did you mean `workers`?"]),
    (&["swap.atempts=8"], &["`atempts` is not a key of `swap`; did you mean `attempts`?"]),
    (&["workers"], &["`workers` is not of the form KEY=VALUE"]),
    (&["workers=0"], &["`workers` must be a whole number from 1 to 64, not `0`"]),
    (&["wal_budget=16"], &["`wal_budget` must be a size from 1MiB to 64TiB, not `16`", "8GiB"]),
    (&["swap.window=2-5 UTC"], &["`window` is not a window of the day"]),
    (&["preview.sample=false"], &["`preview.sample` cannot be set for a run", "--dry-run"]),
    (&["workers=2", "workers=3"], &["`workers` is given twice"]),
    (&["workers=0", "soak=soon"], &["`workers` must be", "`soak` must be a duration"]),
    (&[], &["<KEY=VALUE>", "Usage: projh-bluegreen set"]),
];

#[test]
fn what_cannot_be_a_setting_is_refused_before_a_server_is_asked() {
    for (words, says) in TYPED {
        let program = Bluegreen::alone().plan(&plan(PAUSED));
        program.run_for_people("set", words).expect_code(2).expect_words(says);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_run_or_its_server_has_no_use_for_is_refused() {
    let cluster = Cluster::builder().setting("max_connections", "30").start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 0s")).await;
    let refused = |args: &[&str], says: &[&str]| {
        drop(program.run("set", args).expect_code(2).expect_words(says));
    };
    refused(&["workers=2"], &["no run of a plan named `controlled`"]);
    program.execute(&["--until", "prepare"]).expect_code(0);
    program.say(&["set", "00000000", "workers=2"]).expect_code(2).expect_words(&["has no run `00000000`"]);
    refused(&["throttle.query=select 1"], &["does not return a boolean"]);
    refused(&["throttle.query=select asked from paused"], &["paused", "does not exist (SQLSTATE 42P01)"]);
    refused(&["workers=64"], &["connections are free on the server, and 63 more workers need 63"]);
    refused(&["soak=24h"], &["`soak` cannot be set for run", "the plan has none"]);
    refused(&["workers=2", "soak=24h"], &["`soak` cannot be set for run"]);
    assert_eq!(count(&client, "projh_bluegreen.request").await, 0, "none of it has been recorded");

    // The same by the run's id as by its plan.
    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    program.say(&["set", &run, "workers=2"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    refused(&["workers=3"], &["has ended: it was rolled back"]);
    // What was set was of that run.
    let fresh = program.execute(&["--until", "verify"]).expect_code(0);
    assert!(fresh.events_of("setting_changed").is_empty());

    // A way back that was not made before the swap cannot be had after it.
    program.write_plan(&plan("soak: 1h"));
    program.execute(&["--until", "prepare"]).expect_code(0);
    program.run("set", &["soak=0s"]).expect_code(0);
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    refused(&["soak=2h"], &["has verified it without a way back"]);
    program.run("swap", &[]).expect_code(0);
    running.finish().expect_code(0);
    refused(&["soak=2h"], &["has no way back any more"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_compared_and_a_swap_that_is_not_prepared_are_refused() {
    let cluster = Cluster::start();
    let gates = "\ngates: [{name: calm, sql: select true}]\n";
    let (client, program) = stage(&cluster, BLUE, &(plan("soak: 0s") + gates)).await;
    let refused = |command: &str, says: &[&str]| {
        let told = program.run(command, &[]).expect_code(2).expect_words(says);
        assert!(told.events_of("run").is_empty(), "it has taken the run over");
    };
    refused("verify", &["no run of a plan named"]);
    refused("swap", &["no run of a plan named"]);
    program.execute(&["--until", "catch_up"]).expect_code(0);
    refused("verify", &["nobody executes run", "green is not complete yet"]);
    refused("swap", &["nobody executes run", "it has not been verified since"]);
    program.execute(&["--until", "verify"]).expect_code(0);

    // Its gates are in the plan's file only; and that has to be the plan that it began with.
    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    program.say(&["swap", &run]).expect_code(2).expect_words(&["it has gates (calm)", "give that file"]);
    program.write_plan(&(plan("soak: 0s").replace("partitions: 3", "partitions: 4") + gates));
    program.run("swap", &[]).expect_code(3).expect_words(&["the plan has changed since"]);
    program.write_plan(&(plan("soak: 0s") + &gates.replace("true", "false")));
    program.run("swap", &[]).expect_code(5).expect_words(&["gate `calm` does not pass"]);
    program.write_plan(&(plan("soak: 0s") + gates));
    program.run("swap", &[]).expect_code(0).expect_words(&["swapped: green is live; blue is kept"]);
    refused("swap", &["it has been swapped already"]);
    refused("verify", &["blue does not follow green"]);
    program.run("finish", &["--yes"]).expect_code(0);
    refused("verify", &["has ended: it was finished"]);
}

/// A run is known in its own database only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_another_database_is_none() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    program.execute(&["--until", "prepare"]).expect_code(0);
    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    client.batch_execute("create database another").await.unwrap();
    let url = cluster.url("another");
    for command in ["rollback", "verify", "swap", "pause", "resume"] {
        let told = program.say(&[command, &run, "--database-url", &url]).expect_code(2);
        told.expect_words(&["this database has no run", &run]);
    }
    let told = program.say(&["finish", &run, "--yes", "--database-url", &url]).expect_code(2);
    told.expect_words(&["this database has no run", &run]);
    program.run("rollback", &[]).expect_code(6);
}

/// Of two commands at once one acts; the other one asks it, or says who it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_rollbacks_at_once_are_one() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let both = [program.spawn("rollback", &[]), program.spawn("rollback", &[])].map(|one| one.finish());
    let swapped: usize = both.iter().map(|one| one.events_of("swapped").len()).sum();
    assert_eq!(swapped, 1, "{}\n{}", both[0].stdout, both[1].stdout);
    for one in &both {
        assert!(matches!(one.code, Some(6 | 8)), "{:?} {}", one.code, one.stdout);
    }
    assert!(both.iter().any(|one| one.code == Some(6)));
    let slots = count(&client, "pg_replication_slots").await;
    assert_eq!(slots, 2, "they still follow each other");
    program.run("rollback", &["--drop-green"]).expect_code(6);
}
