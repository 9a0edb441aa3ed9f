//! What a rollback keeps: the values of columns that only one of the tables has, values that are wider than a type was, and rows
//! of a partition that was away for a while.

use tokio_postgres::Client;

use super::count;
use crate::support::{Bluegreen, Cluster, stage};

const BLUE: &str = "
create table t (id int primary key, email text unique, legacy text default 'dflt', big text not null);
alter table t alter big set storage external;
insert into t select g, 'e' || g, 'legacy' || g, repeat(md5(g::text), 100) from generate_series(1, 100) g;";
const PLAN: &str = "
version: 1
name: kept
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    columns: {legacy: drop}
    add_columns: [\"seen text default 'no'\"]
";
/// New unique values, exchanged ones, a new key, exchanged keys, and a row that is deleted and comes again: another one.
const CHANGES: &str = "
update t set email = 'x' || email where id = 7;
begin; update t set email = 'between' where id = 8; update t set email = (select e from was where id = 8) where id = 9;
update t set email = (select e from was where id = 9) where id = 8; commit;
update t set id = id + 1000 where id % 1000 = 10;
begin; update t set id = -1 where id = 11; update t set id = 11 where id = 12; update t set id = 12 where id = -1; commit;
begin; create temp table again on commit drop as select * from t where id = 13; delete from t where id = 13;
insert into t select * from again; update t set email = 'y' || email where id = 13; commit;";

async fn swap(program: &Bluegreen) {
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
}

async fn change(client: &Client) {
    let was = "drop table if exists was; create temp table was as select id, email as e from t";
    client.batch_execute(was).await.unwrap();
    client.batch_execute(CHANGES).await.unwrap();
}

/// What rows have of a column, by their number of before the run, which is in `big`.
async fn of_column(client: &Client, column: &str) -> String {
    let sql = format!(
        "select string_agg(n || ' ' || {column}, ',' order by n) from t join generate_series(1, 100) n on big = repeat(md5(n::text), 100)"
    );
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_what_only_their_table_has() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    let legacy = of_column(&client, "legacy").await;
    swap(&program).await;
    client.batch_execute("update t set seen = 'yes' || id").await.unwrap();
    let seen = of_column(&client, "seen").await;
    change(&client).await;
    program.run("rollback", &[]).expect_code(6);
    let legacy = legacy.replace("13 legacy13,", "13 dflt,");
    assert_eq!(of_column(&client, "legacy").await, legacy);
    change(&client).await;
    assert_eq!(of_column(&client, "legacy").await, legacy);
    swap(&program).await;
    assert_eq!(of_column(&client, "seen").await, seen.replace("13 yes13,", "13 no,"));
}

/// In one statement of the apply for tens of thousands of rows, which was quadratic: it took minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_keep_what_only_their_table_has_when_many_keys_change_at_once() {
    let blue = "create table t (id int primary key, legacy text); insert into t select g, 'legacy' || g from generate_series(1, 40000) g";
    let plan = PLAN.replace("add_columns: [\"seen text default 'no'\"]", "");
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, blue, &plan).await;
    swap(&program).await;
    client.batch_execute("update t set id = -id").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where legacy = 'legacy' || -id").await, 40_000);
}

/// The stream shows a move as a deletion and an insertion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_moves_between_partitions_keeps_it_and_another_of_its_key_does_not() {
    const BLUE: &str = "create table t (id int primary key, at date not null, legacy text default 'dflt');
insert into t select g, date '2026-01-01' + g % 28, 'legacy' || g from generate_series(1, 60000) g;";
    const PLAN: &str = "
version: 1
name: moves
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    primary_key: [id, at]
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01]}
    columns: {legacy: drop}
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    swap(&program).await;
    for writes in [
        "update t set at = at + 31 where id = 5",
        "update t set at = at + 31 where id in (6, 7); update t set at = at - 31 where id = 7",
        "delete from t where id = 8",
        "insert into t values (8, '2026-02-08')",
        "delete from t where id = 9; update t set at = at + 1 where id = 10; insert into t values (9, '2026-02-09')",
        "delete from t where id = 11; insert into t values (-112, '2026-02-09'), (11, '2026-02-09')",
        "delete from t where id = 12; insert into t values (12, '2026-01-13')",
        // More than one batch.
        "update t set at = at + 31 where id > 20",
    ] {
        client.batch_execute(writes).await.unwrap();
    }
    program.run("rollback", &[]).expect_code(6);
    let kept = "select string_agg(id || ' ' || legacy, ',' order by id) from t where id between 5 and 12";
    let kept: String = client.query_one(kept, &[]).await.unwrap().get(0);
    assert_eq!(kept, "5 legacy5,6 legacy6,7 legacy7,8 dflt,9 dflt,10 legacy10,11 dflt,12 dflt");
    assert_eq!(count(&client, "t where id > 20 and legacy = 'legacy' || id").await, 59_980);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_blue_would_round_closes_the_way_back() {
    const BLUE: &str = "
create table t (id int primary key, i int, f real, d date, n numeric(6,2), c char(4), w \"char\", at timestamptz(0), a numeric(6,2)[]);
insert into t select g, g, g / 3.0, date '2026-01-01' + g, g / 3.0, 'c' || g, 'w', timestamptz '2026-01-01' + g * interval '1 s', array[g / 3.0]
  from generate_series(1, 50) g;";
    const PLAN: &str = "
version: 1
name: wider
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    columns:
      i: {type: numeric}
      f: {type: double precision}
      d: {type: timestamp}
      n: {type: numeric}
      c: {type: text}
      w: {type: text}
      at: {type: timestamptz}
      a: {type: 'numeric[]'}
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    swap(&program).await;
    for (column, rounded, exact) in [
        ("i", "1.5", "2"),
        ("f", "0.1", "0.5"),
        ("d", "'2026-05-05 13:45'", "'2026-05-05'"),
        ("n", "1.005", "1.25"),
        ("c", "'ab  '", "'ab'"),
        ("w", "'two'", "'t'"),
        ("at", "'2026-05-05 10:00:00.7+00'", "'2026-05-05 10:00:00+00'"),
        ("a", "'{1.005}'", "'{1.25}'"),
    ] {
        client.batch_execute(&format!("update t set {column} = {rounded} where id = 7")).await.unwrap();
        let broken = program.execute(&["--yes"]).expect_code(1);
        assert!(broken.error().contains("blue no longer follows it"), "{column}: {}", broken.error());
        client.batch_execute(&format!("update t set {column} = {exact} where id = 7")).await.unwrap();
    }
    client.batch_execute("update t set i = i + 1, f = null where id = 8").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    let now = "t where id = 7 and i = 2 and f = 0.5 and d = '2026-05-05' and n = 1.25 and c = 'ab' and w = 't' and a = '{1.25}'";
    assert_eq!(count(&client, now).await, 1);
    assert_eq!(count(&client, "t where id = 8 and i = 9 and f is null").await, 1);
    swap(&program).await;
}

/// What is written to a partition while it is detached is not in the stream, and afterwards nothing looks different.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_away_for_a_moment_is_compared() {
    const BLUE: &str = "
create table ev (id bigint not null, at date not null, v int, primary key (id, at)) partition by range (at);
create table ev_old partition of ev for values from ('2026-01-01') to ('2026-02-01');
create table ev_new partition of ev for values from ('2026-02-01') to ('2026-03-01');
insert into ev select g, date '2026-01-01' + g % 50, 0 from generate_series(1, 500) g;";
    const PLAN: &str = "
version: 1
name: away
settings: {workers: 1, soak: 1h}
tables:
  - table: public.ev
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], name: '{table}_n{n}'}
    primary_key: [id, at]
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    let away = async |partition: &str| {
        let sql = format!(
            "begin; alter table ev detach partition {partition}; update {partition} set v = v + 77 where id < 100;
             delete from {partition} where id between 200 and 210;
             alter table ev attach partition {partition} for values from ('2026-01-01') to ('2026-02-01'); commit"
        );
        client.batch_execute(&sql).await.unwrap();
    };
    let held = program.spawn("execute", &["--hold-swap", "--until", "settle"]);
    held.wait_for("verified");
    away("ev_old").await;
    program.run("swap", &[]);
    held.finish().expect_code(4);
    let plain =
        "select count(*) from pg_inherits where inhparent = 'ev'::regclass and inhrelid = 'ev_old'::regclass";
    assert_eq!(client.query_one(plain, &[]).await.unwrap().get::<_, i64>(0), 1, "blue is live");
    program.run("rollback", &[]).expect_code(6);

    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let first = "select c.oid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'ev'::regclass and pg_get_expr(c.relpartbound, c.oid) ~ 'FROM ..2026-01-01'";
    let partition: String = client.query_one(first, &[]).await.unwrap().get(0);
    away(&partition).await;
    let broken = running.finish().expect_code(4);
    assert!(broken.error().contains("blue no longer follows it"), "{}", broken.error());
}
