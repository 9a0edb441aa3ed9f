//! Every exit code that the contract names, and a way to get it; after each end the state that the tables are in,
//! and what to type next.

use crate::support::{Cluster, Finished, home, stage};

const DB: &str = "postgres";

const BLUE: &str = "
create table public.t (id bigint primary key, at date not null, note text);
insert into public.t select g, date '2026-01-01' + g % 80, 'note ' || g from generate_series(1, 500) g;
analyze public.t;";

const PLAN: &str = "
version: 1
name: coded
settings: {workers: 2, swap: {attempts: 2, lock_timeout: 50ms}}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
";

/// The last line says the same code as the program, the state of the tables, and the next command.
fn ends(finished: Finished, code: i32, state: &str, next: Option<&str>) -> Finished {
    let finished = finished.expect_code(code);
    let end = finished.events.last().unwrap();
    assert_eq!((&end["type"], &end["code"]), (&"end".into(), &code.into()), "{}", finished.stdout);
    assert!(end["state"].as_str().unwrap().contains(state), "code {code}: {end}");
    match next {
        Some(next) => assert!(end["next"].as_str().unwrap().contains(next), "code {code}: {end}"),
        None => assert!(end["next"].is_null(), "code {code}: {end}"),
    }
    finished
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_code_of_the_contract_has_a_way_to_get_it() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;

    // 2: the plan's text; a command line that cannot be; a run that is not there.
    program.write_plan(&PLAN.replace("primary_key", "primary_kye"));
    let invalid = ends(program.execute(&["--yes"]), 2, "nothing was changed", Some("correct the plan"));
    assert!(invalid.events_of("problem")[0]["hint"].as_str().unwrap().contains("primary_key"));
    program.write_plan(PLAN);
    ends(program.execute(&[]), 2, "nothing was changed", Some("projh-bluegreen execute plan.yaml"));
    ends(program.run("rollback", &[]), 2, "there is no run", Some("projh-bluegreen status"));
    program.run("execute", &["--until", "yesterday"]).expect_code(2);

    // 3: refused by a check.
    client.batch_execute("create domain public.v as public.t").await.unwrap();
    let refused =
        ends(program.execute(&["--yes"]), 3, "nothing was changed", Some("projh-bluegreen check plan.yaml"));
    assert!(!refused.events_of("finding").is_empty());
    client.batch_execute("drop domain public.v").await.unwrap();

    // 0: nothing stands in the way.
    ends(program.run("check", &[]), 0, "nothing was changed", Some("projh-bluegreen execute plan.yaml"));

    // 1: a server that is not there, before a run exists, and in the middle of one.
    let lost = &["--yes", "--database-url", "postgresql://postgres@127.0.0.1:1/postgres"];
    ends(program.execute(lost), 1, "nothing was changed", Some("projh-bluegreen execute plan.yaml"));
    ends(
        program.execute(&["--until", "index"]),
        0,
        "blue is live",
        Some("projh-bluegreen execute plan.yaml"),
    );
    ends(program.run("finish", &["--yes"]), 2, "blue is live", Some("projh-bluegreen execute plan.yaml"));

    // 3: the plan changed since the run began.
    program.write_plan(&PLAN.replace("2026-03-01", "2026-03-02"));
    ends(program.execute(&["--yes"]), 3, "blue is live", Some("with the plan as it was"));
    program.write_plan(PLAN);

    // 8: another orchestrator.
    let other = cluster.client(DB).await;
    let lock = "select pg_advisory_lock(hashtextextended('projh_bluegreen:coded', 0))";
    other.batch_execute(lock).await.unwrap();
    ends(program.execute(&["--yes"]), 8, "blue is live", Some("projh-bluegreen status"));
    ends(program.run("rollback", &[]), 8, "blue is live", Some("--watch"));
    drop(other);

    // 7: interrupted.
    let other = cluster.client(DB).await;
    other.batch_execute("begin; create table elsewhere ()").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("waiting");
    running.interrupt();
    ends(running.finish(), 7, "blue is live", Some("projh-bluegreen execute plan.yaml"));
    drop(other);

    // 5: somebody reads the table all the time.
    let other = cluster.client(DB).await;
    other.batch_execute("begin; select from public.t").await.unwrap();
    let postponed =
        ends(program.execute(&["--yes"]), 5, "blue is live", Some("projh-bluegreen execute plan.yaml"));
    assert_eq!(postponed.events_of("swap_postponed").len(), 2);
    drop(other);

    // 4: somebody wrote to green.
    let green = home(&client, "green").await;
    client.batch_execute(&format!("update {green}.t set note = 'x' where id = 7")).await.unwrap();
    let different = ends(program.execute(&["--yes"]), 4, "blue is live", Some("projh-bluegreen rollback"));
    assert_eq!(different.events_of("difference").len(), 1);

    // 6: rolled back.
    ends(program.run("rollback", &[]), 6, "rolled back: blue is live and as it was", None);
    let status = program.run("status", &[]).expect_code(0);
    let next = status.events_of("status")[0]["next"].as_str().unwrap().to_owned();
    assert!(next.ends_with("plan.yaml"), "it is not the plan's file: {next}");

    // 0: to the end.
    ends(
        program.execute(&["--yes"]),
        0,
        "swapped: green is live; blue is kept",
        Some("projh-bluegreen finish"),
    );
    ends(program.run("rollback", &[]), 2, "swapped: green is live", Some("projh-bluegreen finish"));
    ends(program.run("finish", &["--yes"]), 0, "finished: green is live, blue was dropped", None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_come_back_is_said_to_be_gone() {
    let mut cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    program.execute(&["--until", "index"]).expect_code(0);
    client.batch_execute("begin; create table elsewhere ()").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("waiting");
    cluster.kill9();
    running.wait_for("retry");
    running.interrupt();
    ends(running.finish(), 7, "could not be read from the server", Some("projh-bluegreen execute plan.yaml"));
}
