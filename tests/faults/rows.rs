//! Rows that only one of the two tables has room for.

use crate::support::{Cluster, stage};

const SETUP: &str = "
create table public.t (id bigint primary key, at date not null, email text);
insert into public.t select g, date '2026-01-01' + g % 55, 'e' || g from generate_series(1, 300) g;
analyze public.t;";
const PLAN: &str = "
version: 1
name: rows
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
    indexes: ['create unique index t_email on public.t (email, at)']
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_only_greens_index_refuses_stops_the_run_before_the_swap_and_clients_go_on() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_until(|event| event["type"] == "waiting" && event["cause"] == "release").unwrap();
    client.batch_execute("insert into t values (301, '2026-01-02', 'e1')").await.unwrap();
    let stopped = running.finish().expect_code(1);
    println!("{}", stopped.error());
    let told = stopped.error();
    assert!(told.contains("23505") && told.contains("t_p1_email_at_idx"), "{told}");
    assert!(!stopped.stdout.contains("e1"), "{}", stopped.stdout);
    let end = stopped.events_of("end")[0].to_string();
    assert!(end.contains("blue is live, and clients notice nothing") && end.contains("rollback"), "{end}");
    client.batch_execute("insert into t values (302, '2026-01-02', 'e1')").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    let rows: i64 = client.query_one("select count(*) from t where email = 'e1'", &[]).await.unwrap().get(0);
    assert_eq!(rows, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_only_blues_key_refuses_is_an_alarm_in_the_soak_until_it_is_gone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("insert into t values (7, '2026-02-20', 'twice')").await.unwrap();
    let alarm = running.finish().expect_code(1);
    println!("{}", alarm.error());
    assert!(alarm.error().contains("blue no longer follows it"), "{}", alarm.error());
    assert!(alarm.error().contains("23505") && alarm.error().contains("t_pkey"), "{}", alarm.error());
    program.run("rollback", &[]).expect_code(1);
    // Clients go on, and what they write is in blue once the row is gone.
    client
        .batch_execute("update t set email = 'after' where id = 8; delete from t where email = 'twice'")
        .await
        .unwrap();
    let mended = program.spawn("execute", &["--yes"]);
    mended.wait_for("verified");
    mended.wait_for("soaking");
    program.run("rollback", &[]).expect_code(6);
    mended.finish().expect_code(6);
    let sql =
        "select count(*) filter (where id = 7), count(*) filter (where email = 'after'), count(*) from t";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (1, 1, 300));
}
