//! A thousand partitions.

use super::twin::{Cycle, Stage};
use crate::support::Cluster;

const SETUP: &str = "
create schema app;
create table app.t (id bigint primary key, at date not null, n int, big text);
alter table app.t alter big set storage external;
create index t_n on app.t (n);
create index t_at_n on app.t (at, n);
insert into app.t select g, '2024-01-01'::date + g % 1000, g, case when g % 100 = 0 then repeat('b', 3000) end
    from generate_series(1, 20000) g;";

const PLAN: &str = "
version: 1
name: thousand
settings: {workers: 2}
tables:
  - table: app.t
    partition_by: {range: at, every: 1 day, from: 2024-01-01}
    primary_key: [id, at]
";

/// Rows move between partitions; which one a row is in, the stream does not say.
fn cycle(id: usize) -> Cycle {
    let statements = vec![
        format!("update TABLE set n = n + 1 where id = {id}"),
        format!("update TABLE set at = at + 1 where id = {id}"),
        format!("update TABLE set id = id + 100000, n = null where id = {id}"),
        format!("delete from TABLE where id = {id} + 100000"),
        format!("insert into TABLE values ({id}, '2024-02-03', 1, repeat('c', 4000))"),
    ];
    Cycle { table: 0, statements }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_partitions() {
    // As many locks as a server with 100 connections has.
    let cluster = Cluster::builder()
        .setting("max_connections", "100")
        .setting("max_locks_per_transaction", "128")
        .start();
    let stage = Stage::on(cluster, SETUP, &["app.t"], PLAN).await;
    stage.migrate(vec![cycle(100), cycle(19_900)]).await;
    let leaves =
        stage.client.query_one("select count(*) from pg_partition_tree('app.t') where isleaf", &[]).await;
    assert!(leaves.unwrap().get::<_, i64>(0) > 1000);
}
