//! Rows that reference no row although their key is marked valid: found by check, and by the validation after the swap.

use tokio_postgres::Client;

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, stage};

use super::{DB, count, referencing};

const SCHEMA: &str = "
create table t (id int primary key, note text); insert into t select g, '' from generate_series(1, 100) g;
create table child (t int constraint plain references t); insert into child select generate_series(1, 100);
create table parts (id int, t int constraint same references t) partition by list (id);
create table parts_1 partition of parts for values in (1); create table parts_2 partition of parts for values in (2);
create table other (t int constraint same references t) partition by hash (t);
create table other_0 partition of other for values with (modulus 1, remainder 0);
insert into parts select 1 + g % 2, g from generate_series(1, 100) g; insert into other select generate_series(1, 100);
comment on constraint same on parts is 'whole'; analyze;
";

const PLAN: &str = "
version: 1
name: settled
settings: {workers: 1}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
";

const ORPHANS: &str = "
set session_replication_role = replica;
insert into child values (1001), (1002); insert into parts values (1, 1003);
reset session_replication_role;";

async fn staged(cluster: &Cluster) -> (Client, Bluegreen) {
    stage(cluster, SCHEMA, PLAN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_counts_the_rows_of_each_child() {
    let cluster = Cluster::start();
    let (client, program) = staged(&cluster).await;
    client.batch_execute(ORPHANS).await.unwrap();
    let refused = program.run("check", &[]).expect_code(3);
    for (what, hint) in [
        (
            "foreign key \"plain\" on public.child is marked valid, but 2 rows point at no row of",
            "select fk.* from only",
        ),
        (
            "foreign key \"same\" on public.parts is marked valid, but 1 row points at no row of",
            "select fk.* from public.parts",
        ),
    ] {
        assert!(
            refused.refusals().into_iter().any(|finding| tells(finding, what, hint)),
            "{}",
            refused.stdout
        );
    }
    assert_eq!(refused.refusals().len(), 2, "{}", refused.stdout);
    client.batch_execute("delete from child where t > 1000; delete from parts where t > 1000").await.unwrap();
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validation_that_fails_holds_up_nothing_else_and_is_made_up_for() {
    let cluster = Cluster::start();
    let (client, program) = staged(&cluster).await;
    let before = referencing(&client, "t").await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    client.batch_execute(ORPHANS).await.unwrap();
    let unsettled = program.execute(&["--yes"]);
    assert_ne!(unsettled.code, Some(0));
    unsettled.expect_words(&[
        "plain on public.child cannot be validated: 2 rows",
        "same on public.parts_1 cannot be validated: 1 row",
    ]);
    // The other one of that name is settled; the partitions keep theirs, and new rows are checked.
    let left = "child plain f, other same t, parts_1 same f, parts_2 same t";
    assert_eq!(referencing(&client, "t").await, left);
    client.batch_execute("insert into parts values (1, 1004)").await.unwrap_err();
    client.batch_execute("delete from child where t > 1000; delete from parts where t > 1000").await.unwrap();
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(referencing(&client, "t").await, before);
    let comment = "pg_constraint where conrelid = 'parts'::regclass and obj_description(oid, 'pg_constraint') = 'whole'";
    assert_eq!(count(&client, comment).await, 1);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(cluster.psql(DB, "select count(*) from pg_class where relname like 'projh%'").trim(), "0");
}

/// The table's owner, whom the server lets validate the key, does not see the rows that it points at, or that it is on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_where_row_security_is_forced_is_validated() {
    const BLUE: &str = "
create role low; grant usage, create on schema public to low; set role low;
create table people (id int primary key, tenant name not null default current_user, boss int references people);
create table visits (id int primary key, person int not null references people on delete cascade);
create table rooms (id int primary key); create table beds (id int primary key, room int references rooms, person int references people);
alter table people enable row level security, force row level security;
alter table rooms enable row level security, force row level security;
create policy mine on people using (tenant = current_user); create policy none on rooms using (false);
reset role;
insert into people select g, 'somebody', 1 from generate_series(1, 50) g; insert into visits select g, g from generate_series(1, 50) g;
insert into rooms select generate_series(1, 5); insert into beds select g, 1 + g % 5, g from generate_series(1, 50) g; analyze;";
    const PLAN: &str = "
version: 1
name: forced
settings: {workers: 1, soak: 1h}
tables:
  - {table: public.people, partition_by: {hash: id, partitions: 2}}
  - {table: public.beds, add_columns: [\"note text\"]}
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    let is_valid = "select bool_and(convalidated) and count(*) >= 4 from pg_constraint
                    where contype = 'f' and conparentid = 0 and connamespace = 'public'::regnamespace";
    for _ in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert!(client.query_one(is_valid, &[]).await.unwrap().get::<_, bool>(0));
        program.run("rollback", &[]).expect_code(6);
        assert!(client.query_one(is_valid, &[]).await.unwrap().get::<_, bool>(0));
    }
    // Rows that point at no row are counted all the same.
    client
        .batch_execute("set session_replication_role = replica; insert into visits values (99, 99); reset session_replication_role")
        .await
        .unwrap();
    program.run("rollback", &["--drop-green"]).expect_code(6);
    let refused = program.run("check", &[]).expect_code(3);
    assert!(
        refused.refusals()[0]["what"].as_str().unwrap().contains("1 row points at no row"),
        "{}",
        refused.stdout
    );
}
