//! What partitions have of the table's own foreign keys: a rollback gives it back.

use tokio_postgres::Client;

use crate::support::{Cluster, stage};

const SCHEMA: &str = "
create table other (id int primary key); insert into other select generate_series(1, 10);
create table t (id int primary key, o int) partition by range (id);
create table t_low partition of t for values from (0) to (100);
create table t_mid (id int primary key, o int constraint \"own name\" references other);
create table t_high partition of t for values from (200) to (300) partition by range (id);
create table t_high_1 partition of t_high for values from (200) to (300);
alter table t add constraint t_other foreign key (o) references other; alter table t attach partition t_mid for values from (100) to (200);
create table t_top (id int primary key, o int constraint top_name references other) partition by range (id);
create table t_top_low (id int not null, o int) partition by range (id); create table t_top_1 partition of t_top_low for values from (300) to (350);
alter table t_top_low add constraint low_name foreign key (o) references other; create table t_top_2 partition of t_top for values from (350) to (400);
alter table t_top attach partition t_top_low for values from (300) to (350); alter table t attach partition t_top for values from (300) to (400);
insert into t select g, 1 + g % 10 from generate_series(1, 390) g;
comment on constraint t_other on t is 'of all'; comment on constraint t_other on t_low is 'of the low ones';
comment on constraint \"own name\" on t_mid is 'of those in the middle'; comment on constraint t_other on t_high is 'of a partitioned one';
comment on constraint top_name on t_top is 'of the top ones'; comment on constraint low_name on t_top_low is 'of the low ones of these';
";
const PLAN: &str = "
version: 1
name: derived
settings: {workers: 1, soak: 1h}
tables:
  - table: t
    partition_by: {hash: id, partitions: 2}
";

async fn keys(client: &Client) -> String {
    let sql = "select string_agg(concat_ws(' ', conrelid::regclass, conname, convalidated, coninhcount, conislocal, conparentid <> 0,
        obj_description(oid, 'pg_constraint')), E'\\n' order by conrelid::regclass::text, conname)
        from pg_constraint where contype = 'f' and conrelid in (select relid from pg_partition_tree('t'))";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn there_and_back(more: &str) {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &format!("{SCHEMA}{more}"), PLAN).await;
    let before = keys(&client).await;
    for _ in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert_ne!(keys(&client).await, before);
        program.run("rollback", &[]).expect_code(6);
        assert_eq!(keys(&client).await, before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_comments_come_back() {
    there_and_back("").await;
}

/// A partitioned table can have one from version 18 on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_not_valid_is_the_tables_again() {
    let cluster = Cluster::start();
    if cluster.psql("postgres", "show server_version_num").trim() < "180000" {
        return;
    }
    drop(cluster);
    there_and_back("alter table t add constraint unchecked foreign key (id) references other not valid;")
        .await;
}
