//! Waits for somebody else: a synchronous standby, a table's rewrite. They are named, and begin no run.

use tokio_postgres::Client;

use crate::support::waiting::eventually;
use crate::support::{self, Bluegreen, Cluster, Finished};

const DB: &str = "postgres";
const SETUP: &str = "
create table t (id bigint primary key, at date not null, note text);
insert into t select g, date '2026-01-01' + (g % 60)::int, 'n' || g from generate_series(1, 300) g;";
const PLAN: &str = "
version: 1
name: waits
settings: {workers: 1}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-15], default: true}
    primary_key: [id, at]
";

async fn stage(cluster: &Cluster, more: &str) -> (Client, Bluegreen) {
    support::stage(cluster, &format!("{SETUP}{more}"), PLAN).await
}

/// Clients' commits wait for standbys of these names from now on.
async fn want_standbys(client: &Client, names: &str) {
    client.batch_execute(&format!("alter system set synchronous_standby_names = '{names}'")).await.unwrap();
    client.batch_execute("select pg_reload_conf()").await.unwrap();
    eventually(client, &format!("select current_setting('synchronous_standby_names') = '{names}'")).await;
}

fn refusal(finished: &Finished, check: &str) -> String {
    let finding = finished.finding(check);
    assert_eq!(finding["severity"], "refusal");
    finding.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_that_is_gone_is_refused_before_the_first_commit() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, "").await;
    want_standbys(&client, "FIRST 2 (a, b)").await;
    let refused = program.execute(&["--yes"]).expect_code(3);
    let told = refusal(&refused, "standbys");
    for word in ["FIRST 2 (a, b)", "needs 2", "0 can", "pg_reload_conf()"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    want_standbys(&client, "").await;
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_ours_must_not_count_as_a_standby() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, "").await;
    want_standbys(&client, "ANY 1 (*)").await;
    let refused = program.run("check", &[]).expect_code(3);
    assert!(refused.stdout.contains("would count as a standby"), "{}", refused.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_no_standby_confirms_is_named_and_so_is_the_state_after_ctrl_c() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, "").await;
    program.execute(&["--until", "prepare"]).expect_code(0);
    want_standbys(&client, "far_away").await;
    let running = program.spawn("execute", &["--yes"]);
    let waits = running.wait_for_notice("synchronous standby");
    let text = waits["text"].as_str().unwrap();
    for word in ["far_away", "pg_reload_conf()"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    running.interrupt();
    let stopped = running.finish().expect_code(7);
    let end = stopped.events_of("end")[0].to_string();
    assert!(end.contains("far_away") && end.contains("waits for a synchronous standby"), "{end}");
    want_standbys(&client, "").await;
    program.execute(&["--yes"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_goes_in_the_middle_of_a_run_is_named() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, "").await;
    program.execute(&["--until", "verify"]).expect_code(0);
    let old = cluster.client(DB).await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("snapshots that are older");
    want_standbys(&client, "far_away").await;
    old.batch_execute("commit").await.unwrap();
    running.wait_for_notice("far_away");
    want_standbys(&client, "").await;
    running.finish().expect_code(0);
}

/// Whoever is called `rewriter` builds its index only once the advisory lock 1 is free.
const SLOW: &str = "
create function slow(bigint) returns bigint language plpgsql immutable as $$ begin
    while current_setting('application_name') = 'rewriter' and not pg_try_advisory_xact_lock(1) loop
        perform pg_sleep(0.02); end loop; return $1; end $$;
create index on t (slow(id));
select pg_advisory_lock(1);";

/// A session that does one thing.
async fn other(cluster: &Cluster, sql: &'static str) -> tokio::task::JoinHandle<()> {
    let client = cluster.client(DB).await;
    client.batch_execute("set application_name = 'rewriter'").await.unwrap();
    tokio::spawn(async move {
        // It may be cancelled.
        let _ = client.batch_execute(sql).await;
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_near_its_end_is_noted() {
    let cluster = Cluster::start();
    let setup = "alter table t add column n smallint generated by default as identity,
                    add column down int generated by default as identity (increment -7 minvalue -40000 maxvalue 0 start 0),
                    add column wide int generated by default as identity,
                    add column turns int generated by default as identity (maxvalue 400 cycle);
                 alter sequence t_n_seq restart 32000; select nextval('t_n_seq')";
    let (_client, program) = stage(&cluster, setup).await;
    let checked = program.run("check", &[]).expect_code(0);
    let notes: Vec<String> = checked.events_of("finding").iter().map(|finding| finding.to_string()).collect();
    let of = |name: &str| {
        notes.iter().find(|note| note.contains(name)).unwrap_or_else(|| panic!("{name}: {notes:?}"))
    };
    assert!(
        of("t_n_seq").contains("has 767 values left") && of("t_n_seq").contains("n: {type: bigint}"),
        "{notes:?}"
    );
    assert!(of("t_down_seq").contains("values left"), "{notes:?}");
    assert!(
        !notes.iter().any(|note| note.contains("t_wide_seq") || note.contains("t_turns_seq")),
        "{notes:?}"
    );
    // With a wider type there is no end in sight.
    program.write_plan(&PLAN.replace("primary_key", "columns: {n: {type: bigint}}\n    primary_key"));
    let checked = program.run("check", &[]).expect_code(0);
    assert!(!checked.stdout.contains("t_n_seq"), "{}", checked.stdout);
}

const REWRITTEN: &str = "select exists (select from pg_stat_progress_cluster)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_on_the_table_is_refused_and_named() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SLOW).await;
    let cases = [
        ("vacuum full t", REWRITTEN, "VACUUM FULL"),
        ("cluster t using t_pkey", REWRITTEN, "CLUSTER"),
        (
            "create index concurrently again on t (slow(id))",
            "select exists (select from pg_stat_progress_create_index)",
            "CREATE INDEX CONCURRENTLY",
        ),
        (
            "begin; lock table t in access exclusive mode; select pg_sleep(600); commit",
            "select exists (select from pg_locks where relation = 't'::regclass and mode = 'AccessExclusiveLock')",
            "ACCESS EXCLUSIVE",
        ),
    ];
    for (sql, seen, word) in cases {
        let other = other(&cluster, sql).await;
        eventually(&client, seen).await;
        let refused = program.run("check", &[]).expect_code(3);
        let told = refusal(&refused, "under_way");
        assert!(
            told.contains(word) && told.contains("rewriter") && told.contains("pg_terminate_backend("),
            "{told}"
        );
        let end =
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rewriter'";
        client.batch_execute(end).await.unwrap();
        other.await.unwrap();
        client.batch_execute("drop index if exists again").await.unwrap();
    }
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_waits_for_an_exclusive_lock_is_refused_too() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, "").await;
    let reader = cluster.client(DB).await;
    reader.batch_execute("begin; select count(*) from t").await.unwrap();
    let other = other(&cluster, "alter table t add column more text").await;
    eventually(
        &client,
        "select exists (select from pg_locks where relation = 't'::regclass and not granted)",
    )
    .await;
    let refused = program.run("check", &[]).expect_code(3);
    assert!(refusal(&refused, "under_way").contains("waits for ACCESS EXCLUSIVE"), "{}", refused.stdout);
    reader.batch_execute("commit").await.unwrap();
    other.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_in_the_middle_of_a_run_is_named_and_the_run_goes_on_after_it() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SLOW).await;
    program.execute(&["--until", "prepare"]).expect_code(0);
    let rewriter = other(&cluster, "vacuum full t").await;
    eventually(&client, REWRITTEN).await;
    let running = program.spawn("execute", &["--yes"]);
    let named = running.wait_for_notice("VACUUM FULL");
    assert!(named["text"].as_str().unwrap().contains("rewriter"), "{named}");
    client.batch_execute("select pg_advisory_unlock(1)").await.unwrap();
    rewriter.await.unwrap();
    running.finish().expect_code(0);
    let rows: i64 = client.query_one("select count(*) from t", &[]).await.unwrap().get(0);
    assert_eq!(rows, 300);
}
