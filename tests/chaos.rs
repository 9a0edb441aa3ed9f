//! Random schedules of load, faults and commands, each replayed by its seed: whatever happens to the program and to the
//! server, no acknowledged write is lost, and nothing of a run is left behind.

use std::fmt::Write as _;
use std::str::FromStr as _;
use std::time::Duration;

use fastrand::Rng;
use tokio_postgres::{Client, Config};

use crate::oracle::{Load, own};
use crate::support::bluegreen::Running;
use crate::support::{Bluegreen, Cluster, Finished};

const DB: &str = "postgres";

/// A schedule under way.
struct Chaos {
    cluster: Cluster,
    program: Bluegreen,
    rng: Rng,
    /// `execute`, if it is under way.
    running: Option<Running>,
    /// What was done so far, for whoever replays it.
    told: String,
    kills: u32,
    swaps: usize,
}

/// What is left after a schedule.
#[derive(Default)]
struct Sum {
    schedules: u32,
    statements: usize,
    swaps: usize,
    kills: u32,
}

impl Chaos {
    fn tell(&mut self, what: &str) {
        let _ = writeln!(self.told, "  {what}");
    }

    /// `execute` has ended by itself, or was told to.
    fn ended(&mut self, finished: &Finished) {
        self.swaps += finished.events_of("swapped").len();
        // 5: the swap found no moment; 6: another command rolled it back; 7: it was told to stop.
        let expected = [Some(0), Some(5), Some(6), Some(7), None];
        // A server that cannot be reached in the first place is an error at once.
        let has_begun = !finished.events_of("run").is_empty();
        assert!(expected.contains(&finished.code) || !has_begun, "{:?}\n{}", finished.code, finished.stdout);
    }

    fn execute(&mut self) {
        if let Some(mut running) = self.running.take() {
            if running.is_running() {
                self.running = Some(running);
                return;
            }
            self.ended(&running.finish());
        }
        self.tell("execute");
        self.running = Some(self.program.spawn("execute", &["--yes"]));
    }

    fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            self.tell("kill -9");
            self.kills += 1;
            let finished = running.kill9();
            self.swaps += finished.events_of("swapped").len();
        }
    }

    fn terminate(&mut self) {
        if let Some(running) = self.running.take() {
            self.tell("terminate");
            running.terminate();
            self.ended(&running.finish());
        }
    }

    /// By the process that holds the run, or by itself.
    fn rollback(&mut self, args: &[&str]) -> Option<i32> {
        let finished = self.program.run("rollback", args);
        self.tell(&format!("rollback {args:?}: {:?}", finished.code));
        if self.running.is_none() {
            self.swaps += finished.events_of("swapped").len();
        }
        // 2: there is no run; 5: the swap found no moment.
        assert!([Some(2), Some(5), Some(6)].contains(&finished.code), "{}", finished.stdout);
        finished.code
    }

    async fn step(&mut self, client: &mut Client) {
        match self.rng.u32(0..10) {
            0..4 => self.execute(),
            4 => self.kill(),
            5 => self.terminate(),
            6 => {
                let args: &[&str] = if self.rng.u32(0..3) == 0 { &["--drop-green"] } else { &[] };
                self.rollback(args);
            }
            7 => {
                self.tell("the server is killed, and started again");
                self.cluster.kill9();
                self.cluster.restart();
                *client = self.cluster.client(DB).await;
            }
            8 => {
                self.tell("the program's sessions are terminated");
                let sql = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'projh-bluegreen%'";
                client.query(sql, &[]).await.unwrap();
            }
            _ => {
                self.tell("clients write");
                tokio::time::sleep(Duration::from_millis(self.rng.u64(200..2_000))).await;
            }
        }
        // Each instant is hit: within milliseconds, or where a phase later is under way.
        let most = [20, 400, 2_500][self.rng.usize(0..3)];
        tokio::time::sleep(Duration::from_millis(self.rng.u64(0..most))).await;
    }
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

async fn schedule(seed: u64, steps: u32, sum: &mut Sum) {
    let cluster = Cluster::builder().setting("fsync", "on").start();
    let mut client = cluster.client(DB).await;
    own::create(&client, 2_000).await.unwrap();
    let plan = own::plan("chaos").replace("  workers: 2\n", "  workers: 2\n  soak: 1h\n");
    let program = Bluegreen::new(&cluster, DB).plan(&plan);
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let load = Load::new(&config, own::tables()).clients(4).pause(Duration::from_millis(5)).seed(seed);
    let load = load.outages_expected().start(&client).await.unwrap();
    load.answers(100).await;
    let rng = Rng::with_seed(seed);
    let told = format!("seed {seed}\n");
    let mut chaos = Chaos { cluster, program, rng, running: None, told, kills: 0, swaps: 0 };
    for _ in 0..steps {
        println!("{}", chaos.told.lines().last().unwrap_or_default());
        chaos.step(&mut client).await;
    }
    load.answers(100).await;
    // One end or the other: back to blue, or on with green.
    if chaos.rng.bool() {
        chaos.terminate();
        while chaos.rollback(&["--drop-green"]) != Some(2) {}
    } else {
        chaos.terminate();
        let running = chaos.program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        chaos.program.run("finish", &["--yes"]).expect_code(0);
        let finished = running.finish();
        chaos.ended(&finished);
    }
    load.answers(100).await;
    let outcome = load.stop().await;
    println!("{}", chaos.told);
    outcome.check(&client).await.unwrap().expect_clean();
    for nothing in ["pg_replication_slots", "pg_publication", "pg_namespace where nspname like 'projh_bg%'"] {
        assert_eq!(count(&client, nothing).await, 0, "{nothing} after {}", chaos.told);
    }
    sum.schedules += 1;
    sum.statements += outcome.statements();
    sum.swaps += chaos.swaps;
    sum.kills += chaos.kills;
}

/// One schedule; or as many as wanted, from a seed on: `scripts/chaos`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_of_faults_and_commands_lose_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seed, runs) = (number("PROJH_CHAOS_SEED").unwrap_or(1), number("PROJH_CHAOS_RUNS"));
    let steps = if runs.is_some() { 20 } else { 12 };
    let mut sum = Sum::default();
    for seed in seed..seed + runs.unwrap_or(1) {
        schedule(seed, steps, &mut sum).await;
        println!(
            "{} schedules: {} statements of clients, {} swaps, {} kills; nothing was lost",
            sum.schedules, sum.statements, sum.swaps, sum.kills
        );
    }
}
