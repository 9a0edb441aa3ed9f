//! Clients that read materialized views, write their table and refresh, while the tables are swapped.

use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Config, NoTls};

use crate::support::waiting::waits_for_a_lock;
use crate::support::{Cluster, stage};

use super::{DB, PLAN, SCHEMA, text};

/// Executes one statement again and again, until told to stop; returns how often. Every statement has to succeed.
fn client(config: &Config, sql: &str, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let (config, sql, stop) = (config.clone(), sql.to_owned(), Arc::clone(stop));
    tokio::spawn(async move {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        let mut answers = 0;
        while !stop.load(Ordering::Relaxed) {
            client.batch_execute(&sql).await.unwrap();
            answers += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answers
    })
}

/// Fails if there are fewer rows than there ever were.
fn reads(view: &str, least: u32) -> String {
    format!("select 1 / (count(*) >= {least})::int from {view}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_write_and_refresh_notice_nothing() {
    let cluster = Cluster::start();
    let (admin, program) = stage(&cluster, SCHEMA, PLAN).await;
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let statements = [
        reads("app.stored", 300),
        reads("app.over", 300),
        reads("app.over_all", 300),
        reads("reports.own", 30),
        "insert into app.t (at, owner, note) values ('2026-03-03', 1, 'n9')".to_owned(),
        "refresh materialized view concurrently app.stored".to_owned(),
        "refresh materialized view app.sums".to_owned(),
        "refresh materialized view app.joined".to_owned(),
    ];
    let clients: Vec<_> = statements.iter().map(|sql| client(&config, sql, &stop)).collect();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    for (client, sql) in clients.into_iter().zip(&statements) {
        println!("{}: {sql}", client.await.unwrap());
    }
    let all = "select count(*)::text from app.t";
    assert_eq!(text(&admin, all).await, text(&admin, "select count(distinct id)::text from app.t").await);
    admin.batch_execute("refresh materialized view concurrently app.stored").await.unwrap();
    assert_eq!(text(&admin, all).await, text(&admin, "select count(*)::text from app.stored").await);
}

/// The other one begins to be filled before the first attempt; what a client does then is not taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_refreshes_while_the_swap_waits_is_not_taken_back() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let holder = cluster.client(DB).await;

    // It was filled, and the attempt has not kept REFRESH away yet.
    holder.batch_execute("begin; lock table app.u in share update exclusive mode").await.unwrap();
    let running = program.spawn("execute", &["--yes", "--until", "settle"]);
    running.wait_until(|event| {
        event["what"].as_str().is_some_and(|what| what.starts_with("filling") && event["done"] == event["of"])
    });
    waits_for_a_lock(&client).await;
    client
        .batch_execute(
            "insert into app.t (at, owner, note) values ('2026-03-03', 1, 'n9'); \
             refresh materialized view concurrently app.stored",
        )
        .await
        .unwrap();
    holder.batch_execute("commit; begin; select count(*) from app.t").await.unwrap();
    let postponed = |why: &'static str| {
        move |event: &serde_json::Value| {
            event["type"] == "swap_postponed" && event["why"].as_str().is_some_and(|text| text.contains(why))
        }
    };
    assert!(running.wait_until(postponed("app.stored was refreshed by a client")).is_some());

    // It was filled again, and the attempt did not get its locks.
    assert!(running.wait_until(postponed("the locks were not granted")).is_some());
    client
        .batch_execute(
            "insert into app.t (at, owner, note) values ('2026-03-03', 1, 'n9'); refresh materialized view reports.own",
        )
        .await
        .unwrap();
    holder.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
    assert_eq!(text(&client, "select count(*)::text from app.stored").await, "301");
    assert_eq!(text(&client, "select count(*)::text from reports.own where note = 'n9'").await, "2");
}
