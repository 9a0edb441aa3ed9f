//! Clients of the table, and what they felt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, Statement};

use crate::stage::Stage;

/// One statement of a client.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub asked: Instant,
    pub answered: Instant,
    pub failed: bool,
}

/// Clients at work.
pub struct Clients {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Vec<Answer>>>,
}

impl Clients {
    /// So many, each with a rest after each statement: a read, an update, and at times an insert, by the key.
    pub fn start(stage: &Stage, db: &str, count: u64, rest: Duration, rows: u64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let url = stage.cluster.url(db);
        let tasks = (0..count).map(|number| {
            let (url, stop) = (url.clone(), Arc::clone(&stop));
            runtime.spawn(async move { work(&url, number, rest, rows, &stop).await })
        });
        let tasks = tasks.collect();
        Self { runtime, stop, tasks }
    }

    /// Ends them; what each saw.
    pub fn stop(self) -> Vec<Vec<Answer>> {
        self.stop.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            let mut answers = Vec::new();
            for task in self.tasks {
                answers.push(task.await.unwrap());
            }
            answers
        })
    }
}

/// Statements a second that were answered between two instants.
pub fn rate(clients: &[Vec<Answer>], from: Instant, to: Instant) -> f64 {
    let within = |answer: &&Answer| from <= answer.answered && answer.answered < to;
    let count: usize = clients.iter().map(|answers| answers.iter().filter(within).count()).sum();
    count as f64 / to.duration_since(from).as_secs_f64()
}

async fn work(url: &str, number: u64, rest: Duration, rows: u64, stop: &AtomicBool) -> Vec<Answer> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let statements = prepare(&client).await;
    let mut random = fastrand::Rng::with_seed(number);
    let mut answers = Vec::new();
    let mut next = 100_000_000 * (number + 1);
    while !stop.load(Ordering::Relaxed) {
        let which = random.usize(0..10);
        let id = i64::try_from(random.u64(1..=rows)).unwrap();
        let asked = Instant::now();
        let outcome = match which {
            0..5 => client.execute(&statements[0], &[&id]).await,
            5..9 => client.execute(&statements[1], &[&id]).await,
            _ => {
                next += 1;
                client.execute(&statements[2], &[&i64::try_from(next).unwrap()]).await
            }
        };
        if let Err(error) = &outcome {
            eprintln!("a client's statement failed: {error:?}");
        }
        answers.push(Answer { asked, answered: Instant::now(), failed: outcome.is_err() });
        if !rest.is_zero() {
            tokio::time::sleep(rest.mul_f64(0.5 + random.f64())).await;
        }
    }
    answers
}

async fn prepare(client: &Client) -> Vec<Statement> {
    let mut statements = Vec::new();
    for sql in [
        "select * from visits where visit_id = $1",
        "update visits set status = 'seen', fee = fee + 1 where visit_id = $1",
        "insert into visits values ($1, 1, 1, '2025-06-01', '2025-06-01', 'new', 'group', 'a note', 1, now())",
    ] {
        statements.push(client.prepare(sql).await.unwrap());
    }
    statements
}
