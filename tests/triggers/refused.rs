//! Triggers that the new table cannot have are refused by name before anything is changed; one that is made or changed
//! during a run stops it.

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, stage};

use super::DB;

const SCHEMA: &str = "
create role owner; create role mover login replication in role owner; grant pg_read_all_stats to mover;
grant create on database postgres to mover; create extension tsm_system_rows;
create schema app authorization owner; grant usage, create on schema app to mover; create schema archive; create schema code;
grant usage, create on schema archive to mover, owner;
create table app.parents (id int primary key); alter table app.parents owner to owner;
create table app.t (id int primary key, at date not null, hours numeric(9,2) not null, note text, old text, v tsvector);
insert into app.t select g, date '2026-01-01' + g % 50, g, 'n' || g, '' from generate_series(1, 100) g;
alter table app.t owner to owner;
create function app.f() returns trigger language plpgsql as 'begin return new; end';
create function app.reads() returns trigger language plpgsql as 'begin new.note = New . \"hours\"; return new; end';
create function code.secret() returns trigger language plpgsql as 'begin return new; end';
revoke execute on function code.secret from public;
create trigger fits after insert or update of at on app.t for each row execute function app.f();
";

const PLAN: &str = "
version: 1
name: refused
settings: {workers: 1, soak: 1h}
tables:
  - table: app.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true, schema: archive}
    primary_key: [id, at]
    columns:
      hours: {rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}
      old: drop
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_the_new_table_cannot_have_is_refused_by_name() {
    let cases = [
        (
            "create trigger x after update of old on app.t for each row execute function app.f()",
            "plan_fits_table",
            "trigger \"x\" uses column \"old\", which the plan drops",
            "drop trigger \"x\" on app.t",
        ),
        (
            "create trigger x before insert on app.t for each row execute function app.reads()",
            "plan_fits_table",
            "trigger \"x\" executes function app.reads, which reads new.\"hours\" or old.\"hours\": the plan renames",
            "to_jsonb(new) ->> 'hours'",
        ),
        (
            "create trigger x before insert on app.t for each row execute function tsvector_update_trigger(v, 'pg_catalog.simple', old)",
            "plan_fits_table",
            "has column \"old\", which the plan drops, among its arguments",
            "drop trigger \"x\"",
        ),
        (
            "create trigger x after insert on app.t referencing new table as n for each row execute function app.f()",
            "plan_fits_table",
            "trigger \"x\" is FOR EACH ROW and has transition tables",
            "make it FOR EACH STATEMENT",
        ),
        (
            "create constraint trigger x after insert on app.t deferrable for each row execute function app.f()",
            "plan_fits_table",
            "SET CONSTRAINTS would not find it on partitions in schema \"archive\"",
            "leave `schema` out of partition_by",
        ),
        (
            "alter table app.t add parent int references app.parents on delete cascade; create trigger x after delete on app.t execute function app.f()",
            "plan_fits_table",
            "trigger \"x\" is FOR EACH STATEMENT and would miss what foreign key \"t_parent_fkey\" does",
            "make it FOR EACH ROW",
        ),
        (
            "create trigger x after update on app.t for each row when (old.hours < 0.5 and old.hours::text = new.hours::numeric(9,2)::text) execute function app.f()",
            "",
            "",
            "",
        ),
        (
            "create trigger x after insert on app.t referencing new table as n execute function code.secret()",
            "triggers",
            "role \"mover\" may not execute function code.secret, so it cannot create trigger \"x\"",
            "grant usage on schema \"code\" to \"mover\"; grant execute on function \"code\".\"secret\"() to \"mover\"",
        ),
        (
            "create table app.other (id int); create constraint trigger x after insert on app.other from app.t for each row execute function app.f()",
            "unsupported",
            "a trigger of another table names it: x on app.other",
            "drop trigger x on app.other",
        ),
    ];
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let program = program.env("PGUSER", "mover");
    program.run("check", &[]).expect_code(0);
    for (sql, check, what, hint) in cases {
        client.batch_execute(sql).await.unwrap();
        let checked = program.run("check", &[]);
        let refusals = checked.refusals();
        if check.is_empty() {
            assert_eq!(checked.code, Some(0), "{sql}: {refusals:#?}");
        } else {
            assert_eq!(refusals.len(), 1, "{sql}: {refusals:#?}");
            assert!(refusals[0]["check"] == check && tells(refusals[0], what, hint), "{sql}: {refusals:#?}");
        }
        let undo = "do $$ declare t text; begin select tgrelid::regclass into t from pg_trigger where tgname = 'x' and tgparentid = 0; \
                    execute 'drop trigger x on ' || t; end $$; alter table app.t drop if exists parent; drop table if exists app.other";
        client.batch_execute(undo).await.unwrap();
    }
    // Without a superuser, and without a right on the function once green is made.
    client
        .batch_execute("create trigger x after insert on app.t referencing new table as n execute function code.secret(); \
            alter table app.t enable always trigger x; grant usage on schema code to mover; grant execute on function code.secret to mover")
        .await
        .unwrap();
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    client.batch_execute("revoke execute on function code.secret from mover").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
}

/// Each with what is said of it.
const CHANGES: [(&str, &str); 7] = [
    ("create trigger y before insert on app.t for each row execute function app.f()", "trigger y is new"),
    ("alter table app.t disable trigger fits", "trigger fits was changed"),
    ("alter table app.t enable always trigger fits", "trigger fits was changed"),
    (
        "drop trigger fits on app.t; create trigger fits after insert on app.t for each row execute function app.f()",
        "trigger fits was changed",
    ),
    ("comment on trigger fits on app.t is 'changed'", "trigger fits was changed"),
    ("alter trigger fits on app.t depends on extension tsm_system_rows", "trigger fits was changed"),
    ("drop trigger fits on app.t", "trigger fits was dropped"),
];

fn prepared(cluster: &Cluster, number: usize) -> Bluegreen {
    let db = format!("stopped{number}");
    cluster.create_db(&db);
    let schema = if number == 0 { SCHEMA } else { SCHEMA.split_once("create extension").unwrap().1 };
    cluster.psql(&db, &format!("{}{schema}", if number == 0 { "" } else { "create extension" }));
    Bluegreen::new(cluster, &db).plan(PLAN)
}

#[test]
fn a_trigger_that_is_made_changed_or_dropped_before_the_swap_stops_it() {
    let cluster = Cluster::start();
    for (number, (sql, what)) in CHANGES.into_iter().enumerate() {
        let program = prepared(&cluster, number);
        program.execute(&["--yes", "--until", "verify"]).expect_code(0);
        cluster.psql(&format!("stopped{number}"), sql);
        let stopped = program.execute(&["--yes"]).expect_code(1);
        assert!(stopped.error().contains(what), "{sql}: {}", stopped.error());
        program.run("rollback", &[]).expect_code(6);
    }
}

/// A swap back could not carry it, and one that only a partition has would fire for what the run writes after that.
#[test]
fn a_trigger_that_is_made_changed_or_dropped_in_the_soak_keeps_it_from_going_back() {
    let of_partitions = [
        (
            "create trigger z after insert on archive.t_p0 for each row execute function app.f()",
            "trigger z on partition archive.t_p0 is new",
        ),
        ("alter table archive.t_p0 disable trigger fits", "trigger fits on partition archive.t_p0 is new"),
    ];
    let cluster = Cluster::start();
    for (number, (sql, what)) in CHANGES.into_iter().chain(of_partitions).enumerate() {
        let program = prepared(&cluster, number);
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        let db = format!("stopped{number}");
        let leaf = cluster.psql(
            &db,
            "select min(inhrelid::regclass::text) from pg_inherits where inhparent = 'app.t'::regclass",
        );
        let (sql, what) =
            (sql.replace("archive.t_p0", leaf.trim()), what.replace("archive.t_p0", leaf.trim()));
        cluster.psql(&db, &sql);
        let stopped = program.run("rollback", &[]).expect_code(1);
        assert!(stopped.error().contains(&what), "{sql}: {}", stopped.error());
    }
    let live = "select count(*) from pg_partitioned_table where partrelid = 'app.t'::regclass";
    assert_eq!(cluster.psql("stopped0", live).trim(), "1", "{DB}");
}
