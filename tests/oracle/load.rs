//! A load of several clients: started, left running, stopped, and then checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::{Client, Config, Error};

use super::check::{Others, check};
use super::client::{Record, Shared, Worker};
use super::findings::Findings;
use super::session::{FORMATS, Mode};
use super::table::{Table, Verb};

/// Owners of one load; each client is one.
const OWNERS_MAX: u32 = 1000;

/// A load to be.
pub struct Load {
    config: Config,
    tables: Vec<Table>,
    clients: usize,
    mode: Mode,
    pause: Duration,
    star_reads: bool,
    outages_expected: bool,
    asynchronous_commit: bool,
    seed: u64,
}

/// Clients at work.
pub struct Running {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Record>>,
    others: Others,
    owners: (u32, u32),
    begun: Instant,
}

/// What the clients know.
pub struct Outcome {
    tables: Vec<Table>,
    others: Others,
    owners: (u32, u32),
    records: Vec<Record>,
    elapsed: Duration,
    /// Ascending, in microseconds.
    latencies: Vec<u32>,
}

impl Load {
    /// Of these tables (`own::tables`, `project_h::tables`), over connections like `config`.
    pub fn new(config: &Config, tables: Vec<Table>) -> Self {
        Self {
            config: config.clone(),
            tables,
            clients: 4,
            mode: Mode::Mixed,
            pause: Duration::ZERO,
            star_reads: true,
            outages_expected: false,
            asynchronous_commit: false,
            seed: fastrand::u64(..),
        }
    }

    /// How many connections write.
    pub fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// How statements reach the server.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// About how long each client rests after each transaction.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Whether `select *` is among the statements; not where the migration changes the columns.
    pub fn star_reads(mut self, star_reads: bool) -> Self {
        self.star_reads = star_reads;
        self
    }

    /// Lost connections are no findings, and transactions without an answer are looked up.
    pub fn outages_expected(mut self) -> Self {
        self.outages_expected = true;
        self
    }

    /// `synchronous_commit = off`. A crash of the server then loses acknowledged writes rightfully,
    /// and the ledger would call them lost: not together with one.
    pub fn asynchronous_commit(mut self) -> Self {
        self.asynchronous_commit = true;
        self
    }

    /// The same choices again (not the same interleaving).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Notes what is there, and starts the clients.
    pub async fn start(mut self, client: &Client) -> Result<Running, Error> {
        let mut rng = Rng::with_seed(self.seed);
        let first = rng.u32(1..100_000) * OWNERS_MAX;
        let owners = (first, first + OWNERS_MAX - 1);
        let commit = if self.asynchronous_commit { "off" } else { "on" };
        self.config.options(format!("{FORMATS} -c synchronous_commit={commit}")).application_name("oracle");
        let others = Others::of(client, &self.tables, owners).await?;
        let mut statements = HashMap::new();
        for (at, table) in self.tables.iter().enumerate() {
            let offered = |verb: Verb| Some(((at, verb), table.statement(verb)?));
            statements.extend(Verb::ALL.into_iter().filter_map(offered));
        }
        if !self.star_reads {
            statements.retain(|(_, verb), _| *verb != Verb::ReadStar);
        }
        let shared = Arc::new(Shared {
            config: self.config,
            tables: self.tables,
            statements,
            pause: self.pause,
            star_reads: self.star_reads,
            outages_expected: self.outages_expected,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
        });
        let worker = |(number, owner)| {
            let mode = self.mode.of_client(number);
            tokio::spawn(Worker::new(Arc::clone(&shared), mode, owner, rng.fork()).run())
        };
        let clients = (0..self.clients).zip(first..).map(worker).collect();
        Ok(Running { clients, others, owners, begun: Instant::now(), shared })
    }
}

impl Running {
    /// Statements answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Whether every client is still at work; one that could not connect again has ended.
    pub fn is_alive(&self) -> bool {
        !self.clients.iter().any(JoinHandle::is_finished)
    }

    /// Waits until this many more statements are answered; not for ever where clients have ended.
    pub async fn answers(&self, more: u64) {
        let (goal, until) = (self.answered() + more, Instant::now() + Duration::from_secs(300));
        while self.answered() < goal && self.is_alive() {
            assert!(Instant::now() < until, "the clients have no answers");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets each client end its transaction, and collects what they know.
    pub async fn stop(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        for client in self.clients {
            match client.await {
                Ok(record) => records.push(record),
                Err(died) => std::panic::resume_unwind(died.into_panic()),
            }
        }
        let elapsed = self.begun.elapsed();
        let mut latencies: Vec<u32> =
            records.iter_mut().flat_map(|r| std::mem::take(&mut r.latencies)).collect();
        latencies.sort_unstable();
        let (tables, others, owners) = (self.shared.tables.clone(), self.others, self.owners);
        Outcome { tables, others, owners, records, elapsed, latencies }
    }
}

impl Outcome {
    /// Compares what the clients know with what is there.
    pub async fn check(&self, client: &Client) -> Result<Findings, Error> {
        let mut findings = check(client, &self.tables, &self.records).await?;
        self.others.compare(client, &self.tables, self.owners, &mut findings).await?;
        Ok(findings)
    }

    /// Statements answered.
    pub fn statements(&self) -> usize {
        self.latencies.len()
    }

    /// Transactions acknowledged (a statement alone is one).
    pub fn transactions(&self) -> u64 {
        self.records.iter().map(|record| record.transactions).sum()
    }

    /// Connections that were lost and opened again.
    pub fn connections_lost(&self) -> u64 {
        self.records.iter().map(|record| record.connections_lost).sum()
    }

    /// The latency that this share of the statements did not exceed; 1.0 is the longest stall.
    pub fn latency(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (last as f64 * share).round() as usize;
        Duration::from_micros(self.latencies.get(at).copied().unwrap_or_default().into())
    }

    /// The longest that one statement took.
    pub fn longest_stall(&self) -> Duration {
        self.latency(1.0)
    }

    /// Statements per second, over all clients.
    pub fn throughput(&self) -> f64 {
        #[expect(clippy::cast_precision_loss)]
        let statements = self.latencies.len() as f64;
        statements / self.elapsed.as_secs_f64()
    }
}
