//! The promise: `execute` after a `kill -9` at any instant goes on and ends right, and copies only what
//! is missing; one run has one orchestrator and one plan.

use std::str::FromStr as _;
use std::time::Duration;

use serde_json::Value;
use tokio_postgres::{Client, Config};

use crate::oracle::{Load, own};
use crate::support::{Bluegreen, Cluster, Finished};

const DB: &str = "postgres";
const PHASES: [&str; 7] = ["prepare", "copy", "catch_up", "index", "verify", "swap", "settle"];

struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

impl Stage {
    async fn set(rows: u32, plan: &str) -> Self {
        let cluster = Cluster::start();
        let client = cluster.client(DB).await;
        own::create(&client, rows).await.unwrap();
        let program = Bluegreen::new(&cluster, DB).plan(plan);
        Self { cluster, client, program }
    }

    fn load(&self) -> Load {
        let config = Config::from_str(&self.cluster.url(DB)).unwrap();
        Load::new(&config, own::tables()).clients(4).pause(Duration::from_millis(5))
    }

    async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn assert_swapped(&self) {
        let sql =
            "select count(*) from pg_class where relkind = 'p' and relnamespace = 'oracle'::regnamespace";
        assert_eq!(self.count(sql).await, 3);
    }

    /// Nothing of a run is left in the database but its journal.
    async fn assert_nothing_is_left(&self) {
        let sql = "select (select count(*) from pg_replication_slots) + (select count(*) from pg_publication) \
                   + (select count(*) from pg_namespace where nspname ~ '^projh_bg_')";
        assert_eq!(self.count(sql).await, 0);
    }
}

/// Kills the program some milliseconds into a phase, or into the first one after it that is left to do.
fn kill_in(program: &Bluegreen, phase: usize, after: Duration) -> Finished {
    let running = program.spawn("execute", &["--yes"]);
    running.wait_until(|event| {
        event["type"] == "phase_started" && PHASES[phase..].iter().any(|later| event["phase"] == *later)
    });
    std::thread::sleep(after);
    running.kill9()
}

fn several_rounds(name: &str) -> String {
    own::plan(name).replace("chunk_size: 256KiB", "chunk_size: 64KiB\n  max_snapshot_age: 10ms")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_in_every_phase_it_goes_on_and_loses_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    fastrand::seed(seed);
    let stage = Stage::set(6_000, &own::plan("killed")).await;
    let running = stage.load().seed(seed).start(&stage.client).await.unwrap();
    running.answers(500).await;
    let mut killed = 0;
    for phase in 0..PHASES.len() {
        for _ in 0..2 {
            let after = Duration::from_millis(fastrand::u64(0..120));
            killed += u32::from(kill_in(&stage.program, phase, after).code.is_none());
        }
    }
    stage.program.execute(&["--yes"]).expect_code(0);
    running.answers(500).await;
    let outcome = running.stop().await;
    outcome.check(&stage.client).await.unwrap().expect_clean();
    assert!(killed >= 7, "only {killed} of 14 kills met a living program");
    stage.assert_swapped().await;
    stage.program.run("finish", &["--yes"]).expect_code(0);
    stage.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_snapshots_make_many_rounds_and_lose_nothing() {
    let stage = Stage::set(6_000, &several_rounds("rounds")).await;
    let running = stage.load().start(&stage.client).await.unwrap();
    running.answers(500).await;
    let finished = stage.program.execute(&["--yes"]).expect_code(0);
    running.answers(300).await;
    let outcome = running.stop().await;
    outcome.check(&stage.client).await.unwrap().expect_clean();
    let rounds = finished.events_of("round").len();
    assert!(rounds >= 4, "{rounds} rounds");
    stage.assert_swapped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_copy_copies_only_what_is_missing() {
    let stage = Stage::set(20_000, &several_rounds("missing")).await;
    let running = stage.program.spawn("execute", &["--yes", "--until", "copy"]);
    let second_round = |event: &Value| event["type"] == "round" && event["round"] == 2;
    running.wait_until(second_round).expect("there is a second round");
    let first = running.kill9();
    let chunks = |finished: &Finished, round: i64| {
        let rounds = finished.events_of("round");
        rounds.iter().find(|event| event["round"] == round).unwrap()["chunks"].as_i64().unwrap()
    };
    let (all, then) = (chunks(&first, 1), chunks(&first, 2));
    let rest = stage.program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    let resumed = rest.events_of("round")[0]["chunks"].as_i64().unwrap();
    assert!(all > then && then >= resumed, "{all} chunks, then {then}, resumed with {resumed}");
    // Each block of each table was copied once: the spans of the journal do not overlap.
    let sql = "select count(*) - count(distinct (fact->'lane', fact->'span'->'from')) from projh_bluegreen.fact \
               where fact->>'fact' = 'chunk_copied'";
    assert_eq!(stage.count(sql).await, 0);
    stage.program.execute(&["--yes"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_orchestrator_is_refused_with_the_name_of_the_first() {
    let stage = Stage::set(20_000, &several_rounds("held")).await;
    let first = stage.program.spawn("execute", &["--yes"]);
    first.wait_for("round");
    first.freeze(true);
    let second = stage.program.execute(&["--yes"]).expect_code(8);
    first.freeze(false);
    first.finish().expect_code(0);
    let message = second.error();
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    assert!(message.contains(&host) && message.contains("process"), "{message}");
}

/// It has no lock that an attempt would wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_in_the_way_is_ended_if_the_plan_allows_it() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 500).await.unwrap();
    let allowed =
        "settings:\n  swap: {lock_timeout: 100ms, attempts: 5, terminate_blockers: idle_in_transaction}";
    let plan = own::plan("snapshots").replace("settings:", allowed);
    let program = Bluegreen::new(&cluster, DB).plan(&plan);
    client.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let swapped = program.execute(&["--yes"]).expect_code(0);
    assert_eq!(swapped.events_of("backend_terminated").len(), 1);
    swapped.expect_words(&["older than green's rows"]);
    assert!(client.batch_execute("select 1").await.is_err());
}

/// Whoever was cut off continues its own run, and begins no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_rolled_back_meanwhile_is_not_begun_again() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 500).await.unwrap();
    let program = Bluegreen::new(&cluster, DB).plan(&own::plan("cut_off"));
    client.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let first = program.spawn("execute", &["--yes"]);
    first.wait_for_notice("older than green's rows");
    first.freeze(true);
    client.batch_execute("commit").await.unwrap();
    let cut = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
               where application_name like 'projh-bluegreen %'";
    client.query_one(cut, &[]).await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    first.freeze(false);
    let finished = first.finish().expect_code(6);
    assert!(!finished.events_of("retry").is_empty(), "{}", finished.stdout);
    finished.expect_words(&["another command has ended the run meanwhile: it was rolled back"]);
    let left = "select (select count(*) from projh_bluegreen.run) || ' ' ||
                (select count(*) from pg_namespace where nspname ~ '^projh_bg_')";
    assert_eq!(cluster.psql(DB, left).trim(), "1 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_another_orchestrator_began_during_the_checks_is_not_in_their_way() {
    let stage = Stage::set(500, &own::plan("meanwhile")).await;
    let second = stage.program.spawn("execute", &["--until", "copy"]);
    second.wait_until(|event| event["type"] == "phase_started" && event["phase"] == "check").unwrap();
    second.freeze(true);
    stage.program.execute(&["--until", "copy"]).expect_code(0);
    second.freeze(false);
    second.finish().expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_gathered_once_and_only_for_an_index_phase() {
    let cluster = Cluster::builder().setting("log_statement", "all").start();
    own::create(&cluster.client(DB).await, 500).await.unwrap();
    let program = Bluegreen::new(&cluster, DB).plan(&own::plan("analyzed"));
    let analyzed = || cluster.log().matches("ANALYZE \"projh_bg_").count();
    for (until, times) in [("copy", 0), ("catch_up", 0), ("index", 3), ("verify", 3)] {
        program.execute(&["--yes", "--until", until]).expect_code(0);
        assert_eq!(analyzed(), times, "after {until}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_slot_somebody_dropped_can_only_be_rolled_back_and_says_so() {
    let stage = Stage::set(500, &own::plan("slotless")).await;
    stage.program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    stage.count("select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots").await;
    stage.program.run("status", &[]).expect_words(&["does not exist any more: somebody dropped it"]);
    let preview = stage.program.execute(&["--dry-run"]).expect_code(3);
    assert!(preview.events_of("end")[0]["next"].as_str().unwrap().starts_with("projh-bluegreen rollback"));
    assert!(
        preview.stdout.contains("no longer exists, and with it the changes that were not applied"),
        "{}",
        preview.stdout
    );
    let stopped = stage.program.execute(&["--yes"]).expect_code(1);
    let next = stopped.events_of("end")[0]["next"].as_str().unwrap().to_owned();
    assert!(next.starts_with("projh-bluegreen rollback"), "{next}");
    stage.program.run("rollback", &[]).expect_code(6);
    stage.assert_nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_changed_since_the_run_began_is_refused_with_what_changed() {
    let stage = Stage::set(500, &own::plan("changed")).await;
    stage.program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    stage.program.write_plan(&own::plan("changed").replace("status = 'open'", "status = 'closed'"));
    let changed = stage.program.execute(&["--yes"]).expect_code(3);
    let message = changed.error();
    assert!(message.contains("indexes") && message.contains("closed"), "{message}");
    // How to go about it may change: the run goes on with more workers.
    stage.program.write_plan(&own::plan("changed").replace("workers: 2", "workers: 3"));
    stage.program.execute(&["--yes"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_once_it_stops_where_it_is_safe_and_goes_on_later() {
    let stage = Stage::set(20_000, &several_rounds("interrupted")).await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("round");
    running.interrupt();
    let stopped = running.finish().expect_code(7);
    let end = stopped.events_of("end")[0];
    assert!(end["state"].as_str().unwrap().contains("blue is live"), "{end}");
    stage.program.execute(&["--yes"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolled_back_from_any_phase_before_the_swap_the_database_is_as_it_was() {
    let plan = own::plan("back").replace(
        "    primary_key: [id, at]\n    indexes",
        "    primary_key: [id, at]\n    replica_identity: full\n    indexes",
    );
    let stage = Stage::set(2_000, &plan).await;
    let dump = |stage: &Stage| stage.cluster.pg_dump(DB, &["--exclude-schema=projh_bluegreen"]);
    let before = dump(&stage);
    for until in &PHASES[..5] {
        stage.program.execute(&["--until", until]).expect_code(0);
        let during = dump(&stage);
        assert_ne!(before, during, "the dump does not see what {until} made");
        stage.program.run("rollback", &[]).expect_code(6);
        assert!(before == dump(&stage), "after a rollback from {until}");
        stage.assert_nothing_is_left().await;
    }
}

/// Its own partitions are in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_a_plan_whose_run_is_under_way_says_that_execute_resumes_it() {
    let stage = Stage::set(2_000, &own::plan("stopped")).await;
    stage.program.execute(&["--until", "index"]).expect_code(0);
    let checked = stage.program.run("check", &[]).expect_code(0);
    assert!(checked.stdout.contains("`projh-bluegreen execute` resumes it"), "{}", checked.stdout);
    // To another plan it is another run.
    stage.program.write_plan(&own::plan("another"));
    let other = stage.program.run("check", &[]).expect_code(3);
    let findings = other.refusals();
    assert!(
        !findings.is_empty() && findings.iter().all(|finding| finding["check"] == "another_run"),
        "{findings:#?}"
    );
    // And to one of a table that references it.
    let child = "create table public.noted (id int primary key, of bigint constraint noted_of references oracle.by_identity)";
    stage.client.batch_execute(child).await.unwrap();
    stage.program.write_plan("version: 1\nname: child\ntables: [{table: public.noted}]\n");
    let connected = stage.program.run("check", &[]).expect_code(3);
    let what = connected.finding("another_run")["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("foreign key noted_of connects it with oracle.by_identity"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_ends_nothing() {
    let mut stage = Stage::set(20_000, &several_rounds("restarted")).await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("round");
    stage.cluster.kill9();
    stage.cluster.restart();
    let finished = running.finish().expect_code(0);
    stage.client = stage.cluster.client(DB).await;
    assert!(!finished.events_of("retry").is_empty(), "it did not notice");
    stage.assert_swapped().await;
}
