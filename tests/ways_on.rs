//! A run always has a way on, and no slot that nobody reads is left behind: what each ending says of the tables,
//! of the slot and of the next command is held against the server.

use tokio_postgres::Client;

use crate::support::{self, Bluegreen, Cluster, Finished, closed_window, home};

const DB: &str = "postgres";
const PLAN: &str = "
version: 1
name: kids
settings: {workers: 1}
tables:
  - table: public.kids
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01]}
    primary_key: [id, at]
";
const BLUE: &str = "
create table public.parents (id bigint primary key, part int, unique (id, part));
insert into public.parents select g, g % 7 from generate_series(1, 100) g;
create table public.kids (
    id bigint primary key, at date not null, parent bigint, part int, note text,
    constraint kids_parent foreign key (parent, part) references public.parents (id, part) MATCH);
comment on constraint kids_parent on public.kids is 'whose';
insert into public.kids select g, date '2026-01-01' + g % 59, 1 + g % 100, (1 + g % 100) % 7, 'n' from generate_series(1, 500) g;
analyze public.kids;";
const ORPHANS: &str = "
set session_replication_role = replica;
delete from public.parents where id in (7, 8);
reset session_replication_role;";

async fn stage(blue: &str) -> (Cluster, Client, Bluegreen) {
    let cluster = Cluster::start();
    let (client, program) = support::stage(&cluster, blue, PLAN).await;
    (cluster, client, program)
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(&format!("select count(*) from {sql}"), &[]).await.unwrap().get(0)
}

fn error(finished: &Finished) -> String {
    let event = finished.events_of("error")[0];
    format!("{} / {}", event["message"].as_str().unwrap(), event["hint"].as_str().unwrap_or_default())
}

fn end(finished: &Finished) -> (String, String) {
    let end = finished.events_of("end")[0];
    let text = |name: &str| end[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("next"))
}

/// What a sentence says of the tables, the slot and the way on is so.
async fn holds(client: &Client, program: &Bluegreen, state: &str, next: &str) {
    let slots = count(client, "pg_replication_slots where slot_name like 'projh_bg_%'").await;
    let publications = count(client, "pg_publication").await;
    let green = count(client, "pg_class where oid = 'public.kids'::regclass and relkind = 'p'").await;
    let homes = count(client, "pg_namespace where nspname ~ '^projh_bg_'").await;
    let kept = count(client, "pg_tables where schemaname ~ '^projh_bg_.*_blue$'").await;
    assert_eq!(green == 1, state.contains("green is live"), "{state}");
    assert_eq!(green == 0, state.contains("blue is live"), "{state}");
    assert_eq!(slots == 1, state.contains("its slot makes the server retain WAL"), "{state}");
    assert!(kept == 1 || !state.contains("blue is kept"), "{state}");
    let is_over = state.contains("nothing of the run is left but its journal");
    assert_eq!(is_over, slots + publications + homes == 0, "{state}");
    if green == 1 {
        assert_eq!(publications, 0, "{state}");
    }
    // Status says the same as the end of the command did.
    let status = program.run("status", &[]).expect_code(0);
    let status = status.events_of("status")[0].clone();
    assert_eq!(status["state"], state);
    if !is_over {
        assert_eq!(
            status["next"].as_str().unwrap_or_default().is_empty(),
            next.is_empty(),
            "{status} {next}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_is_as_it_is_said_to_be() {
    let (_cluster, client, program) = stage(&BLUE.replace("MATCH", "")).await;
    for until in ["prepare", "copy", "catch_up", "index", "verify"] {
        let finished = program.execute(&["--until", until]).expect_code(0);
        let (state, next) = end(&finished);
        assert!(next.contains("execute plan.yaml") && next.contains("rollback"), "{next}");
        holds(&client, &program, &state, &next).await;
    }
    let (state, next) = end(&program.run("rollback", &[]).expect_code(6));
    holds(&client, &program, &state, &next).await;
    program.execute(&["--until", "verify"]).expect_code(0);
    // A part of what could not be done after the swap: a row without its parent.
    client.batch_execute(ORPHANS).await.unwrap();
    let finished = program.execute(&["--yes"]).expect_code(1);
    let (state, next) = end(&finished);
    assert!(state.contains("some work after the swap is left") && next.contains("--force"), "{state} {next}");
    holds(&client, &program, &state, &next).await;
    let told = error(&finished);
    let words =
        ["kids_parent", "public.kids_p", "rows point at no row of public.parents", "select fk.* from only"];
    for word in words {
        assert!(told.contains(word), "`{word}` is not in: {told}");
    }
    client
        .batch_execute(
            "delete from public.kids k where not exists (select from public.parents p where p.id = k.parent)",
        )
        .await
        .unwrap();
    let (state, next) = end(&program.execute(&["--yes"]).expect_code(0));
    holds(&client, &program, &state, &next).await;
    let valid = "pg_constraint where conrelid = 'public.kids'::regclass and convalidated and conname = 'kids_parent' \
                 and obj_description(oid, 'pg_constraint') = 'whose'";
    assert_eq!(count(&client, valid).await, 1);
    let (state, next) = end(&program.run("finish", &["--yes"]).expect_code(0));
    holds(&client, &program, &state, &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_are_counted_before_and_a_run_that_has_them_can_be_finished_as_it_is() {
    // Of a MATCH FULL key, one that is null in part points at no row, too.
    let half =
        "alter table public.kids disable trigger all; update public.kids set part = null where id = 300;
                alter table public.kids enable trigger all;";
    let (_cluster, client, program) = stage(&BLUE.replace("MATCH", "match full")).await;
    program.run("check", &[]).expect_code(0);
    program.execute(&["--until", "verify"]).expect_code(0);
    client.batch_execute(&format!("{ORPHANS}{half}")).await.unwrap();
    program.execute(&["--yes"]).expect_code(1);
    program.execute(&["--yes"]).expect_code(1);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
    let refused = program.run("finish", &["--yes"]).expect_code(2);
    assert!(error(&refused).contains("finish --force"), "{}", error(&refused));
    program.run("finish", &["--yes", "--as-is"]).expect_code(0);
    assert_eq!(count(&client, "pg_namespace where nspname ~ '^projh_bg_'").await, 0);

    let (_cluster, client, program) = stage(&BLUE.replace("MATCH", "match full")).await;
    client.batch_execute(&format!("{ORPHANS}{half}")).await.unwrap();
    let refused = program.run("check", &[]).expect_code(3);
    let finding = refused.finding("foreign_keys");
    assert!(finding["what"].as_str().unwrap().contains("but 11 rows point at no row of"), "{finding}");
    // With what it says to type, it passes.
    let hint = finding["hint"].as_str().unwrap();
    let (_, alter) = hint.split_once("alter table").unwrap();
    client.batch_execute(&format!("alter table {alter}")).await.unwrap();
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_given_up_leaves_no_slot_and_everybody_says_that_it_can_only_be_rolled_back() {
    let (cluster, client, program) = stage(&BLUE.replace("MATCH", "")).await;
    let settings = format!("workers: 1, wal_budget: 64MiB, swap: {{{}}}", closed_window());
    program.write_plan(&PLAN.replace("workers: 1", &settings));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("waits for its window");
    // Nothing of it can be applied meanwhile.
    let green = home(&client, "green").await;
    let holder = cluster.client(DB).await;
    let lock = format!("begin; lock table {green}.kids in access exclusive mode");
    holder.batch_execute(&lock).await.unwrap();
    client
        .batch_execute(
            "update public.kids set note = 'm';
             select pg_logical_emit_message(false, 'x', repeat('x', 10000000)) from generate_series(1, 8)",
        )
        .await
        .unwrap();
    let given_up = running.finish().expect_code(1);
    drop(holder);
    assert!(error(&given_up).contains("the slot is gone"), "{}", error(&given_up));
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
    let (state, next) = end(&given_up);
    assert!(state.contains("given up") && next.contains("projh-bluegreen rollback"), "{state} {next}");
    holds(&client, &program, &state, &next).await;
    for args in [&["--yes"][..], &["--dry-run"]] {
        let again = program.execute(args).expect_code(3);
        assert!(end(&again).1.contains("projh-bluegreen rollback"), "{}", again.stdout);
        assert_eq!(count(&client, "pg_replication_slots").await, 0);
    }
    for (command, args) in [("pause", &[][..]), ("resume", &[]), ("set", &["workers=2"])] {
        let refused = program.run(command, args).expect_code(2);
        let why = "the run was given up (";
        assert!(
            error(&refused).contains(why) && error(&refused).contains("can only be rolled back"),
            "{}",
            error(&refused)
        );
    }
    let (state, next) = end(&program.run("rollback", &[]).expect_code(6));
    holds(&client, &program, &state, &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_logs_in_as_another_one_swaps_and_rolls_back() {
    let (cluster, client, _) = stage("").await;
    let sql = "create role keeper; create role deployer login replication in role keeper, pg_read_all_stats;
               alter role deployer set role = keeper; alter role deployer set default_transaction_deferrable = on;
               grant create on database postgres to keeper, deployer; grant all on schema public to keeper, deployer;";
    client.batch_execute(sql).await.unwrap();
    client.batch_execute(&BLUE.replace("MATCH", "")).await.unwrap();
    let owned = "alter table public.kids owner to keeper; alter table public.parents owner to keeper;";
    client.batch_execute(owned).await.unwrap();
    let program = Bluegreen::new(&cluster, DB).env("PGUSER", "deployer").plan(PLAN);
    program.execute(&["--until", "copy"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(count(&client, "pg_replication_slots").await, 0);
}
