//! What green is designed from, and what the run relies on, is guarded from the first look at a table to the swap's
//! lock: DDL of others is taken in, or refused by name, and never undone by the swap.

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, Finished};

const SCHEMA: &str = "
create schema archive;
create table t (id bigserial primary key, at date not null, note text);
insert into t (at, note) select date '2026-01-01' + g % 60, 'n' || g from generate_series(1, 3000) g;
grant select on t to public;
create table holder (id integer);
create function audit() returns trigger language plpgsql as 'begin return new; end';
";

const BOUNDS: &str = "version: 1
name: guarded
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-15], default: true, schema: archive}
    primary_key: [id, at]
settings: {workers: 1}
";

/// The table is dropped, and there is another one that is defined alike.
const AGAIN: &str = "create table other (like t including all); alter table other alter id drop default;
    insert into other select * from t limit 5000; alter sequence t_id_seq owned by none; drop table t;
    alter table other rename to t; alter table t alter id set default nextval('t_id_seq');
    alter sequence t_id_seq owned by t.id; alter index other_pkey rename to t_pkey; grant select on t to public";

fn stage(cluster: &Cluster, db: &str, plan: &str) -> Bluegreen {
    cluster.create_db(db);
    cluster.psql(db, SCHEMA);
    Bluegreen::new(cluster, db).plan(plan)
}

fn error_of(finished: &Finished) -> String {
    finished.events_of("error").iter().map(|error| error.to_string()).collect()
}

/// Executes while somebody runs `ddl` at the moment in which prepare looks for the range of the partition key.
fn with_ddl_in_prepare(cluster: &Cluster, db: &str, ddl: &str) -> Finished {
    let every = BOUNDS.replace("bounds: [2026-01-01, 2026-02-01, 2026-03-15]", "every: 1 month");
    let program = stage(cluster, db, &every);
    let many =
        "insert into t (at, note) select date '2026-01-01' + g % 60, '' from generate_series(1, 1500000) g;
                set allow_system_table_mods = on; analyze t";
    cluster.psql(db, many);
    cluster.psql(db, &format!("alter database {db} set max_parallel_workers_per_gather = 0"));
    let when_it_looks = format!(
        "do $$ begin loop perform pg_stat_clear_snapshot();
         exit when exists (select from pg_stat_activity where application_name like 'projh-bluegreen % prepare'
         and state = 'active' and query like '%min(%'); perform pg_sleep(0.001);
         assert clock_timestamp() < now() + interval '5 min', 'it does not look'; end loop; {ddl}; end $$"
    );
    std::thread::scope(|scope| {
        scope.spawn(|| cluster.psql(db, &when_it_looks));
        program.execute(&["--yes"])
    })
}

#[test]
fn what_is_changed_while_green_is_designed_is_taken_in_or_refused() {
    let cluster = Cluster::start();
    let ddl = "revoke select on t from public; comment on table t is 'revoked'";
    let finished = with_ddl_in_prepare(&cluster, "taken_in", ddl).expect_code(0);
    assert_eq!(finished.events_of("begun_again")[0]["phase"], "prepare", "{}", finished.stdout);
    let kept = "select relkind, has_table_privilege('public', 't', 'select'), obj_description('t'::regclass) from pg_class
                where oid = 't'::regclass";
    assert_eq!(cluster.psql("taken_in", kept).trim(), "p|f|revoked");

    let ddl = "create constraint trigger audits after insert on holder from t for each row execute function audit()";
    let finished = with_ddl_in_prepare(&cluster, "refused", ddl).expect_code(3);
    assert!(
        finished.stdout.contains("a trigger of another table names it: audits on public.holder"),
        "{}",
        finished.stdout
    );
    let left = "select count(*) from pg_namespace where nspname ~ '^projh_bg_'";
    assert_eq!(cluster.psql("refused", left).trim(), "0");

    let ddl = format!("{AGAIN}; alter table t replica identity full");
    let finished = with_ddl_in_prepare(&cluster, "again", &ddl).expect_code(0);
    for word in ["public.t was dropped and created again", "the replica identity of public.t has changed"] {
        assert!(finished.stdout.contains(word), "{word}: {}", finished.stdout);
    }
    let kept =
        "select relkind, relreplident, (select count(*) from t) from pg_class where oid = 't'::regclass";
    assert_eq!(cluster.psql("again", kept).trim(), "p|f|5000");
}

#[test]
fn what_comes_to_hang_on_the_table_in_mid_run_stops_it_by_name() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "hung", BOUNDS);
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let cases = [
        ("create publication downstream for table t", "drop publication downstream", "downstream"),
        ("create publication whole for all tables", "drop publication whole", "whole"),
        ("create publication ours for tables in schema public", "drop publication ours", "ours"),
        ("create publication theirs for tables in schema archive", "drop publication theirs", "theirs"),
        ("create table child () inherits (t)", "drop table child", "public.child"),
        (
            "create function f(t) returns integer language sql as 'select 1'",
            "drop function f(t)",
            "public.f(public.t)",
        ),
        ("alter table holder add x t", "alter table holder drop x", "column x of table public.holder"),
        ("create view v as select * from t", "drop view v", "public.v"),
        (
            "alter table archive.t_p2 set unlogged",
            "alter table archive.t_p2 set logged",
            "unlogged partition archive.t_p2",
        ),
        (
            "create rule r as on insert to holder do also insert into t (at) values ('2026-01-01')",
            "drop rule r on holder",
            "public.holder",
        ),
        (
            "alter table holder add constraint points foreign key (id) references t",
            "alter table holder drop constraint points",
            "points",
        ),
    ];
    let is_known = |ddl: &str| !cluster.is_before(15) || !ddl.contains("tables in schema");
    for (ddl, undo, name) in cases.into_iter().filter(|(ddl, _, _)| is_known(ddl)) {
        cluster.psql("hung", ddl);
        let said = error_of(&program.execute(&["--yes"]).expect_code(1));
        assert!(said.contains(name) && said.contains("is new"), "{ddl}: {said}");
        cluster.psql("hung", undo);
    }
    program.execute(&["--yes"]).expect_code(0);
}

#[test]
fn a_table_that_the_stream_no_longer_carries_whole_is_not_swapped() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "unstreamed", BOUNDS);
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let run = cluster.psql("unstreamed", "select run from projh_bluegreen.run").trim().to_owned();
    let publication = format!("alter publication projh_bg_{run}");
    let all = "set (publish = 'insert, update, delete, truncate')";
    let cases = [
        (
            format!("{publication} set (publish = 'insert')"),
            format!("{publication} {all}"),
            "does not publish update",
        ),
        (
            format!("{publication} set (publish = 'insert, update, delete')"),
            format!("{publication} {all}"),
            "truncate",
        ),
        (format!("{publication} drop table t"), format!("{publication} add table t"), "does not list it"),
        (
            format!("{publication} set table t where (id > 0)"),
            format!("{publication} set table t"),
            "row filter",
        ),
        (format!("{publication} set table t (id, at)"), format!("{publication} set table t"), "column list"),
        (
            format!("{publication} set (publish_via_partition_root)"),
            format!("{publication} set (publish_via_partition_root = false)"),
            "via the partition root",
        ),
        (
            "alter table t replica identity full".to_owned(),
            "alter table t replica identity default".to_owned(),
            "replica identity",
        ),
    ];
    let is_known = |why: &str| !cluster.is_before(15) || !["row filter", "column list"].contains(&why);
    for (ddl, undo, why) in cases.into_iter().filter(|(_, _, why)| is_known(why)) {
        cluster.psql("unstreamed", &ddl);
        let said = error_of(&program.execute(&["--yes"]).expect_code(1));
        assert!(
            said.contains(why) && said.contains("rollback") && !said.contains("execute again"),
            "{ddl}: {said}"
        );
        cluster.psql("unstreamed", &undo);
    }
    cluster.psql("unstreamed", &format!("begin; {AGAIN}; commit"));
    let said = error_of(&program.execute(&["--yes"]).expect_code(1));
    let right = "if public.t is right as it is: drop table ";
    assert!(said.contains("another one has its name") && said.contains(right), "{said}");
    program.say(&["rollback", &run]).expect_code(3).expect_words(&["the only copy of its rows"]);
    cluster.psql("unstreamed", &format!("drop table projh_bg_{run}_green.t"));
    program.say(&["rollback", &run]).expect_code(6);
    assert_eq!(cluster.psql("unstreamed", "select count(*) from t").trim(), "3000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_altered_for_a_moment_after_the_verification_is_noticed() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "moment", BOUNDS);
    program.execute(&["--yes", "--until", "catch_up"]).expect_code(0);
    let run = cluster.psql("moment", "select run from projh_bluegreen.run").trim().to_owned();
    let reader = cluster.client("moment").await;
    reader.batch_execute("begin isolation level repeatable read; select count(*) from holder").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_until(|event| event["type"] == "phase_started" && event["phase"] == "swap").unwrap();
    let publication = format!("alter publication projh_bg_{run} set");
    cluster.psql("moment", &format!("{publication} (publish = 'insert')"));
    cluster.psql("moment", "update t set note = 'lost' where id < 100");
    cluster.psql("moment", &format!("{publication} (publish = 'insert, update, delete, truncate')"));
    reader.batch_execute("commit").await.unwrap();
    let finished = running.finish();
    let said = error_of(&finished.expect_code(1));
    // On a busy machine it is looked at while it is altered.
    let is_noticed = said.contains("was altered") || said.contains("does not publish update");
    assert!(is_noticed && said.contains("rollback"), "{said}");
    assert_eq!(cluster.psql("moment", "select count(*) from t where note = 'lost'").trim(), "99");
}

/// What a role may do that may make schemas, before the operator comes.
const TROJAN: &str = "
create schema projh_bluegreen authorization low;
set role low;
create function projh_bluegreen.steal() returns text language plpgsql as
  'begin create table public.stolen (); return null; end';
";

#[test]
fn a_journal_that_somebody_else_has_made_is_neither_read_nor_called() {
    let cluster = Cluster::start();
    let views = "create view projh_bluegreen.run as select projh_bluegreen.steal() as run, 'x' as plan_name, '{}'::jsonb as plan,
                 0::bigint as epoch, now() as started_at, null::timestamptz as ended_at from projh_bluegreen.steal();
                 create view projh_bluegreen.migration as select 0 as version from projh_bluegreen.steal()";
    cluster.psql("postgres", "create role low; create role other");
    for (db, sql) in [
        ("empty", TROJAN.to_owned()),
        ("views", format!("{TROJAN} {views}")),
        (
            "given",
            "create schema projh_bluegreen; grant all on schema projh_bluegreen to low; set role low;
                   create table projh_bluegreen.migration (version integer)"
                .to_owned(),
        ),
    ] {
        let program = stage(&cluster, db, BOUNDS);
        cluster.psql(db, "grant create on schema public to low");
        cluster.psql(db, &sql);
        let checked = program.run("check", &[]).expect_code(3);
        let found = checked.finding("rights");
        assert!(tells(found, "belongs to \"low\"", "drop schema projh_bluegreen"), "{found}");
        program.execute(&["--yes"]).expect_code(3);
        for (command, args) in [("status", &[][..]), ("rollback", &[]), ("finish", &["--yes"])] {
            let finished = program.say(&[&[command, "guarded"], args].concat());
            assert!(
                finished.stderr.contains("cannot be trusted"),
                "{command}: {} {}",
                finished.stdout,
                finished.stderr
            );
        }
        let made = "select coalesce(to_regclass('public.stolen')::text, '') || count(*) from pg_publication";
        assert_eq!(cluster.psql(db, made).trim(), "0", "{db}");
    }
    // A journal that a role made which the operator is a member of is one of its own.
    let program = stage(&cluster, "member", BOUNDS);
    cluster.psql("member", "grant low to postgres; create schema projh_bluegreen authorization low");
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
}

fn refused(program: &Bluegreen, words: &[(&str, &str)]) {
    let checked = program.run("check", &[]).expect_code(3);
    let findings = checked.refusals();
    for (what, hint) in words {
        let found = findings.iter().any(|finding| tells(finding, what, hint));
        assert!(found, "{what} / {hint}: {findings:#?}");
    }
    assert_eq!(findings.len(), words.len(), "{findings:#?}");
}

#[test]
fn what_names_the_table_by_oid_is_refused_with_the_true_reason() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "itself", BOUNDS);
    let sql = "alter table t alter id drop default; drop sequence t_id_seq;
               alter table t alter id add generated always as identity;
               select setval('t_id_seq', 3000); select nextval('t_id_seq');
               alter table t add kind regclass default 't'::regclass, add position bigint,
               add of_its_type text default (null::t)::text,
               add constraint of_itself check (tableoid <> 't'::regclass or note is not null or true);
               alter table t alter position set default currval('t_id_seq');
               create index in_part on t (note) where 't'::regclass is not null;
               create materialized view stored as select id from t;
               alter table t add of_stored regclass default 'stored'::regclass;
               alter table holder add of_t regclass default 't'::regclass";
    cluster.psql("itself", sql);
    refused(
        &program,
        &[
            (
                "the default of column \"of_its_type\" names type public.t",
                "alter column \"of_its_type\" drop default",
            ),
            (
                "the default of column \"of_stored\" names materialized view public.stored",
                "alter column \"of_stored\" drop default",
            ),
            ("CHECK \"of_itself\" names table public.t", "drop constraint \"of_itself\""),
            ("index \"in_part\" names table public.t", "drop_indexes: [in_part]"),
        ],
    );
    let repairs = "alter table t alter of_its_type drop default, alter of_stored drop default, drop constraint of_itself;
                 drop index in_part";
    cluster.psql("itself", repairs);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    // These defaults follow the name.
    let insert = "insert into t (at) values ('2026-01-05') returning kind = 't'::regclass, position = id";
    assert_eq!(cluster.psql("itself", insert).lines().next(), Some("t|t"));
    let elsewhere = "insert into holder default values returning of_t = 't'::regclass";
    assert_eq!(cluster.psql("itself", elsewhere).lines().next(), Some("t"));
}

#[test]
fn what_hangs_on_the_table_from_partitions_is_refused_once_with_a_hint_that_the_server_accepts() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "parts", BOUNDS);
    let sql = "create table k (id bigint default nextval('t_id_seq'), v bigint references t) partition by hash (id);
               alter table k add of_t int, add check (of_t <> 't'::regclass::oid::int);
               create table k0 partition of k for values with (modulus 2, remainder 0);
               create table k1 partition of k for values with (modulus 2, remainder 1)";
    cluster.psql("parts", sql);
    refused(
        &program,
        &[
            (
                "foreign key k_v_fkey on public.k references (id), and the plan leaves no unique key",
                "alter table public.k drop constraint k_v_fkey",
            ),
            (
                "a CHECK of another table names it: k_of_t_check on public.k",
                "alter table public.k drop constraint k_of_t_check",
            ),
        ],
    );
    let repairs = "alter table public.k drop constraint k_v_fkey, drop constraint k_of_t_check; alter table k alter id drop default;
                 alter table k0 alter id drop default; alter table k1 alter id drop default";
    cluster.psql("parts", repairs);
    program.run("check", &[]).expect_code(0);
    for schema in ["public", "archive"].into_iter().filter(|_| !cluster.is_before(15)) {
        cluster.psql("parts", &format!("create publication warehouse for tables in schema {schema}"));
        let hint = format!("alter publication warehouse drop tables in schema {schema}");
        refused(&program, &[("warehouse", &hint)]);
        cluster.psql("parts", &format!("{hint}; drop publication warehouse"));
    }
}

#[test]
fn a_key_with_a_generated_column_is_refused_for_what_it_is() {
    let cluster = Cluster::start();
    let program = stage(&cluster, "generated", &BOUNDS.replace("[id, at]", "[code, at]"));
    let sql = "alter table t drop constraint t_pkey,
               add code text generated always as (note || '-' || id::text) stored not null;
               alter table t add primary key (code)";
    cluster.psql("generated", sql);
    let what = "column \"code\" of its key is generated, and the stream carries no generated columns";
    let hint = "create a unique index over NOT NULL columns of public.t that are not generated";
    refused(&program, &[(what, hint)]);
    cluster.psql("generated", "create unique index t_id on t (id)");
    let checked = program.run("check", &[]).expect_code(3);
    assert!(checked.stdout.contains("replica identity using index"), "{}", checked.stdout);
    // The whole old row has the other key in it.
    cluster.psql("generated", "alter table t replica identity full");
    let full = program.run("check", &[]);
    assert!(!full.stdout.contains("is generated"), "{}", full.stdout);
    cluster.psql("generated", "drop index t_id");
    refused(&program, &[(what, hint)]);
}
