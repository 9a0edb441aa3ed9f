//! A table and its twin: every statement of a writer goes to both in one transaction, and only the table is
//! migrated. In the end both have the same rows, by their binary form and by their text.
//!
//! Invariant: no statement fails, and each one meets as many rows of the table as of its twin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{Bluegreen, Cluster, Finished};

pub const DB: &str = "postgres";
/// Longest wait for writers to get once around.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one writer says over and over, of rows that are its own. `TABLE` stands for the table or its twin.
pub struct Cycle {
    /// Which of the stage's tables.
    pub table: usize,
    pub statements: Vec<String>,
}

pub struct Stage {
    pub cluster: Cluster,
    pub client: Client,
    program: Arc<Bluegreen>,
    /// The names of tables, quoted and qualified, and of their twins.
    pairs: Vec<[String; 2]>,
}

impl Stage {
    /// Makes the tables (`setup` says how), and a twin of each with its rows.
    pub async fn set(setup: &str, tables: &[&str], plan: &str) -> Self {
        Self::on(Cluster::start(), setup, tables, plan).await
    }

    pub async fn on(cluster: Cluster, setup: &str, tables: &[&str], plan: &str) -> Self {
        let client = cluster.client(DB).await;
        let run = async |sql: &str| {
            client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        };
        run(setup).await;
        run("create schema twin").await;
        let mut pairs = Vec::new();
        for &table in tables {
            let twin = format!("twin{}", &table[dot_of(table)..]);
            run(&format!("create table {twin} (like {table} including generated including indexes)")).await;
            let columns = names(&client, table, "attgenerated = ''").await.join(", ");
            run(&format!("insert into {twin} ({columns}) select {columns} from {table}")).await;
            run(&format!("analyze {table}")).await;
            pairs.push([table.to_owned(), twin]);
        }
        let program = Arc::new(Bluegreen::new(&cluster, DB).plan(plan));
        Self { cluster, client, program, pairs }
    }

    /// Writers, one a cycle, and the whole run in three parts: between two of them each writer gets once
    /// around, so that every kind of change is made while the copy is under way, before the verification,
    /// between it and the swap, and after. Then both tables must be the same.
    pub async fn migrate(&self, cycles: Vec<Cycle>) {
        let before = self.oids().await;
        let writers = Writers::start(self, cycles).await;
        writers.once_around().await;
        for until in [&["--until", "copy"][..], &["--until", "verify"], &["--yes"]] {
            self.execute(until).await.expect_code(0);
            writers.once_around().await;
        }
        writers.stop().await;
        for (now, before) in self.oids().await.iter().zip(before) {
            assert_ne!(*now, before, "a table was not swapped");
        }
        self.assert_same().await;
    }

    /// The program to its end, without holding up the writers.
    pub async fn execute(&self, args: &'static [&'static str]) -> Finished {
        let program = Arc::clone(&self.program);
        tokio::task::spawn_blocking(move || program.execute(args)).await.unwrap()
    }

    async fn oids(&self) -> Vec<u32> {
        let mut oids = Vec::new();
        for [table, _] in &self.pairs {
            let row = self.client.query_one("select $1::text::regclass::oid", &[table]).await;
            oids.push(row.unwrap().get(0));
        }
        oids
    }

    /// The same rows as often, by binary form and by text.
    pub async fn assert_same(&self) {
        for pair in &self.pairs {
            let differing = self.differing(pair, "record_send(\"this row\")", "\"this row\"").await;
            if differing == 0 {
                continue;
            }
            let mut columns = Vec::new();
            for column in names(&self.client, &pair[0], "true").await {
                let differing = self.differing(pair, &format!("record_send(row({column}))"), &column).await;
                columns.extend((differing > 0).then(|| format!("{column} ({differing})")));
            }
            panic!("{differing} rows of {} are not its twin's, by {columns:?}", pair[0]);
        }
    }

    /// How many rows one has and the other has not, both ways.
    async fn differing(&self, pair: &[String; 2], binary: &str, text: &str) -> i64 {
        let rows = |of: &str| format!("select md5({binary}) || md5(({text})::text) from {of} \"this row\"");
        let mut differing = 0;
        for (one, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let sql = format!("select count(*) from ({} except all {}) d", rows(one), rows(other));
            differing += self.client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0);
        }
        differing
    }
}

/// The names of some columns, quoted.
async fn names(client: &Client, table: &str, which: &str) -> Vec<String> {
    let sql = format!(
        "select quote_ident(attname) from pg_attribute where attrelid = $1::text::regclass and attnum > 0 \
         and not attisdropped and {which} order by attnum"
    );
    client.query(&sql, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Where the dot between schema and name is, outside of quotes.
fn dot_of(table: &str) -> usize {
    let mut quoted = false;
    let dot = table.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '.' && !quoted
    });
    dot.unwrap().0
}

/// Clients that write until they are stopped.
struct Writers {
    stop: Arc<AtomicBool>,
    rounds: Vec<Arc<AtomicU64>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    async fn start(stage: &Stage, cycles: Vec<Cycle>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut rounds, mut tasks) = (Vec::new(), Vec::new());
        // However many they are, the program under test has to have its turn too.
        let pause = Duration::from_millis(3) * u32::try_from(cycles.len()).unwrap();
        for cycle in cycles {
            let client = stage.cluster.client(DB).await;
            let round = Arc::new(AtomicU64::new(0));
            let names = stage.pairs[cycle.table].clone();
            let (ended, counter) = (Arc::clone(&stop), Arc::clone(&round));
            tasks.push(tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    for statement in &cycle.statements {
                        write(&client, &names, statement).await;
                        tokio::time::sleep(pause).await;
                        if ended.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }));
            rounds.push(round);
        }
        Self { stop, rounds, tasks }
    }

    /// Waits until each of them has said all that it has to say, from the beginning on.
    async fn once_around(&self) {
        let until = Instant::now() + PATIENCE;
        let rounds = || self.rounds.iter().map(|round| round.load(Ordering::Relaxed));
        let begun: Vec<u64> = rounds().collect();
        // The one that they are in the middle of does not count.
        while rounds().zip(&begun).any(|(now, begun)| now < begun + 2) {
            assert!(!self.tasks.iter().any(JoinHandle::is_finished), "a writer has failed");
            assert!(Instant::now() < until, "the writers do not get around");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// One statement, to the table and to its twin, in one transaction.
async fn write(client: &Client, [table, twin]: &[String; 2], statement: &str) {
    let (to_table, to_twin) = (statement.replace("TABLE", table), statement.replace("TABLE", twin));
    let sql = format!("begin; {to_table}; {to_twin}; commit");
    let answers = client.simple_query(&sql).await.unwrap_or_else(|error| panic!("{to_table}: {error:?}"));
    let counts: Vec<u64> = answers
        .iter()
        .filter_map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        })
        .collect();
    let [_, in_table, in_twin, _] = counts[..] else { panic!("{counts:?}: {sql}") };
    assert_eq!(in_table, in_twin, "{statement}");
    assert!(in_table > 0, "it meets no row: {statement}");
}
