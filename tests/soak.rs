//! The way back after the swap: what clients write to green is in blue, and no swap in either direction loses a write.

mod again;
mod broken;
mod edited;
mod finish;
mod kept;
mod many;
mod old_shape;
mod privileges;
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

    // Swaps back, and drops green at once.
    program.run("rollback", &["--drop-green"]).expect_code(6);
    assert_eq!(count(&client, "t where note <> 'the last of green'").await, 0);
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

/// A table that stays in one piece beside one that is partitioned: their changes are in one publication.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_table_has_a_way_back_too() {
    for tables in ["", "  - table: public.t\n    partition_by: {hash: id, partitions: 3}\n"] {
        let cluster = Cluster::start();
        let setup = format!(
            "{BLUE} create table plain (id int primary key, note text); insert into plain values (1, 'one');"
        );
        let plan = format!(
            "{{version: 1, name: both}}\nsettings: {{soak: 1h}}\ntables:\n  - table: public.plain\n    add_columns: [more int]\n{tables}"
        );
        let plan = plan.replace("{version: 1, name: both}", "version: 1\nname: both");
        let (client, program) = stage(&cluster, &setup, &plan).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        client
            .batch_execute("update plain set note = 'of green'; insert into plain values (2, 'two')")
            .await
            .unwrap();
        // Two that ask for the same get the same, and green is kept.
        let other = program.spawn("rollback", &[]);
        let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
        program.run("rollback", &[]).expect_code(6);
        other.finish().expect_code(6);
        running.finish().expect_code(6);
        assert_eq!(count(&client, "plain where note in ('of green', 'two')").await, 2);
        assert_eq!(count(&client, &format!("projh_bg_{run}_green.plain")).await, 2, "green is kept");
    }
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
        // Killed between two bursts of the stream, or in one.
        if cycle == 0 {
            let sql = "pg_replication_slots where slot_name like '%\\_back' and not active";
            until("the stream is closed for a while", async || count(&client, sql).await == 1).await;
        }
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
    for fault in ["the server", "apply", "stream", "journal", "pace"] {
        client.batch_execute(&format!("update t set note = 'before {fault}' where id = 1")).await.unwrap();
        if fault == "the server" {
            cluster.kill9();
            cluster.restart();
            client = cluster.client(DB).await;
        } else {
            // After the fault before, it may be on its way.
            let is_there =
                format!("select count(*) > 0 from pg_stat_activity where application_name like '%{fault}'");
            eventually(&client, &is_there).await;
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
