//! Clients that read and write through views, and beside them, while the tables are swapped.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Config, NoTls};

use crate::oracle::{Load, own};
use crate::support::{Bluegreen, Cluster};

use super::{DB, count};

/// Views that only readers use: over each table, over each other, and over all.
fn views() -> String {
    let of = |number: usize| ["by_uuid", "by_identity", "by_tenant"][number % 3];
    let direct = (0..15).map(|number| {
        format!(
            "create view oracle.v{number} as select status, amount, note, body from oracle.{}",
            of(number)
        )
    });
    let deep = (15..20).map(|number| {
        let under = number - 15;
        format!(
            "create view oracle.v{number} as select v.status, v.amount, v.note, t.body from oracle.v{under} v, \
             lateral (select body from oracle.by_tenant t limit 1) t"
        )
    });
    direct.chain(deep).map(|sql| format!("{sql};")).collect()
}

/// Reads through one view after another, each statement a transaction, until told to stop.
fn reader(config: &Config, stop: &Arc<AtomicBool>, answered: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (config, stop, answered) = (config.clone(), Arc::clone(stop), Arc::clone(answered));
    tokio::spawn(async move {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut rng = fastrand::Rng::new();
        while !stop.load(Ordering::Relaxed) {
            let sql = format!("select * from oracle.v{} limit 1", rng.usize(0..20));
            client.query(&sql, &[]).await.unwrap();
            answered.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_twenty_views_and_of_their_tables_notice_nothing() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 5_000).await.unwrap();
    let tables = own::through_views();
    client.batch_execute(&own::create_views()).await.unwrap();
    client.batch_execute(&views()).await.unwrap();
    let plan =
        own::plan("views").replace("  workers: 2", "  workers: 2\n  soak: 1h\n  throttle: {rest_percent: 0}");
    let program = Bluegreen::new(&cluster, DB).plan(&plan);
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let running =
        Load::new(&config, tables).clients(6).pause(Duration::from_millis(3)).start(&client).await.unwrap();
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = (0..4).map(|_| reader(&config, &stop, &answered)).collect();
    running.answers(500).await;
    let there = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    running.answers(500).await;
    let back = program.run("rollback", &[]).expect_code(6);
    running.answers(500).await;
    let again = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    running.answers(500).await;
    let outcome = running.stop().await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    outcome.check(&client).await.unwrap().expect_clean();
    for (name, finished) in [("there", &there), ("back", &back), ("again", &again)] {
        let swapped = finished.events_of("swapped")[0];
        for postponed in finished.events_of("swap_postponed") {
            println!("{name}: {}", postponed["why"]);
        }
        println!("{name}: {} ms in attempt {}", swapped["stall_ms"], swapped["attempt"]);
    }
    println!(
        "{} statements and {} reads, longest stall {:?}",
        outcome.statements(),
        answered.load(Ordering::Relaxed),
        outcome.longest_stall()
    );
    assert_eq!(
        count(&client, "pg_partitioned_table where partrelid::regclass::text like 'oracle.%'").await,
        3
    );
}
