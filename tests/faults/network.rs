//! The tests' own proxy between the program and the server; clients are connected to the server itself.

use std::time::{Duration, Instant};

use super::{Stage, begins, count, times, wait_for_another};
use crate::oracle::own;
use crate::support::bluegreen::Running;
use crate::support::waiting::until;

use crate::support::{Cluster, Dark, Flow, Forwarder};

/// An open connection that is silent for this long is lost.
const LIMIT: Duration = Duration::from_secs(2);
/// By then it is noticed, even by a busy machine: the next question comes within a quarter of the limit.
pub(super) const NOTICED: Duration = Duration::from_secs(15);

/// The program behind the proxy.
pub(super) fn behind(stage: Stage) -> (Stage, Forwarder) {
    let forwarder = Forwarder::to(stage.cluster.port());
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable&connect_timeout=2&keepalives_idle=1\
         &keepalives_interval=1&keepalives_count=1",
        forwarder.port()
    );
    assert_eq!(LIMIT, Duration::from_secs(2));
    let program = stage.program.env("DATABASE_URL", &url);
    (Stage { program, ..stage }, forwarder)
}

/// What a network does to bytes without losing any.
fn pause(forwarder: &Forwarder, turn: usize) {
    let wait = |ms| std::thread::sleep(Duration::from_millis(ms));
    let late = Flow::Late(Duration::from_millis(3));
    let drips = Flow::Dripping(700, Duration::from_millis(1));
    match turn % 4 {
        0 => forwarder.set(late, late),
        1 => forwarder.set(drips, drips),
        2 => forwarder.set(Flow::Stalled, Flow::Open),
        _ => forwarder.set(Flow::Open, Flow::Stalled),
    }
    wait(400);
    forwarder.set(Flow::Open, Flow::Open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_late_or_drip_in_any_phase_are_waited_for() {
    let stage = Stage::set(Cluster::start(), 3_000, "").await;
    let (stage, forwarder) = behind(stage);
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    for (turn, phase) in FORWARD.iter().enumerate() {
        begins(&running, phase);
        pause(&forwarder, turn);
    }
    assert_eq!(times(&running, "retry"), 0, "{}", running.said());
    let back = stage.program.spawn("rollback", &[]);
    for (turn, phase) in BACK.iter().enumerate() {
        begins(&running, phase);
        pause(&forwarder, turn);
    }
    back.finish().expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(stage.partitioned().await, 0);
    stage.expect_nothing_lost(load).await;
}

const FORWARD: [&str; 8] = ["prepare", "copy", "catch_up", "index", "verify", "swap", "settle", "soak"];
const BACK: [&str; 3] = ["catch_up", "verify", "swap"];

/// What breaks connections.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// Nothing comes any more, in either direction.
    Silent,
    /// What is sent to the server is lost.
    DeafServer,
    /// What the server sends is lost.
    MuteServer,
    /// Both ends lose all connections.
    Cut,
}

impl Break {
    fn begin(self, forwarder: &Forwarder) {
        match self {
            Self::Silent => forwarder.set(Flow::Stalled, Flow::Stalled),
            Self::DeafServer => forwarder.set(Flow::Lost, Flow::Open),
            Self::MuteServer => forwarder.set(Flow::Open, Flow::Lost),
            Self::Cut => assert!(forwarder.cut_both() > 0),
        }
    }
}

/// Breaks the connections of a command in a phase; it notices, and goes on with new ones. Returns why it did so.
fn breaks_in(running: &Running, forwarder: &Forwarder, phase: &str, how: Break) -> String {
    begins(running, phase);
    let before = times(running, "retry");
    how.begin(forwarder);
    wait_for_another(running, "retry", before, NOTICED);
    forwarder.set(Flow::Open, Flow::Open);
    let retry = running.wait_for("retry");
    wait_for_another(running, "run", 1, Duration::from_secs(30));
    retry["why"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_in_any_phase_is_noticed_and_the_run_goes_on() {
    use Break::{Cut, DeafServer, MuteServer, Silent};
    let stage = Stage::set(Cluster::start(), 3_000, "").await;
    let (stage, forwarder) = behind(stage);
    let load = stage.load().await;
    for (phase, how) in
        FORWARD.iter().zip([Cut, Silent, DeafServer, Cut, MuteServer, Silent, Cut, DeafServer])
    {
        // Each with a process of its own: one that was cut off several times waits longer and longer.
        let running = stage.program.spawn("execute", &["--yes"]);
        let why = breaks_in(&running, &forwarder, phase, how);
        println!("{phase}, {how:?}: {why}");
        if *phase == "soak" {
            wait_for_another(&running, "soaking", 0, NOTICED);
        }
        running.terminate();
        running.finish().expect_code(7);
    }
    assert_eq!(stage.partitioned().await, 3);
    for (phase, how) in BACK.iter().zip([MuteServer, Cut, Silent]) {
        let running = stage.program.spawn("rollback", &[]);
        let why = breaks_in(&running, &forwarder, phase, how);
        println!("back, {phase}, {how:?}: {why}");
        if *phase == "swap" {
            running.finish().expect_code(6);
        } else {
            running.terminate();
            running.finish().expect_code(7);
        }
    }
    assert_eq!(stage.partitioned().await, 0);
    let running = stage.program.spawn("rollback", &["--drop-green"]);
    println!("out: {}", breaks_in(&running, &forwarder, "rollback", Cut));
    running.finish().expect_code(6);
    assert_eq!(count(&stage.client, "pg_replication_slots").await, 0);
    stage.expect_nothing_lost(load).await;
}

/// Who is cut off for longer than the plan allows says so, and where things stand is found out later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_stays_silent_ends_the_command_and_the_next_one_resumes_the_run() {
    let stage = Stage::set(Cluster::start(), 500, "  reconnect_for: 1s\n").await;
    let (stage, forwarder) = behind(stage);
    let load = stage.load().await;
    for (command, phase, code) in [("execute", "soak", 7), ("rollback", "verify", 6)] {
        let args: &[&str] = if command == "execute" { &["--yes"] } else { &[] };
        let running = stage.program.spawn(command, args);
        begins(&running, phase);
        forwarder.set(Flow::Stalled, Flow::Stalled);
        let begun = Instant::now();
        let stopped = running.finish().expect_code(1);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        println!("{command}, {phase}: {:?} {}", begun.elapsed(), stopped.error());
        assert!(
            stopped.error().contains("no answer from") || stopped.error().contains("has not answered"),
            "{}",
            stopped.stdout
        );
        let end = stopped.events_of("end")[0]["state"].as_str().unwrap().to_owned();
        assert!(end.contains("the run can be resumed"), "{end}");
        forwarder.set(Flow::Open, Flow::Open);
        let running = stage.program.spawn(command, args);
        if code == 7 {
            wait_for_another(&running, "phase_started", 0, NOTICED);
            running.terminate();
        }
        running.finish().expect_code(code);
    }
    assert_eq!(stage.partitioned().await, 0);
    stage.expect_nothing_lost(load).await;
}

/// Clients wait for the locks of a swap only until the server notices that nobody works under them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_falls_silent_under_the_locks_of_a_swap_holds_up_clients_only_briefly() {
    let stage = Stage::set(Cluster::start(), 500, "  swap: {max_write_stall: 1s, attempts: 50}\n").await;
    let (stage, forwarder) = behind(stage);
    let load = stage.load().await;
    let mut directions = ["execute", "rollback"].into_iter().cycle();
    let mut caught = 0;
    for _ in 0..8 {
        let command = directions.next().unwrap();
        let args: &[&str] = if command == "execute" { &["--yes", "--until", "swap"] } else { &[] };
        let running = stage.program.spawn(command, args);
        begins(&running, "swap");
        while times(&running, "swapped") == 0 && !stage.is_locked().await {}
        forwarder.set(Flow::Stalled, Flow::Stalled);
        std::thread::sleep(Duration::from_millis(100));
        if stage.is_locked().await {
            caught += 1;
            let begun = Instant::now();
            while stage.is_locked().await {
                assert!(begun.elapsed() < Duration::from_secs(8), "clients wait for {:?}", begun.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            println!("{command}: released after {:?}", begun.elapsed());
            wait_for_another(&running, "retry", 0, NOTICED);
        }
        forwarder.set(Flow::Open, Flow::Open);
        running.finish().expect_code(if command == "execute" { 0 } else { 6 });
        if caught == 2 {
            break;
        }
    }
    assert!(caught > 0, "no swap was caught under its locks");
    stage.expect_nothing_lost(load).await;
}

/// So do DDL and what ends a run: here the key of a table is to be replicated whole, which takes its exclusive lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_falls_silent_under_the_locks_of_ddl_holds_up_clients_only_briefly() {
    let stage = Stage::set(Cluster::start(), 500, "").await;
    let plan = own::plan("identity").replacen("[id, at]\n", "[id, at]\n    replica_identity: full\n", 1);
    stage.program.write_plan(&plan);
    let (stage, forwarder) = behind(stage);
    let load = stage.load().await;
    for command in ["execute", "rollback"] {
        let args: &[&str] = if command == "execute" { &["--until", "prepare"] } else { &[] };
        let running = stage.program.spawn(command, args);
        begins(&running, if command == "execute" { "prepare" } else { command });
        let late = Flow::Late(Duration::from_millis(50));
        forwarder.set(late, late);
        until("it is locked", async || stage.is_locked().await).await;
        forwarder.set(Flow::Stalled, Flow::Stalled);
        let begun = Instant::now();
        until("it is not locked", async || !stage.is_locked().await).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "clients wait for {:?}", begun.elapsed());
        println!("{command}: released after {:?}", begun.elapsed());
        forwarder.set(Flow::Open, Flow::Open);
        running.finish().expect_code(if command == "execute" { 0 } else { 6 });
    }
    stage.expect_nothing_lost(load).await;
}

/// What a container engine, a tunnel or a proxy hides, the kernel itself has to notice: packets that nobody acknowledges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_that_nobody_acknowledges_are_noticed() {
    const ADDRESS: &str = "127.77.77.1";
    let stage = Stage::set(Cluster::start(), 500, "").await;
    let forwarder = Forwarder::on(ADDRESS, stage.cluster.port());
    // The pulse of the program would take a minute.
    let url = format!(
        "postgres://postgres@{ADDRESS}:{}/postgres?sslmode=disable&tcp_user_timeout=2000",
        forwarder.port()
    );
    let stage = Stage { program: stage.program.env("DATABASE_URL", &url), ..stage };
    let load = stage.load().await;
    let running = stage.program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let Some(dark) = Dark::fall(ADDRESS) else {
        println!("not run: only root may make packets vanish");
        return;
    };
    wait_for_another(&running, "retry", 0, Duration::from_secs(15));
    drop(dark);
    println!("{}", running.wait_for("retry"));
    wait_for_another(&running, "soaking", 1, Duration::from_secs(30));
    stage.program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    stage.expect_nothing_lost(load).await;
}
