//! Faults of the network, of the server and of other people, in every phase, in both directions: each ends right, or in a
//! clear stop that leaves clients unharmed and the run to be resumed or rolled back. The load's ledger says what was lost.

mod clients;
mod ddl;
mod disk;
mod lag;
mod network;
mod rows;
mod server;
mod slots;
mod stalled;
mod standby;

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::{Client, Config};

use crate::oracle::{self, Load, own};
use crate::support::bluegreen::Running;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

/// The load's tables, clients that write to them, and the program with a plan that has a way back.
struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

impl Stage {
    /// `settings` are lines of the plan, indented by two.
    async fn set(cluster: Cluster, rows: u32, settings: &str) -> Self {
        let client = cluster.client(DB).await;
        own::create(&client, rows).await.unwrap();
        let settings = format!("  workers: 2\n  soak: 1h\n{settings}");
        let plan = own::plan("faults").replace("  workers: 2\n", &settings);
        let program = Bluegreen::new(&cluster, DB).plan(&plan);
        Self { cluster, client, program }
    }

    /// The soak goes on, and the way back is as good as before.
    async fn goes_on_and_back(&self, load: oracle::load::Running) {
        let running = self.program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        self.program.run("rollback", &[]).expect_code(6);
        running.finish().expect_code(6);
        self.expect_nothing_lost(load).await;
    }

    async fn load(&self) -> oracle::load::Running {
        self.load_that(false).await
    }

    /// Clients that have to connect again when the server was away.
    async fn load_that_reconnects(&self) -> oracle::load::Running {
        self.load_that(true).await
    }

    async fn load_that(&self, reconnects: bool) -> oracle::load::Running {
        let config = Config::from_str(&self.cluster.url(DB)).unwrap();
        let load = Load::new(&config, own::tables()).clients(3).pause(Duration::from_millis(10));
        let load = if reconnects { load.outages_expected() } else { load };
        let load = load.start(&self.client).await.unwrap();
        load.answers(50).await;
        load
    }

    /// Stops the load; no acknowledged write is lost.
    async fn expect_nothing_lost(&self, load: oracle::load::Running) -> Duration {
        load.answers(50).await;
        let outcome = load.stop().await;
        outcome.check(&self.client).await.unwrap().expect_clean();
        outcome.longest_stall()
    }

    /// How many tables are partitioned: three if green is live, none if blue is.
    async fn partitioned(&self) -> i64 {
        count(&self.client, "pg_class where relkind = 'p' and relnamespace = 'oracle'::regnamespace").await
    }

    /// Whether somebody holds the lock of a swap.
    async fn is_locked(&self) -> bool {
        let sql = "pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 'oracle.by_uuid'::regclass";
        count(&self.client, sql).await > 0
    }
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

/// Waits for the beginning of a phase, past ones included.
fn begins(running: &Running, phase: &str) {
    let is_it = |event: &Value| event["type"] == "phase_started" && event["phase"] == phase;
    assert!(running.wait_until(is_it).is_some(), "it ended without {phase}:\n{}", running.said());
}

fn times(running: &Running, event: &str) -> usize {
    running.said().matches(&format!("\"type\":\"{event}\"")).count()
}

/// Waits for one more event of a type than `before`, and not for ever.
fn wait_for_another(running: &Running, event: &str, before: usize, within: Duration) {
    let until = Instant::now() + within;
    while times(running, event) <= before {
        assert!(Instant::now() < until, "no {event} within {within:?}:\n{}", running.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}
