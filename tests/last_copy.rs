//! Whoever drops the table that is not live looks whether the live one is there, and is the run's own: no command drops
//! the only copy of a table's rows, and a run whose table is gone can be ended all the same.

use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, Finished, home, stage};

const T: &str = "create table t (id int primary key, at date not null, v int, note varchar(20));
    insert into t select g, date '2026-01-01' + g % 59, g, 'n' || g from generate_series(1, 3000) g; analyze t;";
const PARTITIONED: &str = "
    create table t (id int, at date not null, v int, note varchar(20), primary key (id, at)) partition by range (at);
    create table old_1 partition of t for values from ('2026-01-01') to ('2026-02-01');
    create table old_2 partition of t default;
    create statistics t_stat on v, note from t;
    insert into t select g, date '2026-01-01' + g % 59, g, 'n' || g from generate_series(1, 3000) g; analyze t;";
const OTHER: &str = "create table other (id int primary key, at date not null);
    insert into other select g, '2026-01-15' from generate_series(1, 50) g; analyze other;";

fn plan(settings: &str) -> String {
    format!(
        "
version: 1
name: last
settings: {{workers: 1, {settings}}}
tables:
  - table: public.t
    partition_by: {{range: at, every: 1 month, ahead: 1}}
    primary_key: [id, at]
    columns: {{v: {{type: bigint}}}}
"
    )
}

const SECOND: &str = "  - table: public.other
    partition_by: {range: at, every: 1 month, ahead: 1}
    primary_key: [id, at]
";

async fn rows(client: &Client, of: &str) -> i64 {
    client.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap().get(0)
}

fn end(finished: &Finished) -> (String, String) {
    let end = finished.events_of("end")[0];
    let text = |name: &str| end[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("next"))
}

/// The command is refused, says so, and drops nothing; the copy is brought back as it says, and the run is ended.
async fn refused(client: &Client, program: &Bluegreen, side: &str, commands: &[&[&str]], code: i32) {
    let kept = format!("{}.t", home(client, side).await);
    let status = program.run("status", &[]).expect_code(0);
    let state = status.events_of("status")[0]["state"].as_str().unwrap().to_owned();
    let mut said = vec![state];
    let last =
        |program: &Bluegreen| program.run("status", &[]).events_of("status")[0]["orchestrator"].clone();
    let taken = last(program);
    let mut back = String::new();
    for arguments in commands {
        let (command, arguments) = arguments.split_first().unwrap();
        let refused = program.run(command, arguments).expect_code(3);
        assert!(refused.error().starts_with("nothing was dropped: "), "{}", refused.error());
        let (state, next) = end(&refused);
        said.push(state);
        assert!(next.contains("set schema \"public\"; then projh-bluegreen "), "{next}");
        let sql = next.split_once("rename public.t; ").map_or(next.as_str(), |(_, sql)| sql);
        back = sql.split_once("; then ").unwrap().0.to_owned();
        assert_eq!(rows(client, &kept).await, 3_000, "{command} {arguments:?}");
        assert_eq!(last(program)["since"], taken["since"], "{command} took the run over");
    }
    for state in said {
        assert!(state.contains("public.t is not the run's table any more: it was dropped"), "{state}");
        assert!(state.contains(&format!("the only copy of its rows is {kept}, as of ")), "{state}");
        assert!(!state.contains("is live"), "{state}");
    }
    client.batch_execute(&format!("drop table if exists t; {back}")).await.unwrap();
    assert!(program.run("status", &[]).stdout.contains("it was moved away or dropped"));
    let command: &[&str] =
        if code == 0 { &["finish", "--yes", "--force"] } else { &["rollback", "--drop-green"] };
    let ended = program.run(command[0], &command[1..]).expect_code(code);
    let (state, _) = end(&ended);
    assert!(state.contains("not the run's tables any more") && !state.contains("is live"), "{state}");
    assert_eq!(rows(client, "t").await, 3_000);
    for nothing in ["pg_replication_slots", "pg_publication", "pg_namespace where nspname like 'projh_bg%'"] {
        assert_eq!(rows(client, nothing).await, 0, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_keeps_blue_when_green_was_dropped() {
    for (blue, replace) in [(T, ""), (PARTITIONED, ""), (T, "create table t (id int primary key);")] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, blue, &plan("")).await;
        program.execute(&["--yes"]).expect_code(0);
        client.batch_execute(&format!("drop table t; {replace}")).await.unwrap();
        refused(&client, &program, "blue", &[&["finish", "--yes"], &["finish", "--yes", "--force"]], 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarm_of_the_soak_says_where_the_copy_is_and_no_command_drops_it() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, T, &plan("soak: 2h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("drop table t").await.unwrap();
    let alarm = running.finish().expect_code(1);
    assert!(alarm.error().contains("the only copy of its rows is"), "{}", alarm.error());
    assert!(!alarm.error().contains("is live"), "{}", alarm.error());
    assert!(end(&alarm).1.contains("set schema \"public\""), "{}", alarm.stdout);
    refused(&client, &program, "blue", &[&["finish", "--yes", "--force"], &["rollback"]], 0).await;
}

/// By the settings, without anybody's command.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_finishes_by_itself_keeps_blue_too() {
    let cluster = Cluster::start();
    let plan = plan("soak: 1s, finish: after_soak");
    let (client, program) = stage(&cluster, T, &plan).await;
    let crashing = Bluegreen::new(&cluster, "postgres").env("FAILPOINTS", "before finished=return");
    assert_eq!(crashing.plan(&plan).execute(&["--yes"]).code, None);
    client.batch_execute("drop table t").await.unwrap();
    let refused = program.execute(&["--yes"]).expect_code(3);
    assert!(refused.error().contains("the only copy of its rows is"), "{}", refused.error());
    let blue = home(&client, "blue").await;
    assert_eq!(rows(&client, &format!("{blue}.t")).await, 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_keeps_green_when_blue_was_dropped() {
    for swapped in [false, true] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, T, &plan("soak: 2h")).await;
        let until = if swapped { "settle" } else { "verify" };
        program.execute(&["--yes", "--until", until]).expect_code(0);
        if swapped {
            program.run("rollback", &[]).expect_code(6);
        }
        client.batch_execute("drop table t").await.unwrap();
        refused(&client, &program, "green", &[&["rollback"], &["rollback", "--drop-green"]], 6).await;
    }
}

/// Of several tables the one that is gone counts; one that has another name, or is empty, is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_table_of_a_plan_counts_and_one_that_was_renamed_is_there() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &format!("{T}{OTHER}"), &format!("{}{SECOND}", plan(""))).await;
    program.execute(&["--yes"]).expect_code(0);
    client.batch_execute("alter table t rename to t_2; drop table other").await.unwrap();
    let finish = || program.run("finish", &["--yes"]);
    let refused = finish().expect_code(3);
    assert!(refused.error().contains("public.other is not") && !refused.error().contains("public.t "));
    let blue = home(&client, "blue").await;
    assert_eq!(rows(&client, &format!("{blue}.t")).await, 3_000);
    client.batch_execute(&format!("alter table {blue}.other set schema public")).await.unwrap();
    finish().expect_code(0);
    assert_eq!((rows(&client, "t_2").await, rows(&client, "other").await), (3_000, 50));
}

/// Whoever held the run may have ended at that moment: what is refused takes nothing over.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_that_is_refused_once_its_holder_has_ended_leaves_no_trace() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, T, &plan("soak: 2h")).await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    // Holds the run for as long as the command looks.
    let key = "hashtextextended('projh_bluegreen:last', 0)";
    client.batch_execute(&format!("select pg_advisory_lock({key})")).await.unwrap();
    let before = rows(&client, "projh_bluegreen.fact").await;
    let slow = Bluegreen::new(&cluster, "postgres").env("FAILPOINTS", "finish asked=sleep(4000)");
    let slow = slow.plan(&plan("soak: 2h"));
    let finish = slow.spawn("finish", &["--yes"]);
    let seen = "select exists (select from pg_stat_activity where application_name like 'projh-bluegreen%')";
    eventually(&client, seen).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    client.batch_execute(&format!("select pg_advisory_unlock({key})")).await.unwrap();
    let refused = finish.finish().expect_code(2);
    assert!(refused.error().contains("has not been swapped yet"), "{}", refused.error());
    assert_eq!(rows(&client, "projh_bluegreen.fact").await, before);
}

/// The journals of earlier versions do not have green's OID.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_oid_the_table_is_known_by_its_name() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, T, &plan("")).await;
    program.execute(&["--yes"]).expect_code(0);
    let forget = "update projh_bluegreen.fact set fact = fact #- '{lanes,0,green_oid}' where fact->>'fact' = 'prepared'";
    assert_eq!(client.execute(forget, &[]).await.unwrap(), 1);
    client.batch_execute("alter table t rename to t_2").await.unwrap();
    program.run("finish", &["--yes"]).expect_code(3);
    client.batch_execute("alter table t_2 rename to t").await.unwrap();
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(rows(&client, "t").await, 3_000);
}
