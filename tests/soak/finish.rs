//! The point of no return: what finish verifies before it, and what becomes of blue.

use tokio_postgres::Client;

use super::{BLUE, count, plan};
use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, home, stage};

const ARCHIVE: &str = "create schema archive; create statistics t_stat on at, owner from t;
                       alter table t enable row level security; create policy own on t using (owner = 1);";
const NOTHING_LEFT: [&str; 3] =
    ["pg_replication_slots", "pg_publication", "pg_namespace where nspname like 'projh_bg%'"];

async fn archiving(more: &str) -> (Cluster, Client, Bluegreen) {
    let cluster = Cluster::start();
    let blue = format!("{BLUE}{ARCHIVE}");
    let plan = plan(&format!("1h, archive: {{schema: archive}}{more}"));
    let (client, program) = stage(&cluster, &blue, &plan).await;
    (cluster, client, program)
}

async fn nothing_is_left(client: &Client) {
    for nothing in NOTHING_LEFT {
        assert_eq!(count(client, nothing).await, 0, "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_is_archived_with_what_belongs_to_it_and_for_its_owner_alone() {
    let (_cluster, client, program) = archiving("").await;
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    assert!(
        preview.stdout.contains("closed to clients, and finish moves it to archive.t"),
        "{}",
        preview.stdout
    );
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("update t set note = 'of green' where id = 1").await.unwrap();
    program.run("verify", &[]).expect_code(0);
    // Somebody may read blue while it is there, which is an alarm; in the archive nobody does.
    let blue = home(&client, "blue").await;
    client.batch_execute(&format!("grant select on {blue}.t to reader")).await.unwrap();
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    assert!(preview.stdout.contains("SET SCHEMA \\\"archive\\\""), "{}", preview.stdout);
    let finished = program.run("finish", &["--yes", "--force"]).expect_code(0);
    let state = finished.events.last().unwrap()["state"].as_str().unwrap().to_owned();
    assert!(state.contains("green is live, blue was moved to archive.t;"), "{state}");
    assert!(program.run("status", &[]).stdout.contains("blue was moved to archive.t"));
    nothing_is_left(&client).await;

    assert_eq!(count(&client, "archive.t").await, 300);
    assert_eq!(count(&client, "archive.t where note = 'of green' and hours = 0.25").await, 1);
    let others = "pg_class c, aclexplode(c.relacl) a where relnamespace = 'archive'::regnamespace and a.grantee <> c.relowner";
    assert_eq!(count(&client, others).await, 0);
    let of_columns = "pg_attribute where attrelid = 'archive.t'::regclass and attacl is not null";
    assert_eq!(count(&client, of_columns).await, 0);
    for kept in [
        "pg_statistic_ext where stxnamespace = 'archive'::regnamespace and stxrelid = 'archive.t'::regclass",
        "pg_policy where polrelid = 'archive.t'::regclass",
        "pg_class where oid = 'archive.t_pkey'::regclass",
        "pg_class where oid = 'archive.t_id_seq'::regclass",
        "pg_class where oid = 'archive.t'::regclass and relrowsecurity",
    ] {
        assert_eq!(count(&client, kept).await, 1, "{kept}");
    }
    assert_eq!(
        count(&client, "pg_constraint where conrelid = 'archive.t'::regclass and contype = 'f'").await,
        0
    );
    // The live table depends on nothing in the archive, and the other way round.
    client
        .batch_execute("insert into t (at, minutes, big) values ('2026-01-15', 30, 'later'); drop table t")
        .await
        .unwrap();
    assert_eq!(count(&client, "archive.t").await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archived_table_gets_its_replica_identity_back() {
    let (_cluster, client, program) = archiving("").await;
    let full = "  - table: public.t\n    replica_identity: full\n";
    let plan = plan("1h, archive: {schema: archive}");
    assert!(plan.contains("  - table: public.t\n"));
    program.write_plan(&plan.replace("  - table: public.t\n", full));
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(count(&client, "pg_class where oid = 'archive.t'::regclass and relreplident = 'd'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_cannot_take_blue_is_refused_by_check() {
    let (cluster, client, program) = archiving("").await;
    let refused = async |sql: &str, what: &str, hint: &str| {
        client.batch_execute(sql).await.unwrap();
        let refused = program.run("check", &[]).expect_code(3);
        let finding = refused.finding("archive").clone();
        assert!(tells(&finding, what, hint), "{finding}");
    };
    program.run("check", &[]).expect_code(0);
    let taken = "and the old table is to be archived there";
    for (name, there, away) in [
        ("t", "create view archive.t as select 1 as n", "drop view archive.t"),
        ("t_pkey", "create sequence archive.t_pkey", "drop sequence archive.t_pkey"),
        ("t_id_seq", "create table archive.t_id_seq ()", "drop table archive.t_id_seq"),
    ] {
        refused(
            there,
            &format!("schema \"archive\" already has a relation or type \"{name}\", {taken}"),
            "settings.archive",
        )
        .await;
        client.batch_execute(away).await.unwrap();
    }
    let statistics = "create table archive.other (a int, b int); create statistics archive.t_stat on a, b from archive.other";
    refused(statistics, "schema \"archive\" already has statistics \"t_stat\"", "settings.archive").await;
    client.batch_execute("drop table archive.other").await.unwrap();
    let sql = "select current_setting('server_version_num')::int >= 150000";
    if client.query_one(sql, &[]).await.unwrap().get(0) {
        refused(
            "create publication p for tables in schema archive",
            "publication p would publish",
            "drop tables in schema",
        )
        .await;
        client.batch_execute("drop publication p").await.unwrap();
    }
    refused(
        "drop schema archive",
        "there is no schema \"archive\" for the old table",
        "create schema \"archive\"",
    )
    .await;
    client.batch_execute("create schema archive").await.unwrap();
    program.run("check", &[]).expect_code(0);

    let role = "create role keeper login replication in role pg_read_all_stats; grant create on database postgres to keeper;
                grant all on schema public to keeper; alter table t owner to keeper; alter table owners owner to keeper;
                alter statistics t_stat owner to keeper";
    client.batch_execute(role).await.unwrap();
    let keeper = Bluegreen::new(&cluster, "postgres").env("PGUSER", "keeper");
    let keeper = keeper.plan(&plan("1h, archive: {schema: archive}"));
    let refused = keeper.run("check", &[]).expect_code(3);
    assert!(tells(
        refused.finding("archive"),
        "may not create relations in schema \"archive\"",
        "grant usage, create"
    ));
    client.batch_execute("grant usage, create on schema archive to keeper").await.unwrap();
    keeper.execute(&["--yes", "--until", "settle"]).expect_code(0);
    keeper.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(count(&client, "archive.t").await, 300);
}

/// What prevents a finish is met before the way back is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_that_fails_leaves_the_way_back() {
    let (_cluster, client, program) = archiving("").await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("create table archive.t ()").await.unwrap();
    let taken = program.run("finish", &["--yes"]).expect_code(1);
    assert!(taken.error().contains("moving blue to the archive"), "{}", taken.error());
    // Who executes the run goes on: blue must not be left behind because of that.
    running.wait_for_notice("the run was not finished, and is continued");
    assert_eq!(count(&client, "pg_replication_slots").await, 2);
    client.batch_execute("update t set note = 'of green' where id = 1; drop table archive.t").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(count(&client, "t where note = 'of green' and hours = 0.25").await, 1);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let blue = home(&client, "blue").await;
    client.batch_execute(&format!("create view seen as select id from {blue}.t")).await.unwrap();
    program.write_plan(&plan("1h"));
    let needed = program.run("finish", &["--yes"]).expect_code(1);
    assert!(needed.error().contains("view public.seen is new"), "{}", needed.error());
    assert_eq!(count(&client, "pg_replication_slots").await, 2);
    client.batch_execute("drop view seen").await.unwrap();
    program.run("verify", &[]).expect_code(0);
    // By the run's id: as it was executed last.
    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    program.say(&["finish", &run, "--yes"]).expect_code(0);
    assert_eq!(count(&client, "archive.t").await, 300);
    nothing_is_left(&client).await;
}

/// The process that executes the run finishes it as it was told, and not as another plan says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_is_not_dropped_by_a_process_that_does_not_know_that_it_is_to_be_archived() {
    let (_cluster, client, program) = archiving("").await;
    program.write_plan(&plan("1h"));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    program.write_plan(&plan("1h, archive: {schema: archive}"));
    program
        .run("finish", &["--yes"])
        .expect_code(2)
        .expect_words(&["settings.archive is archive in this plan, and none"]);
    running.terminate();
    running.finish().expect_code(7);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(count(&client, "archive.t").await, 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_to_finish_after_the_soak_archives_blue_by_itself_and_is_resumed() {
    for crash in ["slot dropped", "before finished", "after finished"] {
        let cluster = Cluster::start();
        let plan = plan("2s, finish: after_soak, archive: {schema: archive}");
        let (client, program) = stage(&cluster, &format!("{BLUE}{ARCHIVE}"), &plan).await;
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        if cfg!(feature = "failpoints") {
            let crashing = Bluegreen::new(&cluster, "postgres").env("FAILPOINTS", &format!("{crash}=return"));
            assert_eq!(crashing.plan(&plan).execute(&["--yes"]).code, None, "{crash}");
        }
        if crash != "after finished" || !cfg!(feature = "failpoints") {
            let finished = program.execute(&["--yes"]).expect_code(0);
            assert!(finished.stdout.contains("blue was moved to archive.t"), "{}", finished.stdout);
        }
        assert_eq!(count(&client, "archive.t").await, 300, "{crash}");
        nothing_is_left(&client).await;
    }
}

/// Nobody executes the run when somebody changes blue: finish itself finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_verify_is_not_finished_unless_by_force() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let blue = home(&client, "blue").await;
    // As the program's own, so that only a comparison shows it.
    let sql = format!(
        "do $$ begin perform pg_logical_emit_message(true, 'projh_bluegreen',
           (select fact->>'mark' from projh_bluegreen.fact where fact->>'fact' = 'prepared'));
         update {blue}.t set note = 'other' where id = 7; end $$"
    );
    client.batch_execute(&sql).await.unwrap();
    let refused = program.run("finish", &["--yes"]).expect_code(4);
    assert!(refused.error().contains("blue no longer follows it"), "{}", refused.error());
    assert_eq!(refused.events_of("difference").len(), 1);
    refused.expect_words(&["finish --force"]);
    let refused = program.run("finish", &["--yes"]).expect_code(2);
    refused.expect_words(&["the way back does not verify", "finish --force"]);
    assert_eq!(count(&client, &format!("{blue}.t")).await, 300);
    program.run("finish", &["--yes", "--force"]).expect_code(0);
    nothing_is_left(&client).await;
}

/// Work of the swap is left, which `finish` would leave undone.
#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_that_is_asked_for_while_the_run_settles_is_refused_and_possible_after_it() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--until", "verify"]).expect_code(0);
    let program = program.env("FAILPOINTS", "before settled=sleep(4000)");
    let running = program.spawn("execute", &["--yes"]);
    running.wait_until(|event| event["type"] == "phase_started" && event["phase"] == "settle").unwrap();
    let refused = program.run("finish", &["--yes"]).expect_code(2);
    assert!(refused.error().contains("some work after the swap is left"), "{}", refused.error());
    assert!(refused.error().contains("the run is executed by projh-bluegreen"), "{}", refused.error());
    assert!(refused.events_of("end")[0]["next"].as_str().unwrap().contains("--watch"), "{}", refused.stdout);
    running.wait_for("soaking");
    program.run("finish", &["--yes"]).expect_code(0);
    running.finish().expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
}
