//! Constraint triggers that were renamed: the constraint, which SET CONSTRAINTS names, kept the name that both had.

use tokio_postgres::Client;

use crate::support::{Cluster, stage, there_and_back};

const SCHEMA: &str = "
create table t (id int primary key, note text); insert into t select g, '' from generate_series(1, 100) g; create table told (what text);
create function tell() returns trigger language plpgsql as 'begin insert into told values (tg_name); return null; end';
create constraint trigger made after insert on t deferrable initially deferred for each row execute function tell();
alter trigger made on t rename to \"Renamed one\"; comment on constraint made on t is 'of the constraint';
create constraint trigger first after insert on t deferrable initially deferred for each row execute function tell();
alter trigger first on t rename to second; create trigger first after delete on t for each row execute function tell();
";
const PLAN: &str = "
version: 1
name: renamed
settings: {workers: 1, soak: 1h}
tables:
  - table: t
";

async fn names(client: &Client) -> String {
    let sql = "select string_agg(concat_ws(' ', tgname, conname, tgenabled, obj_description(k.oid, 'pg_constraint')), ', ' order by tgname)
        from pg_trigger g left join pg_constraint k on k.oid = tgconstraint where tgrelid = 't'::regclass and not tgisinternal";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// What is told before the end of the transaction.
async fn told(client: &Client) -> String {
    let sql = "begin; set constraints made immediate; delete from told; insert into t values (1000, '')";
    client.batch_execute(sql).await.unwrap();
    let said = client.query_one("select string_agg(what, ' ') from told", &[]).await.unwrap().get(0);
    client.batch_execute("rollback").await.unwrap();
    said
}

async fn keeps_both_names(plan: &str) {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, plan).await;
    let before = names(&client).await;
    assert_eq!(before, "Renamed one made O of the constraint, first O, second first O");
    assert_eq!(told(&client).await, "Renamed one");
    there_and_back(&program, async |command| {
        assert_eq!(names(&client).await, before, "{command}");
        assert_eq!(told(&client).await, "Renamed one", "{command}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_keeps_both_names() {
    keeps_both_names(PLAN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_partitioned_table_keeps_both_names() {
    let cluster = Cluster::start();
    if cluster.psql("postgres", "show server_version_num").trim() < "150000" {
        // There, a renaming does not reach the partitions.
        let plan = format!("{PLAN}    partition_by: {{hash: id, partitions: 2}}\n");
        let (_client, program) = stage(&cluster, SCHEMA, &plan).await;
        program.run("check", &[]).expect_code(3);
        return;
    }
    drop(cluster);
    keeps_both_names(&format!("{PLAN}    partition_by: {{hash: id, partitions: 2}}\n")).await;
}
