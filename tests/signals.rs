//! Ctrl-C and SIGTERM, wherever a run is: it stops where it is safe, says what state the tables are in and what
//! to type next, and goes on from there. Twice: at once, and it goes on all the same.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

use crate::support::bluegreen::Running;
use crate::support::waiting::{eventually, notice, waits_for_a_lock};
use crate::support::{Bluegreen, Cluster, Finished, closed_window, home, stage};

const DB: &str = "postgres";

const BLUE: &str = "
create table public.kind (id bigint primary key);
create table public.t (id bigint primary key, at date not null, note text, kind bigint references public.kind);
insert into public.t select g, date '2026-01-01' + g % 80, 'note ' || g from generate_series(1, 3000) g;
analyze public.t;";

const PLAN: &str = "
version: 1
name: stopped
settings: {workers: 2, chunk_size: 64KiB, swap: {max_write_stall: 2s}}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
    indexes: [create index t_note on public.t (note)]
";

struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

#[derive(Clone, Copy, Debug)]
enum Signal {
    Interrupt,
    Terminate,
}

impl Stage {
    async fn set() -> Self {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, BLUE, PLAN).await;
        Self { cluster, client, program }
    }

    /// A session of somebody else that does something and does not commit.
    async fn other(&self, sql: &str) -> Client {
        let other = self.cluster.client(DB).await;
        let mut sql = format!("begin; {sql}");
        for (word, side) in [("GREEN", "green"), ("OLD", "blue")] {
            if sql.contains(word) {
                sql = sql.replace(word, &home(&self.client, side).await);
            }
        }
        other.batch_execute(&sql).await.unwrap();
        other
    }

    async fn is_partitioned(&self) -> bool {
        let sql = "select relkind = 'p' from pg_class where oid = 'public.t'::regclass";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Runs a command until `sign`, and a moment longer; stops it by a signal.
    fn stop(&self, command: &str, args: &[&str], sign: impl Fn(&Value) -> bool, with: Signal) -> Finished {
        let running = self.program.spawn(command, args);
        running.wait_until(sign).unwrap_or_else(|| panic!("{command} ended by itself:\n{}", running.said()));
        std::thread::sleep(Duration::from_millis(300));
        match with {
            Signal::Interrupt => running.interrupt(),
            Signal::Terminate => running.terminate(),
        }
        running.finish().expect_code(7)
    }
}

fn begins(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |event| event["type"] == "phase_started" && event["phase"] == phase
}

/// The last word, after the error.
fn expect_end(finished: &Finished, state: &str, next: &str) {
    let end = finished.events.last().unwrap();
    assert_eq!((&end["type"], &end["code"]), (&"end".into(), &7.into()), "{}", finished.stdout);
    assert!(end["state"].as_str().unwrap().contains(state), "{end}");
    assert!(end["next"].as_str().unwrap().contains(next), "{end}");
    let before = &finished.events[finished.events.len() - 2];
    assert_eq!((&before["type"], &before["message"]), (&"error".into(), &"interrupted".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_in_each_phase_a_run_says_where_it_is_and_goes_on() {
    let stage = Stage::set().await;
    let all = &["--yes"][..];
    let goes_on = "projh-bluegreen execute plan.yaml";

    // Prepare: the publication waits for somebody's VACUUM, say.
    let other = stage.other("lock table public.t in share update exclusive mode").await;
    let stopped = stage.stop("execute", all, notice("preparing"), Signal::Interrupt);
    expect_end(&stopped, "blue is live, and clients notice nothing; the run resumes with: prepare", goes_on);
    drop(other);

    // Copy: the slot waits for a transaction that has written.
    let other = stage.other("create table elsewhere ()").await;
    let stopped = stage.stop("execute", all, notice("waits for an open transaction"), Signal::Terminate);
    expect_end(&stopped, "resumes with: copy", goes_on);
    drop(other);
    stage.program.execute(&["--until", "copy"]).expect_code(0);

    // Catch up: green is locked, and the stream has something for it.
    let other = stage.other("lock table GREEN.t in exclusive mode").await;
    stage.client.batch_execute("update public.t set note = note where id < 10").await.unwrap();
    let stopped = stage.stop("execute", all, begins("catch_up"), Signal::Interrupt);
    expect_end(&stopped, "resumes with: catch up", goes_on);
    drop(other);
    stage.program.execute(&["--until", "catch_up"]).expect_code(0);

    // Index: somebody writes to green.
    let other = stage.other("lock table GREEN.t in row exclusive mode").await;
    let stopped = stage.stop("execute", all, begins("index"), Signal::Terminate);
    expect_end(&stopped, "resumes with: index", goes_on);
    drop(other);
    stage.program.execute(&["--until", "index"]).expect_code(0);

    // Verify: its consistent point waits for a transaction that has written.
    let other = stage.other("create table elsewhere ()").await;
    let stopped = stage.stop("execute", all, notice("the verification waits"), Signal::Interrupt);
    expect_end(&stopped, "blue is live", goes_on);
    drop(other);

    // Swap, at the gate: its window is closed.
    let window = format!("{}, max_write_stall: 2s", closed_window());
    stage.program.write_plan(&PLAN.replace("max_write_stall: 2s", &window));
    let stopped = stage.stop("execute", all, notice("waits for its window"), Signal::Terminate);
    expect_end(&stopped, "resumes with: swap", goes_on);
    stage.program.write_plan(PLAN);

    // Swap, between two attempts: somebody reads the table all the time.
    let other = stage.other("select from public.t").await;
    let stopped = stage.stop("execute", all, |event| event["type"] == "swap_postponed", Signal::Interrupt);
    expect_end(&stopped, "blue is live", goes_on);
    drop(other);
    assert!(!stage.is_partitioned().await);
    stage.program.execute(&["--yes", "--until", "swap"]).expect_code(0);
    assert!(stage.is_partitioned().await);

    // Settle: somebody writes to the table all the time.
    let other = stage.other("lock table public.t in row exclusive mode").await;
    let stopped = stage.stop("execute", all, begins("settle"), Signal::Terminate);
    expect_end(&stopped, "swapped: green is live; some work after the swap is left", goes_on);
    drop(other);
    stage.program.execute(all).expect_code(0);

    // Finish: somebody reads blue.
    let other = stage.other("select from OLD.t").await;
    let running = stage.program.spawn("finish", &["--yes"]);
    waits_for_a_lock(&stage.client).await;
    let stopped = interrupt(running);
    expect_end(&stopped, "swapped: green is live; blue is kept", "projh-bluegreen finish");
    drop(other);
    stage.program.run("finish", &["--yes"]).expect_code(0);
}

fn interrupt(running: Running) -> Finished {
    running.interrupt();
    running.finish().expect_code(7)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_is_stopped_has_changed_nothing() {
    let stage = Stage::set().await;
    stage.program.execute(&["--until", "index"]).expect_code(0);
    let other = stage.other("select from GREEN.t").await;
    let running = stage.program.spawn("rollback", &[]);
    waits_for_a_lock(&stage.client).await;
    let stopped = interrupt(running);
    expect_end(&stopped, "blue is live, and clients notice nothing", "projh-bluegreen rollback");
    drop(other);
    // Its slot is still there, so the run can go on.
    stage.program.execute(&["--until", "verify"]).expect_code(0);
    stage.program.run("rollback", &[]).expect_code(6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_a_commit_is_on_its_way_the_swap_is_told_as_it_went() {
    let stage = Stage::set().await;
    stage.program.execute(&["--until", "verify"]).expect_code(0);
    stage.program.write_plan(&PLAN.replace("max_write_stall: 2s", "max_write_stall: 5min"));
    // It is on its way for as long as the test holds the advisory lock 1.
    let slow = "
        create function public.slow() returns trigger language plpgsql as $$ begin
            while not pg_try_advisory_xact_lock(1) loop perform pg_sleep(0.02); end loop; return null; end $$;
        create constraint trigger slow after insert on projh_bluegreen.fact deferrable initially deferred
            for each row when (new.fact->>'fact' = 'swapped') execute function public.slow();";
    stage.client.batch_execute(slow).await.unwrap();
    let commits = "select exists (select from pg_stat_activity where query = 'COMMIT' and state = 'active' \
                   and application_name like 'projh-bluegreen % swap')";
    for twice in [false, true] {
        stage.client.batch_execute("select pg_advisory_lock(1)").await.unwrap();
        let running = stage.program.spawn("execute", &["--yes"]);
        eventually(&stage.client, commits).await;
        running.interrupt();
        running.wait_for_notice("a second signal stops at once");
        if twice {
            running.interrupt();
            let stopped = running.finish().expect_code(7);
            assert!(stopped.events_of("end")[0]["state"].as_str().unwrap().contains("at once"));
            assert!(!stage.is_partitioned().await, "it waited for the commit");
            stage.client.batch_execute("select pg_advisory_unlock(1)").await.unwrap();
        } else {
            stage.client.batch_execute("select pg_advisory_unlock(1)").await.unwrap();
            let stopped = running.finish().expect_code(7);
            expect_end(&stopped, "swapped: green is live; some work after the swap is left", "execute");
            assert!(stage.is_partitioned().await);
            // The same once more, from the beginning.
            let reset = "drop trigger slow on projh_bluegreen.fact";
            stage.client.batch_execute(reset).await.unwrap();
            stage.program.execute(&["--yes"]).expect_code(0);
            stage.program.run("finish", &["--yes"]).expect_code(0);
            let again = "drop table public.t, public.kind; drop function public.slow() cascade";
            stage.client.batch_execute(again).await.unwrap();
            stage.client.batch_execute(BLUE).await.unwrap();
            stage.program.execute(&["--until", "verify"]).expect_code(0);
            stage.client.batch_execute(slow).await.unwrap();
        }
    }
    // The server commits what was on its way, whoever has asked for it.
    stage.client.batch_execute("drop trigger slow on projh_bluegreen.fact").await.unwrap();
    stage.program.execute(&["--yes"]).expect_code(0);
    assert!(stage.is_partitioned().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_it_waits_for_the_chunk_in_hand_twice_it_does_not() {
    let stage = Stage::set().await;
    stage.program.execute(&["--until", "prepare"]).expect_code(0);
    let leaf = "do $$ begin execute (select format('lock table %s in exclusive mode', inhrelid::regclass) \
                from pg_inherits where inhparent = 'GREEN.t'::regclass limit 1); end $$";
    let other = stage.other(leaf).await;
    let mut running = stage.program.spawn("execute", &["--yes", "--until", "copy"]);
    running.wait_for("round");
    waits_for_a_lock(&stage.client).await;
    running.interrupt();
    running.wait_for_notice("a second signal stops at once");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(running.is_running(), "the chunk in hand was dropped");
    running.terminate();
    running.finish().expect_code(7);
    drop(other);
    stage.program.execute(&["--yes"]).expect_code(0);
    assert!(stage.is_partitioned().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_status_ends_with_a_signal_or_with_the_run() {
    let stage = Stage::set().await;
    stage.program.execute(&["--until", "copy"]).expect_code(0);
    let watched = stage.stop("status", &["--watch"], |event| event["type"] == "status", Signal::Interrupt);
    assert_eq!(watched.events_of("status")[0]["phase"], "catch_up");
    assert!(watched.events_of("notice").is_empty(), "there is no work in hand to wait for");
    let running = stage.program.spawn("status", &["--watch"]);
    running.wait_for("status");
    stage.program.execute(&["--yes"]).expect_code(0);
    let watched = running.finish().expect_code(0);
    let last = watched.events_of("status").pop().unwrap().clone();
    assert_eq!((&last["phase"], &last["orchestrator"]["alive"]), (&Value::Null, &false.into()));
}
