//! What sessions keep of blue, its row type: neither a swap nor finish harms anybody who does.

use std::time::Duration;

use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, stage};

const DB: &str = "postgres";
const SETUP: &str = "
create table v (id bigint primary key, at date not null, note text);
insert into v select g, date '2026-01-01' + (g % 60)::int, 'n' || g from generate_series(1, 300) g;";
const FUNCTION: &str = "
create function newest() returns bigint language plpgsql as
$$ declare r v[]; begin select array_agg(x) into r from v x where id < 4; return array_length(r, 1); end $$;";
const PLAN: &str = "
version: 1
name: rows
settings: {workers: 1}
tables:
  - table: public.v
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-15], default: true}
    primary_key: [id, at]
";

/// The run's role owns the table, and not the functions, which it may not alter.
const RIGHTS: &str =
    "create role owner; create role mover login replication in role owner; alter table v owner to owner;
    grant usage, create on schema public to mover, owner; grant create on database postgres to mover;
    grant pg_read_all_stats to mover;";

async fn swapped(cluster: &Cluster, setup: &str) -> (Client, Bluegreen) {
    let named = format!("set application_name = 'pooled'; {SETUP}{setup}{RIGHTS}");
    let (client, program) = stage(cluster, &named, PLAN).await;
    let program = program.env("PGUSER", "mover");
    if setup.contains("newest") {
        client.batch_execute("select newest()").await.unwrap();
    }
    program.execute(&["--yes"]).expect_code(0);
    (client, program)
}

/// Statements that have a whole row as a parameter, in a function, in one with a trigger's row, and in a procedure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_compile_what_uses_the_row_type_again_in_each_swap() {
    const FUNCTIONS: &str = "create table hist (id bigint, at date, note text); create view w as select * from v;
create function kept(i bigint) returns text language plpgsql as
$$ declare r v; begin select * into r from v where id = i; insert into hist select r.*; return to_jsonb(r)->>'note'; end $$;
create function shown(i bigint) returns text language plpgsql security definer as
$$ declare r w; begin select * into r from w where id = i; return row_to_json(r)->>'note'; end $$;
create function noted() returns trigger language plpgsql as
$$ declare r public.v%rowtype; begin r := new; perform to_jsonb(r); return null; end $$;
create procedure all_of(i bigint, out n text) language plpgsql as
$$ declare r record; begin select x, 1 as one into r from v x where x.id = i; n := to_jsonb(r.x)->>'note'; end $$;
create trigger noted after update on v for each row execute function noted();
create table other (like v); create function filled() returns trigger language plpgsql as
$$ declare r v; begin select * into r from v where id = new.id; new.note := to_jsonb(r)->>'note'; return new; end $$;
create trigger filled before insert on other for each row execute function filled();";
    let cluster = Cluster::start();
    let plan = PLAN.replace("workers: 1", "workers: 1, soak: 1h");
    let (client, program) = stage(&cluster, &format!("{SETUP}{FUNCTIONS}"), &plan).await;
    let clients = [client, cluster.client(DB).await];
    let calls = async || {
        for client in &clients {
            let calls =
                "select kept(7), shown(7); update v set note = note where id = 7; call all_of(7, null);
                         insert into other values (7, '2026-01-01')";
            client.batch_execute(calls).await.unwrap();
        }
    };
    let secdef = "select string_agg(proname || prosecdef, ' ' order by proname) from pg_proc where pronamespace = 'public'::regnamespace";
    let before = cluster.psql(DB, secdef);
    calls().await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    calls().await;
    program.run("rollback", &[]).expect_code(6);
    calls().await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    calls().await;
    assert_eq!(cluster.psql(DB, secdef), before);
    // Nobody is waited for, and nobody is harmed.
    program.run("finish", &["--yes"]).expect_code(0);
    calls().await;
}

/// A function that cannot be altered fails no swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_cannot_be_altered_stops_no_swap() {
    let cluster = Cluster::start();
    let plan = PLAN.replace("workers: 1", "workers: 1, soak: 1h");
    let more = "create schema closed; create function closed.f() returns int language plpgsql as 'declare r v; begin return 1; end';
        create function guarded() returns int language plpgsql as 'declare r v; begin return 1; end'; alter function guarded owner to owner;
        alter function closed.f() owner to owner;
        create function no() returns event_trigger language plpgsql as $$ begin if current_query() ~ 'guarded' then raise 'not so'; end if; end $$;";
    let (client, program) = stage(&cluster, &format!("{SETUP}{FUNCTION}{RIGHTS}{more}"), &plan).await;
    client.batch_execute("create event trigger no on ddl_command_start when tag in ('ALTER ROUTINE') execute function no()").await.unwrap();
    client.batch_execute("alter function newest() owner to owner").await.unwrap();
    let program = program.env("PGUSER", "mover");
    let held = program.spawn("execute", &["--hold-swap", "--until", "settle"]);
    held.wait_for("verified");
    let other = cluster.client(DB).await;
    let replace = FUNCTION.replace("create function", "create or replace function");
    other.batch_execute(&format!("begin; {replace}")).await.unwrap();
    program.run("swap", &[]).expect_code(0);
    held.finish().expect_code(0).expect_words(&["public.newest: ", "public.guarded: "]);
    other.batch_execute("commit").await.unwrap();
    program.run("rollback", &[]).expect_code(6).expect_words(&["public.guarded: "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_waits_for_a_session_that_may_keep_blue_s_row_type() {
    let cluster = Cluster::start();
    let (old, program) = swapped(&cluster, FUNCTION).await;
    let mut running = program.spawn("finish", &["--yes"]);
    let waits = running.wait_for_notice("(pooled)");
    let text = waits["text"].as_str().unwrap();
    for word in ["public.newest", "pg_terminate_backend(", "finish --now"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // Who came after the swap is not waited for.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let young = cluster.client(DB).await;
    assert!(running.is_running());
    old.batch_execute("select newest()").await.unwrap();
    drop(old);
    running.finish().expect_code(0);
    young.batch_execute("select newest()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_now_says_whom_it_harms() {
    let cluster = Cluster::start();
    let (old, program) = swapped(&cluster, FUNCTION).await;
    let finished = program.run("finish", &["--yes", "--now"]).expect_code(0);
    finished.expect_words(&["(pooled)", "public.newest", "cache lookup failed"]);
    // The words are true.
    let error = old.batch_execute("select newest()").await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("cache lookup failed"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_waits_for_nobody_where_no_function_names_the_table() {
    let cluster = Cluster::start();
    let other = "create function other() returns text language plpgsql as $$ begin return 'vv v_1'; end $$;
                 create function by_sql() returns bigint language sql as 'select count(*) from v';";
    let (old, program) = swapped(&cluster, other).await;
    old.batch_execute("select other(), by_sql()").await.unwrap();
    program.run("finish", &["--yes"]).expect_code(0);
    old.batch_execute("select other(), by_sql()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finish_by_a_role_that_cannot_see_is_refused_with_the_grant() {
    let cluster = Cluster::start();
    let (client, program) = swapped(&cluster, FUNCTION).await;
    client.batch_execute("revoke pg_read_all_stats from mover").await.unwrap();
    let refused = program.run("finish", &["--yes"]).expect_code(3);
    refused.expect_words(&[
        "grant pg_read_all_stats to \\\"mover\\\"",
        "finish --now",
        "swapped: green is live",
    ]);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preview_names_the_functions() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &format!("{SETUP}{FUNCTION}{RIGHTS}"), PLAN).await;
    let program = program.env("PGUSER", "mover");
    let noticed = |program: &Bluegreen| {
        let preview = program.execute(&["--dry-run"]).expect_code(0);
        let notices = preview.events_of("preview_notice");
        notices.iter().find(|notice| notice["topic"] == "row_type").map(|notice| notice["text"].to_string())
    };
    let text = noticed(&program).expect("a notice");
    assert!(text.contains("public.newest"), "{text}");
    client.batch_execute("alter function newest() owner to owner").await.unwrap();
    assert_eq!(noticed(&program), None);
}

#[test]
fn comment_and_privileges_of_the_row_type_and_the_comment_on_a_constraint_trigger_move_with_the_table() {
    let cluster = Cluster::start();
    let schema = "create role app; create role clerk; create role keeper; create role temp;
        create function f() returns trigger language plpgsql as 'begin return null; end';
        create table t (id int, at date, primary key (id, at)); alter table t owner to keeper; grant create on schema public to keeper;
        create constraint trigger ct after insert on t for each row execute function f();
        comment on constraint ct on t is 'it''s c'; comment on trigger ct on t is 'g'; comment on type t is 'y';
        grant usage on type t to app; grant usage on type t to clerk with grant option;
        set role clerk; grant usage on type t to temp; reset role; revoke usage on type t from public;
        insert into t select g, '2026-01-05' from generate_series(1, 100) g";
    cluster.psql("postgres", schema);
    let plan = "version: 1\nname: rows\nsettings: {workers: 1, soak: 1h}\ntables:\n  - table: public.t\n    \
                partition_by: {range: at, bounds: [2026-01-01, 2026-02-01]}\n";
    let program = Bluegreen::new(&cluster, "postgres").plan(plan);
    let said = || {
        let sql = "select obj_description(k.oid, 'pg_constraint'), obj_description(g.oid, 'pg_trigger'), obj_description(y.oid, 'pg_type'),
                     array(select a::text from unnest(y.typacl) a order by 1)
                   from pg_class c join pg_type y on y.oid = c.reltype join pg_trigger g on g.tgrelid = c.oid and tgname = 'ct'
                   join pg_constraint k on k.oid = g.tgconstraint where c.oid = 't'::regclass";
        cluster.psql("postgres", sql).trim().to_owned()
    };
    let before = said();
    assert_eq!(before, "it's c|g|y|{app=U/keeper,clerk=U*/keeper,keeper=U/keeper,temp=U/clerk}");
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    cluster.psql("postgres", "comment on type t is 'other'");
    let stopped = program.execute(&["--yes"]).expect_code(1);
    assert!(
        stopped.error().contains("its row type (comment or privileges) was changed"),
        "{}",
        stopped.error()
    );
    cluster.psql("postgres", "comment on type t is 'y'");
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(said(), before);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(said(), before);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(said(), before);
}
