//! A rollback that is given again, and what a command on a run reports about it: its id, and what comes next.

use serde_json::Value;

use super::{BLUE, count, plan};
use crate::support::bluegreen::Finished;
use crate::support::waiting::notice;
use crate::support::{Cluster, stage};

/// What a command says is next; each of its lines names the run.
fn next(finished: &Finished, run: &str) -> String {
    for event in &finished.events {
        assert_eq!(event["run"], run, "{event}");
    }
    finished.events.last().unwrap()["next"].as_str().unwrap_or_default().to_owned()
}

/// Its terminal died, or somebody else gives it: green, which another swap needs, is dropped only on request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_after_a_rollback_says_what_was_done_and_drops_green_only_on_request() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    let run = running.wait_for("run")["run"].as_str().unwrap().to_owned();
    running.wait_for_notice("the swap is held");
    // Somebody executes it: there is nothing to execute.
    let watch = format!("projh-bluegreen status {run} --watch");
    assert_eq!(next(&program.run("verify", &[]).expect_code(0), &run), watch);
    assert_eq!(next(&program.run("set", &["workers=3"]).expect_code(0), &run), watch);
    let early = program.run("finish", &["--yes"]).expect_code(2);
    assert_eq!(next(&early, &run), watch);
    let resume = format!("projh-bluegreen resume {run}");
    assert_eq!(next(&program.run("pause", &[]).expect_code(0), &run), resume);
    assert_eq!(next(&program.run("resume", &[]).expect_code(0), &run), watch);
    assert_eq!(next(&program.run("swap", &[]).expect_code(0), &run), watch);
    running.wait_for("soaking");

    // Two at once, of which the process that holds the run carries out one.
    let both = [program.spawn("rollback", &[]), program.spawn("rollback", &[])];
    running.finish().expect_code(6);
    for one in both {
        let said = next(&one.finish().expect_code(6), &run);
        assert!(said.contains("execute plan.yaml swaps again"), "{said}");
        assert!(said.contains(&format!("rollback {run} --drop-green drops green")), "{said}");
    }
    let again = program.run("rollback", &[]).expect_code(6);
    next(&again, &run);
    let undone = notice("the swap was undone on 20");
    assert!(
        again.events.iter().any(|event| undone(event) && notice("green is kept")(event)),
        "{}",
        again.stdout
    );
    assert_eq!(count(&client, "pg_replication_slots").await, 2);

    // On its way to another swap: that is stopped, and no more.
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for_notice("the swap is held");
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(count(&client, "pg_replication_slots").await, 2);
    // Nobody executes it.
    assert_eq!(
        next(&program.run("verify", &[]).expect_code(0), &run).find("projh-bluegreen execute"),
        Some(0)
    );
    let paused = next(&program.run("pause", &[]).expect_code(0), &run);
    assert!(paused.starts_with(&format!("{resume}; then projh-bluegreen execute plan.yaml")), "{paused}");
    program.run("resume", &[]).expect_code(0);

    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for_notice("the swap is held");
    let dropped = program.run("rollback", &["--drop-green"]).expect_code(6);
    running.finish().expect_code(6);
    assert!(dropped.events.last().unwrap()["state"].as_str().unwrap().contains("as it was"));
    for nothing in ["pg_replication_slots", "pg_namespace where nspname like 'projh_bg%'"] {
        assert_eq!(count(&client, nothing).await, 0, "{nothing}");
    }
    let asked = "projh_bluegreen.request where what like 'rollback%' and answer->>'code' = '6'";
    assert_eq!(count(&client, asked).await, 4);
    for command in ["rollback", "pause", "swap"] {
        next(&program.run(command, &[]).expect_code(2), &run);
    }
}

/// What has no effect is refused, with the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_effect_on_a_run_is_said() {
    let plan = |soak: &str| {
        format!("version: 1\nname: useless\nsettings: {{soak: {soak}}}\ntables: [{{table: public.t}}]\n")
    };
    let cluster = Cluster::start();
    let setup = "create table t (id int primary key); insert into t select generate_series(1, 100)";
    let (client, program) = stage(&cluster, setup, &plan("0s")).await;
    program.execute(&["--yes"]).expect_code(0);
    program.write_plan(&plan("1h"));
    let late = program.execute(&["--yes"]).expect_code(0);
    let said = notice("`soak` has no effect: the run was swapped without a way back");
    assert!(late.events.iter().any(|event: &Value| said(event)), "{}", late.stdout);
    program.run("pause", &[]).expect_code(2).expect_words(&["only `finish` is left of the run"]);
    program.run("finish", &["--yes"]).expect_code(0);

    // In a soak that is broken, what does not end it counts.
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("alter table t add column x int").await.unwrap();
    let broken = running.finish().expect_code(1);
    assert!(broken.error().contains("blue no longer follows it"), "{}", broken.error());
    let refused = program.run("set", &["soak=0s"]).expect_code(2);
    assert!(refused.error().contains("blue has not followed green since 20"), "{}", refused.error());
    program.run("set", &["wal_budget=16GiB", "soak=2h"]).expect_code(0);
    client.batch_execute("alter table t drop column x").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    running.terminate();
    running.finish().expect_code(7);
    program.run("set", &["soak=0s"]).expect_code(0);
    program.execute(&["--yes"]).expect_code(0).expect_words(&["no longer written"]);
}
