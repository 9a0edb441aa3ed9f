//! The way back after the swap: what clients write to green is in blue, and no swap in either direction loses a write.

mod requests;

use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::{Client, Config};

use crate::oracle::{Load, own};
use crate::support::waiting::{eventually, until};
use crate::support::{Bluegreen, Cluster, home, stage};

const DB: &str = "postgres";

/// Columns that are renamed and retyped, an identity that is always generated, a serial, a foreign key, and grants.
const BLUE: &str = "
create table public.owners (id int primary key);
insert into public.owners select generate_series(1, 10);
create table public.t (
    id bigint generated always as identity primary key, at date not null, hours numeric(9,2) not null, email text,
    owner int references public.owners, note text, big text not null, number serial);
create role reader; grant select on public.t to reader; grant update (note) on public.t to reader;
alter table public.t alter big set storage external;
insert into public.t (at, hours, email, owner, note, big)
select date '2026-01-01' + g % 55, g / 4.0, 'e' || g, 1 + g % 10, 'n' || g, repeat(md5(g::text), 100)
from generate_series(1, 300) g;
analyze public.t;";

fn plan(soak: &str) -> String {
    format!(
        "
version: 1
name: back
settings: {{workers: 2, soak: {soak}}}
tables:
  - table: public.t
    partition_by: {{range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}}
    primary_key: [id, at]
    columns:
      hours: {{rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}}
    add_columns: [\"seen text default 'no'\"]
"
    )
}

/// What the catalog says of a table, and what a rollback must restore.
async fn definition(client: &Client) -> String {
    let sql = "select string_agg(line, E'\\n' order by line) from (
        select format('column %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attacl) as line
          from pg_attribute where attrelid = 'public.t'::regclass and attnum > 0
        union all select pg_get_constraintdef(oid) || convalidated from pg_constraint where conrelid = 'public.t'::regclass
        union all select pg_get_indexdef(indexrelid) from pg_index where indrelid = 'public.t'::regclass
        union all select 'owned ' || pg_get_serial_sequence('public.t', 'id') || pg_get_serial_sequence('public.t', 'number')
        union all select 'acl ' || acl::text from pg_class, unnest(relacl) as acl where oid = 'public.t'::regclass
    ) as s";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_is_undone_and_made_again_without_a_new_copy_and_no_write_is_lost() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let before = definition(&client).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let green = "insert into t (at, minutes, big, owner) values ('2026-01-15', 90, 'of green', 3);
                 update t set at = '2026-02-20', note = 'moved' where id = 1; delete from t where id = 2;
                 update t set id = default where id = 4; update t set seen = 'yes' where id = 5";
    client.batch_execute(green).await.unwrap();

    let back = program.run("rollback", &[]).expect_code(6);
    assert_eq!(back.events_of("swapped").len(), 1);
    assert_eq!(definition(&client).await, before);
    assert_eq!(count(&client, "t where big = 'of green' and hours = 1.5 and owner = 3").await, 1);
    assert_eq!(count(&client, "t where note = 'moved' and at = '2026-02-20' and hours = 0.25").await, 1);
    assert_eq!(count(&client, "t where id in (2, 4)").await, 0);
    assert_eq!(count(&client, "t").await, 300);
    // An identity goes on above what green gave, and a serial where green left it.
    let blue = "insert into t (at, hours, big) values ('2026-01-16', 1.25, 'of blue');
                update t set note = 'blue' where id = 3";
    client.batch_execute(blue).await.unwrap();
    assert_eq!(
        count(&client, "t where big = 'of blue' and id > (select max(id) from t where big <> 'of blue')")
            .await,
        1
    );

    let again = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(again.events_of("round").len(), 0, "nothing is copied again");
    assert_eq!(count(&client, "t where big = 'of blue' and minutes = 75").await, 1);
    assert_eq!(count(&client, "t where note = 'blue'").await, 1);
    assert_eq!(count(&client, "t where seen = 'yes'").await, 1, "what only green has, it keeps");
    client.batch_execute("update t set note = 'the last of green'").await.unwrap();

    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where note <> 'the last of green'").await, 0);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(definition(&client).await, before);
    for nothing in ["pg_replication_slots", "pg_publication", "pg_namespace where nspname like 'projh_bg%'"] {
        assert_eq!(count(&client, nothing).await, 0, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_follows_while_the_soak_lasts_and_then_the_way_back_is_closed() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("4s")).await;
    let running = program.spawn("execute", &["--yes"]);
    let soaking = running.wait_for("soaking");
    assert!(soaking["seconds"].as_f64().unwrap() > 1.0, "{soaking}");
    client
        .batch_execute("insert into t (at, minutes, big) values ('2026-01-15', 90, 'of green')")
        .await
        .unwrap();
    let blue = home(&client, "blue").await;
    eventually(&client, &format!("select count(*) = 1 from {blue}.t where big = 'of green'")).await;
    running.finish().expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
    assert_eq!(count(&client, "pg_publication").await, 0);
    program.run("rollback", &[]).expect_code(2).expect_words(&["its way back is closed"]);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(count(&client, "pg_namespace where nspname like 'projh_bg%'").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_blue_cannot_hold_is_an_alarm_at_once_and_ends_when_it_is_gone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    // numeric(9,2) has no room for it.
    client.batch_execute("update t set minutes = 6000000000 where id = 7").await.unwrap();
    let broken = running.finish().expect_code(1);
    assert!(broken.error().contains("blue no longer follows it"), "{}", broken.error());
    assert!(program.run("status", &[]).stdout.contains("there is no way back as long as that lasts"));
    assert_eq!(program.run("rollback", &[]).code, Some(1), "it says so again");
    let live = "select count(*) = 1 from pg_partitioned_table where partrelid = 'public.t'::regclass";
    eventually(&client, live).await;
    program
        .run("finish", &["--yes"])
        .expect_code(2)
        .expect_words(&["blue no longer follows green", "--as-is"]);

    // Where both changes are applied together, only the last value counts.
    client.batch_execute("update t set minutes = 60 where id = 7").await.unwrap();
    let mended = program.spawn("execute", &["--yes"]);
    mended.wait_for("soaking");
    mended.terminate();
    mended.finish().expect_code(7);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where id = 7 and hours = 1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_on_green_is_an_alarm_at_once() {
    for ddl in [
        "alter table t add column more int",
        "create view v as select id from t",
        "grant delete on t to reader",
        "alter publication PUB set (publish = 'insert')",
    ] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        let publication: String = client
            .query_one("select pubname::text from pg_publication where pubname like '%_back'", &[])
            .await
            .unwrap()
            .get(0);
        client.batch_execute(&ddl.replace("PUB", &publication)).await.unwrap();
        running.finish().expect_code(1).expect_words(&["blue no longer follows it"]);
        let refused = program.run("rollback", &[]);
        assert_eq!(refused.code, Some(1), "{ddl}: {}", refused.stdout);
        assert!(refused.events_of("swapped").is_empty(), "{ddl}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_writes_to_blue_is_noticed() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let blue = home(&client, "blue").await;
    client.batch_execute(&format!("update {blue}.t set note = 'by hand' where id = 9")).await.unwrap();
    running.finish().expect_code(1).expect_words(&["blue no longer follows it"]);
}

/// Swaps in both directions under load, with the program killed in the soak.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_by_swaps_there_and_back_under_load() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 5_000).await.unwrap();
    let plan = own::plan("cycles").replace("  workers: 2\n", "  workers: 2\n  soak: 1h\n");
    let program = Bluegreen::new(&cluster, DB).plan(&plan);
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let load = Load::new(&config, own::tables()).clients(6).pause(Duration::from_millis(3));
    let load = load.start(&client).await.unwrap();
    load.answers(500).await;
    for cycle in 0..3 {
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        load.answers(500).await;
        running.kill9();
        load.answers(300).await;
        if cycle == 1 {
            let resumed = program.spawn("execute", &["--yes"]);
            resumed.wait_for("soaking");
            load.answers(300).await;
            resumed.terminate();
            resumed.finish().expect_code(7);
        }
        program.run("rollback", &[]).expect_code(6);
        load.answers(500).await;
    }
    let outcome = load.stop().await;
    outcome.check(&client).await.unwrap().expect_clean();
    until("blue is live", async || {
        count(&client, "pg_partitioned_table p join pg_class c on c.oid = p.partrelid where c.relnamespace = 'oracle'::regnamespace").await == 0
    })
    .await;
    println!("{} statements, longest stall {:?}", outcome.statements(), outcome.longest_stall());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_to_finish_after_the_soak_drops_blue_by_itself() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("2s, finish: after_soak")).await;
    let finished = program.execute(&["--yes"]).expect_code(0);
    assert!(finished.stdout.contains("blue was dropped"), "{}", finished.stdout);
    assert_eq!(count(&client, "pg_namespace where nspname like 'projh_bg%'").await, 0);
    program.run("rollback", &[]).expect_code(2).expect_words(&["has ended: it was finished"]);
}

/// The server goes away in the soak, and comes back; so do single connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_survives_the_server() {
    let mut cluster = Cluster::builder().setting("fsync", "on").start();
    let (mut client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    for fault in ["the server", "apply", "echo", "stream", "journal", "pace"] {
        client.batch_execute(&format!("update t set note = 'before {fault}' where id = 1")).await.unwrap();
        if fault == "the server" {
            cluster.kill9();
            cluster.restart();
            client = cluster.client(DB).await;
        } else {
            let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like '%' || $1";
            let ended: i64 = client.query_one(sql, &[&fault]).await.unwrap().get(0);
            assert!(ended > 0, "{fault}");
        }
        client.batch_execute(&format!("update t set note = 'after {fault}' where id = 2")).await.unwrap();
        let blue = home(&client, "blue").await;
        let follows =
            format!("select count(*) = 2 from {blue}.t where note in ('before {fault}', 'after {fault}')");
        eventually(&client, &follows).await;
    }
    running.terminate();
    running.finish().expect_code(7);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where note in ('before pace', 'after pace')").await, 2);
}

/// What clients do to green beside rows: they make partitions, empty the table, use its sequences.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_added_meanwhile_is_no_obstacle() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let sql = "create table t_later partition of t for values from ('2030-01-01') to ('2030-02-01');
               insert into t (at, minutes, big) values ('2030-01-15', 30, 'later');
               select setval('t_number_seq', 5000); insert into t (at, minutes, big) values ('2026-01-15', 30, 'number')";
    client.batch_execute(sql).await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(count(&client, "t where big in ('later', 'number')").await, 2);
    client.batch_execute("insert into t (at, hours, big) values ('2026-01-15', 1, 'of blue')").await.unwrap();
    assert_eq!(count(&client, "t where number = 5002 and big = 'of blue'").await, 1);

    let again = program.spawn("execute", &["--yes"]);
    again.wait_for("soaking");
    client
        .batch_execute("truncate t; insert into t (at, minutes, big) values ('2026-01-15', 30, 'alone')")
        .await
        .unwrap();
    program.run("rollback", &[]).expect_code(6);
    again.finish().expect_code(6);
    assert_eq!(count(&client, "t").await, 1);
}

/// A way back that there is not is refused before anything is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_that_is_not_possible_is_refused_by_check() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    client.batch_execute("update t set hours = 0.11 where id = 5").await.unwrap();
    let lossy = program.run("check", &[]).expect_code(3);
    let finding = lossy.finding("way_back");
    assert!(finding["what"].as_str().unwrap().contains("1 of 300 rows have a value of hours"), "{finding}");
    program.write_plan(&plan("0s"));
    program.run("check", &[]).expect_code(0);
    program.write_plan(&plan("1h").replace("back: 'minutes / 60.0'", "one_way: true"));
    let none = program.run("check", &[]).expect_code(3);
    let what = none.finding("way_back")["what"].as_str().unwrap().to_owned();
    assert!(what.contains("column hours must have a value, and nothing gives one"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rows_are_compared_again_as_often_as_the_plan_says() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h, verify_every: 1s")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let verified = running.wait_for("verified");
    running.wait_until(|event| event["type"] == "verified" && event["lsn"] != verified["lsn"]).unwrap();
    // Behind the stream's back: only a comparison of all rows can find it.
    let blue = home(&client, "blue").await;
    let damage = format!(
        "set session_replication_role = replica; begin; select pg_logical_emit_message(true, 'projh_bluegreen', \
                          (select fact->>'mark' from projh_bluegreen.fact where fact->>'fact' = 'prepared')); \
                          update {blue}.t set note = 'damaged' where id = 9; commit"
    );
    client.batch_execute(&damage).await.unwrap();
    let found = running.finish().expect_code(4);
    assert_eq!(found.events_of("difference").len(), 1);
    assert_eq!(program.run("rollback", &[]).code, Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_a_newer_version_is_refused() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    client.batch_execute("insert into projh_bluegreen.migration (version) values (99)").await.unwrap();
    for command in [&["execute", "--yes"][..], &["rollback"], &["status"]] {
        let refused = program.run(command[0], &command[1..]);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("its schema has version 99"), "{command:?}: {told}");
        assert_eq!(refused.code, Some(3), "{command:?}");
    }
}
