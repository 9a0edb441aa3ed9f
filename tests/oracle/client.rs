//! One client: writes, notes what was acknowledged, reads it back, and finds out after a lost
//! connection what became of the transaction in flight.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::time::sleep;
use tokio_postgres::{Config, NoTls};

use super::findings::{Finding, Kind, key_digest};
use super::ledger::{Change, Fate, Ledger};
use super::script::{Author, End, Step, Unit};
use super::session::{Answer, Mode, Session, Trouble, rows_of};
use super::table::{Sql, Table, Verb};

/// How long a server may be away.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// What all clients of a load share.
pub struct Shared {
    pub config: Config,
    pub tables: Vec<Table>,
    pub statements: HashMap<(usize, Verb), Sql>,
    pub pause: Duration,
    pub star_reads: bool,
    /// A lost connection is no finding: the test kills the server.
    pub outages_expected: bool,
    pub stop: AtomicBool,
    pub answered: AtomicU64,
}

/// What a client knows at its end.
#[derive(Debug, Default)]
pub struct Record {
    pub owner: u32,
    pub ledger: Ledger,
    pub findings: Vec<Finding>,
    /// Of each statement, in microseconds.
    pub latencies: Vec<u32>,
    pub transactions: u64,
    pub connections_lost: u64,
}

/// The work of one client.
pub struct Worker {
    shared: Arc<Shared>,
    mode: Mode,
    record: Record,
    rng: Rng,
}

/// Stops the client: it could not connect again.
struct NoServer;

impl Worker {
    pub fn new(shared: Arc<Shared>, mode: Mode, owner: u32, rng: Rng) -> Self {
        let ledger = Ledger::new(shared.tables.len());
        Self { shared, mode, record: Record { owner, ledger, ..Record::default() }, rng }
    }

    /// Until the load is told to stop.
    pub async fn run(mut self) -> Record {
        let shared = Arc::clone(&self.shared);
        let author =
            Author { tables: &shared.tables, owner: self.record.owner, star_reads: shared.star_reads };
        let Ok(mut session) = self.connect().await else { return self.record };
        while !shared.stop.load(Ordering::Relaxed) {
            let unit = author.next(&self.record.ledger, &mut self.rng);
            let done = match unit.end {
                End::Auto => self.alone(&session, unit).await,
                End::Commit | End::Rollback => self.together(&session, unit).await,
            };
            match done {
                Ok(Some(change)) if self.rng.u8(..4) == 0 => {
                    let step = author.read_back(&change);
                    if self.step(&session, &step).await.is_err_and(|trouble| is_gone(&trouble)) {
                        let Ok(again) = self.recover(session, Vec::new()).await else { break };
                        session = again;
                    }
                }
                Ok(_) => {}
                Err(in_flight) => {
                    let Ok(again) = self.recover(session, in_flight).await else { break };
                    session = again;
                }
            }
            if !shared.pause.is_zero() {
                sleep(shared.pause.mul_f64(0.5 + self.rng.f64())).await;
            }
        }
        self.record
    }

    /// One statement that commits by itself. An error is what was in flight when the connection went.
    async fn alone(&mut self, session: &Session, mut unit: Unit) -> Result<Option<Change>, Vec<Change>> {
        let Some(step) = unit.steps.pop() else { return Ok(None) };
        match self.step(session, &step).await {
            Ok(change) => {
                self.record.transactions += 1;
                if let Some(change) = change.clone() {
                    self.record.ledger.acknowledge(&self.shared.tables, vec![change]);
                }
                Ok(change)
            }
            Err(Trouble::Refused(_)) => Ok(None),
            Err(Trouble::Gone(_)) => Err(step.change.into_iter().collect()),
        }
    }

    /// Several statements in one transaction.
    async fn together(&mut self, session: &Session, unit: Unit) -> Result<Option<Change>, Vec<Change>> {
        let mut changes = Vec::new();
        if self.control(session, "begin").await.is_err() {
            return Err(Vec::new());
        }
        for step in &unit.steps {
            match self.step(session, step).await {
                Ok(Some(change)) => changes.push(change),
                Ok(None) | Err(Trouble::Refused(_)) => {
                    return self.control(session, "rollback").await.map(|()| None).map_err(|_| Vec::new());
                }
                // Without a COMMIT nothing of it is there.
                Err(Trouble::Gone(_)) => return Err(Vec::new()),
            }
        }
        if unit.end == End::Rollback {
            return self.control(session, "rollback").await.map(|()| None).map_err(|_| Vec::new());
        }
        match self.control(session, "commit").await {
            Ok(()) => {
                let last = changes.last().cloned();
                self.record.transactions += 1;
                self.record.ledger.acknowledge(&self.shared.tables, changes);
                Ok(last)
            }
            Err(Trouble::Refused(_)) => Ok(None),
            Err(Trouble::Gone(_)) => Err(changes),
        }
    }

    async fn control(&mut self, session: &Session, word: &'static str) -> Result<(), Trouble> {
        let begun = Instant::now();
        let answer = session.control(word).await;
        self.took(begun);
        answer.inspect_err(|trouble| self.failed(trouble, word, String::new(), String::new()))
    }

    /// Runs a step; gives back the change that it made for certain, its key known.
    async fn step(&mut self, session: &Session, step: &Step) -> Result<Option<Change>, Trouble> {
        let shared = Arc::clone(&self.shared);
        let at = (step.table, step.verb);
        let begun = Instant::now();
        let answer = session.run(at, &shared.statements[&at], &step.values).await;
        self.took(begun);
        let table = &shared.tables[step.table];
        let answer = answer.inspect_err(|trouble| {
            self.failed(trouble, &format!("{:?}", step.verb), table.name.to_owned(), key_digest(&step.key));
        })?;
        Ok(match step.change.clone() {
            Some(change) => self.wrote(step, change, &answer),
            None => {
                self.read(step, &answer);
                None
            }
        })
    }

    fn wrote(&mut self, step: &Step, mut change: Change, answer: &Answer) -> Option<Change> {
        if answer.count != 1 {
            self.found(Kind::Miscounted, step, &format!("{:?} of {} rows", step.verb, answer.count));
            return None;
        }
        if let (Verb::Insert, Some(row)) = (step.verb, &mut change.after) {
            for (i, value) in self.shared.tables[step.table].key().into_iter().zip(&answer.rows[0]) {
                row[i].clone_from(value);
            }
        }
        Some(change)
    }

    fn read(&mut self, step: &Step, answer: &Answer) {
        let wanted = u64::from(step.expected.is_some());
        if answer.count != wanted {
            self.found(Kind::Misread, step, &format!("{} rows instead of {wanted}", answer.count));
        } else if step.verb == Verb::Read && answer.rows.first() != step.expected.as_ref() {
            self.found(Kind::Misread, step, "another value");
        }
    }

    fn took(&mut self, begun: Instant) {
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.record.latencies.push(micros);
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
    }

    fn found(&mut self, kind: Kind, step: &Step, detail: &str) {
        let table = self.shared.tables[step.table].name.to_owned();
        let detail = format!("{detail} ({:?})", self.mode);
        self.record.findings.push(Finding { kind, table, key: key_digest(&step.key), detail });
    }

    fn failed(&mut self, trouble: &Trouble, what: &str, table: String, key: String) {
        let (Trouble::Refused(why) | Trouble::Gone(why)) = trouble;
        if !(is_gone(trouble) && self.shared.outages_expected) {
            let detail = format!("{why} at {what} ({:?})", self.mode);
            self.record.findings.push(Finding { kind: Kind::Failed, table, key, detail });
        }
    }

    async fn connect(&mut self) -> Result<Session, NoServer> {
        let until = Instant::now() + RECONNECT_PATIENCE;
        loop {
            match Session::open(&self.shared.config, self.mode, &self.shared.statements).await {
                Ok(session) => return Ok(session),
                Err(_) if Instant::now() < until && self.shared.outages_expected => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(Trouble::Refused(why) | Trouble::Gone(why)) => {
                    let detail = format!("{why} at connect ({:?})", self.mode);
                    let nowhere = String::new();
                    self.record.findings.push(Finding {
                        kind: Kind::Failed,
                        table: nowhere.clone(),
                        key: nowhere,
                        detail,
                    });
                    return Err(NoServer);
                }
            }
        }
    }

    /// After a lost connection: a new one, and the truth about what was in flight.
    async fn recover(&mut self, old: Session, mut in_flight: Vec<Change>) -> Result<Session, NoServer> {
        self.record.connections_lost += 1;
        let pid = old.pid;
        drop(old);
        loop {
            let session = match self.connect().await {
                Ok(session) => session,
                Err(no_server) => {
                    self.record.ledger.unknown.push(in_flight);
                    return Err(no_server);
                }
            };
            if in_flight.is_empty() {
                return Ok(session);
            }
            // A second outage while looking: look again.
            if let Ok(fate) = self.look_up(pid, &mut in_flight).await {
                self.settle(fate, in_flight);
                return Ok(session);
            }
        }
    }

    async fn look_up(&self, pid: i32, in_flight: &mut [Change]) -> Result<Fate, Trouble> {
        let (client, connection) = self.shared.config.connect(NoTls).await?;
        tokio::spawn(connection);
        let busy = "select 1 from pg_stat_activity where pid = $1 and application_name = $2";
        let name = self.shared.config.get_application_name().unwrap_or_default();
        while !client.query(busy, &[&pid, &name]).await?.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        let mut found = Vec::new();
        for table in &self.shared.tables {
            found.push(rows_of(&client, table, self.record.owner, self.record.owner).await?);
        }
        Ok(self.record.ledger.fate(&self.shared.tables, in_flight, &found))
    }

    fn settle(&mut self, fate: Fate, in_flight: Vec<Change>) {
        match fate {
            Fate::Committed => {
                self.record.transactions += 1;
                self.record.ledger.acknowledge(&self.shared.tables, in_flight);
            }
            Fate::RolledBack => {}
            Fate::Torn => self.record.findings.push(Finding {
                kind: Kind::Torn,
                table: in_flight
                    .iter()
                    .map(|c| self.shared.tables[c.table].name)
                    .collect::<Vec<_>>()
                    .join(", "),
                key: String::new(),
                detail: "its COMMIT had no answer".to_owned(),
            }),
        }
    }
}

fn is_gone(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Gone(_))
}
