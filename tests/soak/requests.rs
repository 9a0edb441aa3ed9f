//! Commands on a run that another process executes.

use std::time::Duration;

use serde_json::Value;

use super::{BLUE, count, plan};
use crate::support::{Cluster, closed_window, stage};

/// The commands of another terminal, while `execute` holds the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_another_terminal_are_carried_out_by_the_process_that_holds_the_run() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    let is_held = |event: &Value| event["type"] == "waiting" && event["cause"] == "release";
    running.wait_until(is_held).unwrap();
    assert_eq!(count(&client, "pg_partitioned_table where partrelid = 'public.t'::regclass").await, 0);
    client.batch_execute("update t set note = 'while it was held' where id = 1").await.unwrap();

    // A finish that comes too early ends nothing.
    program.run("finish", &["--yes"]).expect_code(2).expect_words(&["has not been swapped yet"]);
    program.run("verify", &[]).expect_code(0);
    let swap = program.run("swap", &[]).expect_code(0);
    assert_eq!(swap.events_of("asked")[0]["ask"], "swap");
    assert_eq!(count(&client, "pg_partitioned_table where partrelid = 'public.t'::regclass").await, 1);
    running.wait_until(|event| event["type"] == "asked" && event["ask"] == "swap").unwrap();
    running.wait_for("soaking");

    client.batch_execute("update t set note = 'of green' where id = 2").await.unwrap();
    let verified = program.run("verify", &[]).expect_code(0);
    assert_eq!(verified.events_of("verified").len(), 1, "{}", verified.stdout);
    assert_eq!(running.said().matches(r#""ask":"verify""#).count(), 2, "before the swap, and in the soak");
    assert_eq!(running.said().matches(r#""type":"verified""#).count(), 3);
    program.run("pause", &[]).expect_code(0);
    running.wait_until(|event| event["type"] == "throttled" && !event["why"].is_null()).unwrap();
    program.run("resume", &[]).expect_code(0);
    running.wait_until(|event| event["type"] == "throttled" && event["why"].is_null()).unwrap();

    let back = program.run("rollback", &[]).expect_code(6);
    assert!(back.events.last().unwrap()["state"].as_str().unwrap().contains("blue is live"));
    let finished = running.finish().expect_code(6);
    assert!(finished.events.last().unwrap()["state"].as_str().unwrap().contains("blue is live"));
    assert_eq!(count(&client, "t where note in ('while it was held', 'of green')").await, 2);
    let told =
        "projh_bluegreen.request where answered_at is not null and answer->>'why' is null and asked_by <> ''";
    assert_eq!(count(&client, told).await, 6);

    let status = program.run("status", &[]);
    let asked = &status.events_of("status")[0]["requests"];
    assert_eq!(asked[0]["ask"], "rollback", "{asked}");
    assert_eq!((&asked[0]["code"], &asked[0]["why"]), (&6.into(), &Value::Null), "{asked}");
    assert!(asked[1]["by"].as_str().is_some_and(|by| by.starts_with("process ")), "{asked}");

    // Nobody holds it now: each is carried out by the command itself, or says that it cannot be.
    program.run("swap", &[]).expect_code(2).expect_words(&["nobody executes run"]);
    program.run("verify", &[]).expect_code(0);
    program.run("pause", &[]).expect_code(0);
    let paused = program.spawn("execute", &["--yes"]);
    paused.wait_until(|event| event["type"] == "throttled").unwrap();
    program.run("resume", &[]).expect_code(0);
    paused.wait_for("soaking");
    let refused = program.run("swap", &[]).expect_code(2);
    assert!(refused.error().contains("has been swapped already"), "{}", refused.error());
    program.run("finish", &["--yes"]).expect_code(0);
    paused.finish().expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
    program.run("pause", &[]).expect_code(2);
}

/// Before the swap, a rollback drops what the process on the other terminal has made so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_before_the_swap_is_carried_out_by_the_process_that_holds_the_run() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    program.run("rollback", &[]).expect_code(6).expect_words(&["blue is live and as it was"]);
    running.finish().expect_code(6);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
    assert_eq!(count(&client, "pg_namespace where nspname like 'projh_bg%'").await, 0);
}

/// The swap is released, and waits for its window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_was_taken_up_is_not_taken_back() {
    let cluster = Cluster::start();
    let closed = plan("1h").replace("soak: 1h", &format!("soak: 1h, swap: {{{}}}", closed_window()));
    let (_, program) = stage(&cluster, BLUE, &closed).await;
    let running = program.spawn("execute", &["--hold-swap", "--until", "settle"]);
    running.wait_for("verified");
    let asking = program.spawn("swap", &[]);
    running.wait_for("asked");
    running.freeze(true);
    asking.wait_for_notice("of which nothing has been heard for 20 s");
    running.freeze(false);
    asking.interrupt();
    let withdrawn = asking.finish().expect_code(7);
    assert!(withdrawn.stdout.contains("it is being carried out all the same"), "{}", withdrawn.stdout);
    program.run("set", &["swap.window=none"]).expect_code(0);
    running.finish().expect_code(0);
    program.run("rollback", &["--drop-green"]).expect_code(6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_is_named() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    running.freeze(true);
    let pause = program.spawn("pause", &[]);
    let unanswered = program.run("rollback", &[]).expect_code(8);
    assert!(unanswered.error().contains("does not answer: projh-bluegreen"), "{}", unanswered.error());
    // What was not carried out has no effect later.
    pause.finish().expect_code(8);
    assert!(program.run("status", &[]).events_of("status")[0]["paused"].is_null());
    // Who no longer waits for it has not asked, and neither has who was killed.
    let withdrawn = program.spawn("rollback", &[]);
    withdrawn.wait_for("asked");
    withdrawn.interrupt();
    withdrawn.finish().expect_code(7);
    assert_eq!(count(&client, "projh_bluegreen.request where answered_at is null").await, 0);
    let killed = program.spawn("rollback", &[]);
    killed.wait_for("asked");
    running.kill9();
    killed.kill9();
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.terminate();
    running.finish().expect_code(7);
    program.run("rollback", &[]).expect_code(6);
}

/// A swap is released once there is something to swap, and everybody who asked for it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_is_refused_before_the_run_is_verified_and_answered_to_all_who_asked() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    program.run("pause", &[]).expect_code(0);
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("throttled");
    program.run("swap", &[]).expect_code(2).expect_words(&["has not been verified yet"]);
    program.run("resume", &[]).expect_code(0);
    running.wait_for_notice("the swap is held");
    client.batch_execute("begin; lock table t in row exclusive mode").await.unwrap();
    let swaps = [program.spawn("swap", &[]), program.spawn("swap", &[])];
    running.wait_for("swap_postponed");
    client.batch_execute("commit").await.unwrap();
    for swap in swaps {
        swap.finish().expect_code(0);
    }
    running.terminate();
    running.finish().expect_code(7);
}
