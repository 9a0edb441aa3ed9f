//! A table without a key whose rows are distinct: the plan's primary key and REPLICA IDENTITY FULL for the run identify
//! them, there and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Cluster, stage};

const SCHEMA: &str = "
create table t (tenant int not null, name text not null, n int not null default 0, note text);
insert into t select g % 7, 'n' || g, 0, repeat('x', 3000) from generate_series(1, 2000) g;
";

const PLAN: &str = "
version: 1
name: keyless
settings: {workers: 2, soak: 1h, throttle: {rest_percent: 0}}
tables:
  - table: t
    primary_key: [tenant, name]
    replica_identity: full
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distinct_rows_without_a_key_go_green_and_come_back() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = cluster.pg_dump("postgres", &["--schema-only", "--exclude-schema=projh_*"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, writer) = (Arc::clone(&stop), cluster.client("postgres").await);
    let writing = tokio::spawn(async move {
        let (mut changes, mut rows, mut rng) = (0_i64, 0_i64, fastrand::Rng::new());
        while !stopped.load(Ordering::Relaxed) {
            let old = rng.u32(1..1900);
            let sql = match rng.u8(0..4) {
                0 => format!("update t set n = n + 1 where name = 'n{old}'"),
                1 => format!("update t set tenant = tenant + 1, n = n + 1 where name = 'n{old}'"),
                2 => format!("insert into t values (1, 'new{rows}', 0)"),
                _ => "insert into t values (9, 'gone', 0); delete from t where name = 'gone'".to_owned(),
            };
            writer.batch_execute(&sql).await.unwrap();
            changes += i64::from(sql.starts_with("update"));
            rows += i64::from(sql.contains("'new"));
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        (rows, changes)
    });
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    stop.store(true, Ordering::Relaxed);
    let (rows, changes) = writing.await.unwrap();
    let row = client.query_one("select count(*), sum(n) from t", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2_000 + rows, changes));
    program.run("rollback", &["--drop-green"]).expect_code(6);
    assert_eq!(cluster.pg_dump("postgres", &["--schema-only", "--exclude-schema=projh_*"]), before);
}
