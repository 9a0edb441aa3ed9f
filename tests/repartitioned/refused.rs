//! What a partition has of its own is refused by name; partitions that come and go during a run are noticed.

use crate::support::bluegreen::tells;
use crate::support::{Cluster, stage};

const SCHEMA: &str = "
create role other; grant create on schema public to other;
create table t (id int, at date, n int not null default 0, primary key (id, at)) partition by range (at);
create table t_1 partition of t for values from ('2026-01-01') to ('2026-02-01');
create table t_2 partition of t for values from ('2026-02-01') to ('2026-03-01');
create table t_rest partition of t default;
insert into t select g, date '2026-01-01' + g % 50, g from generate_series(1, 1000) g;
create function f() returns trigger language plpgsql as 'begin return null; end';
create schema s; create table kind (id int primary key);
";

const PLAN: &str = "
version: 1
name: refused
settings: {workers: 1, soak: 1h}
tables:
  - table: t
    partition_by: {range: at, every: 2 month, from: 2026-01-01, until: 2026-07-01}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_partition_has_of_its_own_is_refused_by_name() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let own = "one of its partitions is, or has, what its parent does not give it";
    let cases = [
        ("create view v as select * from t_1", own, "public.v would stay with the old partition"),
        ("create materialized view v as select * from t_1", own, "public.v would stay"),
        ("create function g(t_1) returns int language sql return 1", own, "g(public.t_1)"),
        (
            "create trigger own after insert on t_2 for each row execute function f()",
            own,
            "trigger own on public.t_2",
        ),
        ("create rule own as on insert to t_2 do also notify x", own, "rule own on table public.t_2"),
        ("alter table t_2 add constraint few check (n < 10000)", own, "constraint few on public.t_2"),
        (
            "alter table t_2 add constraint k foreign key (n) references kind not valid",
            "foreign key \"k\" is of partition public.t_2 alone",
            "alter table public.t_2 drop constraint \"k\"",
        ),
        ("create unique index once on t_2 (n)", own, "unique index once on public.t_2"),
        (
            "create table c (id int, at date, foreign key (id, at) references t_2)",
            own,
            "c_id_at_fkey on public.c",
        ),
        ("create publication p for table t_1", own, "p would stay"),
        ("alter table t_2 owner to other", own, "public.t_2, which belongs to other"),
        (
            "alter table t_2 replica identity full",
            "another replica identity",
            "alter table public.t_2 replica identity",
        ),
        ("alter table t_1 set unlogged", "it is unlogged: public.t_1", "alter table public.t_1 set logged"),
        ("alter table t_1 set schema s; alter table t_2 rename to t_1", "two of its partitions", "rename to"),
        ("create table t_p2026_01 (id int)", "already has a relation or type", "another `name` or `schema`"),
    ];
    for (ddl, what, hint) in cases {
        let db = "postgres";
        cluster.psql(db, "create database one template template0");
        let other = cluster.client("one").await;
        other.batch_execute(&SCHEMA.replace("create role other; ", "")).await.unwrap();
        other.batch_execute(ddl).await.unwrap();
        let checked =
            crate::support::Bluegreen::new(&cluster, "one").plan(PLAN).run("check", &[]).expect_code(3);
        let found = checked.refusals();
        assert!(found.iter().any(|finding| tells(finding, what, hint)), "{ddl}: {found:#?}");
        drop(other);
        cluster.psql(db, "drop database one (force)");
    }
    program.run("check", &[]).expect_code(0);
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_come_and_go_are_noticed() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let third = "create table t_3 partition of t for values from ('2026-03-01') to ('2026-04-01')";
    let cases = [
        (third, "partition public.t_3 is new", "drop table t_3"),
        (
            "alter table t detach partition t_2",
            "partition public.t_2 was dropped",
            "alter table t attach partition t_2 for values from ('2026-02-01') to ('2026-03-01')",
        ),
    ];
    for (ddl, what, undo) in cases {
        program.execute(&["--yes", "--until", "verify"]).expect_code(0);
        client.batch_execute(ddl).await.unwrap();
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        assert!(stopped.error().contains(what), "{}", stopped.error());
        client.batch_execute(undo).await.unwrap();
        program.run("rollback", &[]).expect_code(6);
    }
    // The stream does not carry it, the comparison shows it.
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    client.batch_execute("create table kept as table t_2; truncate t_2").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(4);
    client.batch_execute("insert into t select * from kept").await.unwrap();
    program.run("rollback", &[]).expect_code(6);

    // Green may get more; not fewer.
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let more = "create table t_more partition of t for values from ('2026-07-01') to ('2026-08-01');
                insert into t values (5000, '2026-07-05', 1)";
    client.batch_execute(more).await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    let kept = client.query_one("select count(*) from t where id = 5000", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 1);
}
