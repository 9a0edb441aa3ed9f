//! A table of keys is filled in while clients write, and compared before the swap.

use crate::support::waiting::eventually;
use crate::support::{Cluster, stage};

use super::{DB, count};

const SCHEMA: &str = "
create table parent (id int, tag text, day int not null, primary key (id, tag));
create table child (p int not null, tag text not null, constraint of_parent foreign key (p, tag) references parent on delete cascade);
insert into parent select g, 't' || g % 3, g % 7 from generate_series(1, 9000) g; analyze;";

const PLAN: &str = "
version: 1
name: filled
settings: {workers: 1}
tables:
  - table: public.parent
    partition_by: {range: day, bounds: [0, 3, 7]}
    primary_key: [id, tag, day]
    uniqueness: registry
    inbound_foreign_keys: registry
";

const WAITS: &str = "select exists (select from pg_stat_activity where application_name like 'projh-bluegreen % keys' \
                     and wait_event_type = 'Lock' and query like 'WITH locked%')";

/// A row that is deleted while its key is filled in must not leave it behind: the program waits for whoever holds the
/// row, steps back so that it is in nobody's way, and can be stopped and resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_filled_in_while_rows_are_deleted_and_a_stale_one_is_found() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    // A slot is created once no transaction is open that has written or locked a row.
    program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    let holder = cluster.client(DB).await;
    // Not yet a writer, so that the triggers can be created.
    holder.batch_execute("begin; select from parent where id = 5000 for update").await.unwrap();
    let running = program.spawn("execute", &["--yes", "--until", "index"]);
    eventually(&client, WAITS).await;
    holder.batch_execute("delete from parent where id in (1, 5000, 8999)").await.unwrap();
    running.terminate();
    running.finish().expect_code(7);
    let running = program.spawn("execute", &["--yes", "--until", "index"]);
    eventually(&client, WAITS).await;
    client
        .batch_execute(
            "insert into parent values (9001, 't0', 1); update parent set id = 9002 where id = 9000",
        )
        .await
        .unwrap();
    holder.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
    let differing = "((select id, tag from parent except select id, tag from parent_keys) union all \
                     (select id, tag from parent_keys except select id, tag from parent)) x";
    assert_eq!((count(&client, differing).await, count(&client, "parent_keys").await), (0, 8998));
    assert_eq!(count(&client, "pg_constraint where conname = 'projh_parent_0' and convalidated").await, 1);

    client
        .batch_execute("insert into parent_keys values (12345, 't0'); delete from parent_keys where id = 77")
        .await
        .unwrap();
    let differs = program.execute(&["--yes"]).expect_code(4);
    assert!(
        differs.error().contains(
            "public.parent_keys does not hold the keys of public.parent: 1 are missing, and 1 are of no row"
        ),
        "{}",
        differs.error()
    );
    client.batch_execute("delete from parent_keys where id = 12345; insert into parent_keys select id, tag from parent where id = 77").await.unwrap();
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(super::rejected(&client, "insert into parent values (77, 't2', 0)").await, "23505");
    assert_eq!(super::rejected(&client, "insert into child values (78, 't1')").await, "23503");
    client.batch_execute("insert into child values (77, 't2'); update parent set day = 6 - day; delete from parent where id = 77").await.unwrap();
    assert_eq!((count(&client, "child").await, count(&client, "parent_keys").await), (0, 8997));
}
