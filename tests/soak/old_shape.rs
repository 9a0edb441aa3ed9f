//! Clients of views that a swap makes, and drops when it is undone: a statement holds the view while it waits for the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::support::{Cluster, stage};

const BLUE: &str = "
create table public.t (id int primary key, n int not null);
insert into public.t select g, 0 from generate_series(1, 1000) g;
analyze public.t;";
/// With the default, clients would have to be lucky thirty times.
const PLAN: &str = "
version: 1
name: shape
settings: {workers: 1, soak: 1h, swap: {attempts: 4}}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 4}
    columns: {n: {rename: number}}
    compatibility: view
steps:
  - {name: board, when: in_swap, up: 'create view public.board as select count(*) from public.t', down: 'drop view public.board'}
";
const CLIENTS: usize = 4;

/// Clients that come again and again until they are stopped. Each returns how often its statement was executed.
struct Clients {
    stop: Arc<AtomicBool>,
    all: Vec<JoinHandle<u64>>,
    done: Arc<AtomicU64>,
}

impl Clients {
    async fn start(cluster: &Cluster, statement: fn(usize) -> String) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut all = Vec::new();
        for number in 0..CLIENTS {
            let client = cluster.client("postgres").await;
            client.batch_execute("set search_path = public_shape, public").await.unwrap();
            let (stop, done, sql) = (Arc::clone(&stop), Arc::clone(&done), statement(number));
            all.push(tokio::spawn(async move {
                let mut times = 0;
                while !stop.load(Ordering::Acquire) {
                    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                    times += 1;
                    done.fetch_add(1, Ordering::Release);
                }
                times
            }));
        }
        Self { stop, all, done }
    }

    /// Returns once they have done something more.
    async fn go_on(&self) {
        let before = self.done.load(Ordering::Acquire);
        while self.done.load(Ordering::Acquire) < before + 20 * CLIENTS as u64 {
            assert!(self.all.iter().all(|client| !client.is_finished()), "a client has failed");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        let mut sum = 0;
        for client in self.all {
            sum += client.await.unwrap();
        }
        sum
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_view_that_a_rollback_drops_hold_it_up_as_little_as_those_of_the_table() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    let writers = Clients::start(&cluster, |n| format!("update t set n = n + 1 where id = {}", n + 1)).await;
    for _ in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        let readers = Clients::start(&cluster, |_| "do 'begin perform from board; end'".to_owned()).await;
        writers.go_on().await;
        readers.go_on().await;
        // Who only reads what the plan drops has to stop before.
        readers.stop().await;
        let back = program.run("rollback", &[]).expect_code(6);
        assert!(back.events_of("swap_postponed").len() < 3, "{}", back.stdout);
        writers.go_on().await;
    }
    let written = i64::try_from(writers.stop().await).unwrap();
    let sum: i64 = client.query_one("select sum(n) from public.t", &[]).await.unwrap().get(0);
    assert_eq!(sum, written);
}
