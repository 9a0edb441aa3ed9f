//! `verify` and `swap` on a run that nobody executes are carried out by the command itself.

use super::{BLUE, count, plan, status};
use crate::support::{Cluster, home, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_swap_that_was_interrupted_is_compared_again_and_swapped_by_the_commands_alone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for("verified");
    // The process that holds it compares once more.
    program.run("verify", &[]).expect_code(0);
    running.terminate();
    running.finish().expect_code(7);

    client.batch_execute("update t set note = 'meanwhile' where id = 1").await.unwrap();
    let again = program.run("verify", &[]).expect_code(0);
    assert_eq!(again.events_of("verified").len(), 1);
    assert!(again.events.last().unwrap()["state"].as_str().unwrap().contains("blue is live"));
    let green = home(&client, "green").await;
    client.batch_execute(&damage(&green, "damaged")).await.unwrap();
    let found = program.run("verify", &[]).expect_code(4);
    assert_eq!(found.events_of("difference").len(), 1);
    // Verified it is not, so it is not swapped either, until it is.
    program.run("swap", &[]).expect_code(2).expect_words(&["it has not been verified since"]);
    client.batch_execute(&damage(&green, "as it was")).await.unwrap();
    program.run("verify", &[]).expect_code(0);
    // What is refused takes nothing over.
    program.run("finish", &["--yes"]).expect_code(2).expect_words(&["has not been swapped yet"]);
    assert_eq!(status(&program)["phase"], "swap");
    assert!(status(&program)["soak_ends"].is_null());

    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    let swapped = program.say(&["swap", &run, "--json"]).expect_code(0);
    assert_eq!(swapped.events_of("swapped").len(), 1);
    let end = swapped.events.last().unwrap();
    assert!(end["state"].as_str().unwrap().contains("while `execute` runs, blue follows"), "{end}");
    assert!(end["next"].as_str().unwrap().contains("projh-bluegreen execute"), "{end}");

    let hours = "select round(extract(epoch from $1::text::timestamptz - now()) / 3600)::int";
    let ends = status(&program)["soak_ends"].as_str().unwrap().to_owned();
    assert_eq!(client.query_one(hours, &[&ends]).await.unwrap().get::<_, i32>(0), 1, "{ends}");
    // In the soak: what clients write to green is applied to blue first.
    client.batch_execute("update t set note = 'of green' where id = 2").await.unwrap();
    program.run("verify", &[]).expect_code(0);
    let blue = home(&client, "blue").await;
    assert_eq!(count(&client, &format!("{blue}.t where note = 'of green'")).await, 1);
    client.batch_execute(&damage(&blue, "damaged")).await.unwrap();
    let found = program.run("verify", &[]).expect_code(4);
    assert!(found.error().contains("blue no longer follows it"), "{}", found.error());
    assert!(!found.stdout.contains("nothing was swapped"), "green is live: {}", found.stdout);
    let state = status(&program)["state"].clone();
    assert!(state.as_str().unwrap().contains("there is no way back as long as"), "{state}");
    assert!(!state.as_str().unwrap().contains("nothing was swapped"), "{state}");
    client.batch_execute(&damage(&blue, "as it was")).await.unwrap();
    program.run("verify", &[]).expect_code(0);
    assert!(status(&program)["state"].as_str().unwrap().contains("the swap can be undone"));
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where note in ('meanwhile', 'of green')").await, 2);
    // Blue is live again, and green follows: compared as well.
    program.run("verify", &[]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
}

/// Nothing is prepared by a comparison that was not there before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_opens_no_way_back() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    program.execute(&["--until", "index"]).expect_code(0);
    program.run("verify", &[]).expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 1);
    program.execute(&["--until", "verify"]).expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 2);
}

/// Nothing can be written by default: the command says so, with the state of the tables and how to go back all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_read_only_database_a_rollback_says_how_it_may_write() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("soak: 1h")).await;
    let soak = program.spawn("execute", &["--yes"]);
    soak.wait_for("soaking");
    soak.terminate();
    soak.finish().expect_code(7);
    client.batch_execute("alter database postgres set default_transaction_read_only = on").await.unwrap();
    let rejected = program.run("rollback", &[]).expect_code(1);
    let error = &rejected.events_of("error")[0]["hint"];
    assert!(
        error.as_str().unwrap().contains("PGOPTIONS=\"-c default_transaction_read_only=off\""),
        "{error}"
    );
    let state = &rejected.events.last().unwrap()["state"];
    assert!(state.as_str().unwrap().contains("the swap can be undone"), "{state}");
    let program = program.env("PGOPTIONS", "-c default_transaction_read_only=off");
    program.run("rollback", &[]).expect_code(6);
}

/// Changes a row behind the stream's back, with the mark of the program.
fn damage(home: &str, note: &str) -> String {
    format!(
        "begin; select pg_logical_emit_message(true, 'projh_bluegreen', \
         (select fact->>'mark' from projh_bluegreen.fact where fact->>'fact' = 'prepared')); \
         update {home}.t set note = '{note}' where id = 9; commit"
    )
}
