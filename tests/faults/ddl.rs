//! What others do to the tables in the soak: some of it is no matter, the rest is an alarm.

use tokio_postgres::Client;

use crate::support::waiting::until;
use crate::support::{Cluster, home, stage};

const SETUP: &str = "
create table public.t (id bigint primary key, at date not null, note text, more int);
create index t_note on public.t (note);
insert into public.t select g, date '2026-01-01' + g % 55, 'n' || g, g from generate_series(1, 300) g;
analyze public.t;";
const PLAN: &str = "
version: 1
name: ddl
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
";

/// Blue has what is written to green from now on.
async fn follows(client: &Client, blue: &str, note: &str) {
    client.execute("update t set note = $1 where id = 1", &[&note]).await.unwrap();
    until("blue follows", async || {
        let sql = format!("select count(*) = 1 from {blue}.t where note = $1");
        client.query_one(&sql, &[&note]).await.unwrap().get(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn maintenance_of_either_table_is_no_matter_in_the_soak() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let blue = home(&client, "blue").await;
    for sql in [
        "vacuum full t_p1",
        "vacuum full BLUE.t",
        "reindex table t",
        "reindex table BLUE.t",
        "reindex table concurrently BLUE.t",
        "analyze t, BLUE.t",
    ] {
        client.batch_execute(&sql.replace("BLUE", &blue)).await.unwrap();
        follows(&client, &blue, sql).await;
    }
    // It makes indexes of the partitions that have another name for as long as it waits for somebody.
    let others = [cluster.client("postgres").await, cluster.client("postgres").await];
    others[0].batch_execute("begin isolation level repeatable read; select count(*) from t").await.unwrap();
    let reindexed = others[1].batch_execute("reindex table concurrently t");
    let meanwhile = async {
        let made = "select count(*) > 0 from pg_class where relname ~ '_ccnew'";
        until("it is under way", async || client.query_one(made, &[]).await.unwrap().get(0)).await;
        program.run("verify", &[]).expect_code(0);
        follows(&client, &blue, "meanwhile").await;
        others[0].batch_execute("commit").await.unwrap();
    };
    tokio::join!(meanwhile, reindexed).1.unwrap();
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    let rows: i64 = client.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_on_the_table_that_is_not_live_is_an_alarm_at_once_and_can_be_undone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    let mut running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let blue = home(&client, "blue").await;
    let again = "insert into BLUE.t select id, at, note, more from t";
    for (sql, word, undo) in [
        ("alter table BLUE.t add column x int", "column x is new", "alter table BLUE.t drop column x"),
        ("drop index BLUE.t_note", "index t_note was dropped", "create index t_note on BLUE.t (note)"),
        (
            "alter table BLUE.t alter column more type bigint",
            "column more was changed",
            "alter table BLUE.t alter column more type int",
        ),
        ("truncate BLUE.t", "somebody else than projh-bluegreen has written to it", again),
    ] {
        let of_blue = |sql: &str| sql.replace("BLUE", &blue);
        client.batch_execute(&of_blue(sql)).await.unwrap();
        let alarm = running.finish().expect_code(1);
        println!("{sql}: {}", alarm.error());
        assert!(alarm.error().contains("blue no longer follows it") && alarm.error().contains(word));
        // It is as true for whoever wants to go back.
        let refused = program.run("rollback", &[]);
        assert!([Some(1), Some(4)].contains(&refused.code), "{}", refused.stdout);
        assert!(refused.events_of("swapped").is_empty(), "{}", refused.stdout);
        client.batch_execute(&of_blue(undo)).await.unwrap();
        running = program.spawn("execute", &["--yes"]);
        running.wait_for("verified");
        running.wait_for("soaking");
        follows(&client, &blue, sql).await;
    }
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    let sql = "select count(*) from t, pg_attribute where attrelid = 't'::regclass and attname = 'more' and atttypid = 'int4'::regtype";
    let rows: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(rows, 300);
}

/// What somebody writes to green before the swap stays in its stream, so that the way back would have it, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_green_before_the_swap_stops_the_run_which_can_only_be_rolled_back() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let green = home(&client, "green").await;
    client.batch_execute(&format!("update {green}.t set id = id where id = 1")).await.unwrap();
    for _ in 0..2 {
        let stopped = program.execute(&["--yes"]).expect_code(1);
        assert!(
            stopped.error().contains("somebody else than projh-bluegreen has written to it"),
            "{}",
            stopped.stdout
        );
        let next = stopped.events_of("end")[0]["next"].as_str().unwrap();
        assert!(next.starts_with("projh-bluegreen rollback"), "{next}");
    }
    program.run("rollback", &[]).expect_code(6);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
}

/// A column that was dropped does not come back as it was: the alarm stays, and green is what clients have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_dropped_in_the_soak_from_either_table_is_an_alarm_for_good() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    for (table, says) in [("BLUE.t", "blue"), ("public.t", "green")] {
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        let blue = home(&client, "blue").await;
        let drop = format!("alter table {table} drop column more").replace("BLUE", &blue);
        client.batch_execute(&drop).await.unwrap();
        let alarm = running.finish().expect_code(1);
        println!("{says}: {}", alarm.error());
        assert!(alarm.error().contains("column more was dropped"), "{}", alarm.error());
        // Clients write on.
        client.batch_execute("update t set note = 'later' where id < 20").await.unwrap();
        let status = program.run("status", &[]).expect_code(0);
        assert!(status.events_of("status")[0]["broken"]["why"].as_str().unwrap().contains("column more"));
        assert!(program.run("rollback", &[]).expect_code(1).events_of("swapped").is_empty());
        program.run("finish", &["--yes"]).expect_code(2).expect_words(&["the way back does not verify"]);
        program.run("finish", &["--yes", "--force", "--now"]).expect_code(0);
        let rows: i64 =
            client.query_one("select count(*) from t where note = 'later'", &[]).await.unwrap().get(0);
        assert_eq!(rows, 19, "{says}");
        client.batch_execute(&format!("drop table t; {SETUP}")).await.unwrap();
    }
}

/// What clients wrote while there was another column has it in the stream for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_came_and_went_in_the_soak_is_an_alarm_for_good_and_since_then() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("alter table t add column extra int default 5").await.unwrap();
    running.finish().expect_code(1);
    let broken = || program.run("status", &[]).events_of("status")[0]["broken"].clone();
    let first = broken();
    client
        .batch_execute("update t set note = 'later' where id < 20; alter table t drop column extra")
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    for command in ["execute", "rollback"] {
        let args: &[&str] = if command == "execute" { &["--yes"] } else { &[] };
        let stopped = program.run(command, args).expect_code(1);
        assert!(stopped.error().contains("while there was a column `extra` more"), "{}", stopped.error());
        assert!(
            stopped.stdout.contains("If that is done, clients wrote rows while there were others"),
            "{}",
            stopped.stdout
        );
        let now = broken();
        assert!(now["why"] != first["why"] && now["since"] == first["since"], "{now}, and before {first}");
    }
    program.run("finish", &["--yes", "--force", "--now"]).expect_code(0);
    assert_eq!(
        client.query_one("select count(*) from t where note = 'later'", &[]).await.unwrap().get::<_, i64>(0),
        19
    );
}

/// Green before the swap is what clients would get.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_on_green_before_the_swap_stops_the_run_and_can_be_undone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, PLAN).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    let green = home(&client, "green").await;
    // Also on a partition, and before green's definition is complete.
    let put = "create function f() returns trigger language plpgsql as 'begin return null; end';
               create trigger theirs before insert on t_p1 for each row execute function f();
               create policy open on t_p2 using (true); create rule ignored as on update to t_p1 do instead nothing;
               grant select on GREEN.t to public; alter table t_p2 add constraint few check (id < 100);";
    client.batch_execute(&put.replace("GREEN", &green)).await.unwrap();
    let stopped = program.execute(&["--yes", "--until", "verify"]).expect_code(1);
    let what = [
        "trigger theirs on public.t_p1 is new",
        "policy open on public.t_p2 is new",
        "rule ignored on public.t_p1 is new",
        "privileges of PUBLIC on",
        "constraint few on public.t_p2 is new",
    ];
    stopped.expect_words(&what);
    let undo = "drop function f cascade; drop policy open on t_p2; drop rule ignored on t_p1;
                revoke select on GREEN.t from public; alter table t_p2 drop constraint few";
    client.batch_execute(&undo.replace("GREEN", &green)).await.unwrap();
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, word, undo) in [
        (
            "grant update (note) on t_p1 to public",
            "privileges of PUBLIC on column note of public.t_p1",
            "revoke update (note) on t_p1 from public",
        ),
        ("drop index GREEN.t_note", "index t_note was dropped", "create index t_note on GREEN.t (note)"),
        (
            "alter table GREEN.t alter column more type bigint",
            "column more was changed",
            "alter table GREEN.t alter column more type int",
        ),
        ("alter table GREEN.t add column x int", "column x is new", "alter table GREEN.t drop column x"),
        (
            "alter table GREEN.t force row level security",
            "was forced",
            "alter table GREEN.t no force row level security",
        ),
    ] {
        client.batch_execute(&sql.replace("GREEN", &green)).await.unwrap();
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        println!("{sql}: {}", stopped.error());
        assert!(
            stopped.error().contains(word) && stopped.events_of("swapped").is_empty(),
            "{}",
            stopped.stdout
        );
        client.batch_execute(&undo.replace("GREEN", &green)).await.unwrap();
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
}

/// Without a soak nobody reads a stream of green.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_green_that_is_emptied_before_the_swap_is_not_swapped() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SETUP, &PLAN.replace("soak: 1h", "soak: 0s")).await;
    let running = program.spawn("execute", &["--hold-swap"]);
    running.wait_for_notice("the swap is held");
    client.batch_execute("truncate t_p1").await.unwrap();
    let answered = program.run("swap", &[]);
    let found = running.finish().expect_code(4);
    assert_eq!(answered.code, Some(4));
    assert!(!found.events_of("difference").is_empty());
    let sql = "select count(*) from t";
    let rows: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(rows, 300, "blue is live");
}

/// For a moment, a slot that is being created reserves nothing; a physical one does so until it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_being_created_is_not_taken_for_a_lost_one() {
    let cluster = Cluster::start();
    let plan = PLAN.replace(", soak: 1h", "");
    let (client, program) = stage(&cluster, SETUP, &plan).await;
    program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    let create =
        "select pg_create_physical_replication_slot('projh_bg_' || run || '_back') from projh_bluegreen.run";
    client.batch_execute(create).await.unwrap();
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
}
