//! Triggers of a table: they fire for its clients as before, wherever it is, and never for what the program writes.

mod load;
mod refused;
mod renamed;
mod states;

use tokio_postgres::Client;

use crate::support::bluegreen::tells;
use crate::support::{Cluster, home, stage};

const DB: &str = "postgres";

/// Two tables, one that stays in one piece and one that is partitioned, with triggers of every kind that log what they
/// are called for.
const SCHEMA: &str = r#"
create role owner; create schema app authorization owner; create schema code;
create table app.log (n serial, what text);
create table app.owners (id int primary key); insert into app.owners values (1);
create function code.note() returns trigger language plpgsql as $$ begin
  insert into app.log (what) values (concat_ws(' ', tg_table_schema, tg_name, tg_when, tg_level, tg_op, tg_argv[0], tg_argv[1]));
  return case tg_op when 'DELETE' then old else new end; end $$;
create function code.rows() returns trigger language plpgsql as $$ begin
  insert into app.log (what) select concat_ws(' ', tg_name, tg_op, tg_level, count(*)) from n; return null; end $$;
create function code.touch() returns trigger language plpgsql as $$ begin new.note = new.note || '!'; return new; end $$;
create table app.t (id int primary key, hours numeric(9,2) not null, note text, owner int, gone int);
create table app."U u" (id int primary key, note text);
insert into app.t select g, g, 'n' || g, 1 from generate_series(1, 300) g;
insert into app."U u" select g, 'n' || g from generate_series(1, 300) g;

create trigger "A touch" before insert or update on app.t for each row execute function code.touch();
create trigger hours after update of hours, note on app.t for each row when (old.hours is distinct from new.hours)
  execute function code.note('it''s', 'app.t');
create trigger whole after update on app.t for each row when (old.* is distinct from new.*) execute function code.note();
create trigger always after insert or delete on app.t for each row execute function code.note();
create trigger replica before update on app.t for each row execute function code.note();
create trigger off after insert on app.t for each row execute function code.note();
create trigger statement before insert or update or delete or truncate on app.t execute function code.note();
create trigger rows after insert on app.t referencing new table as n for each statement execute function code.rows();
create trigger each after update on app.t referencing new table as n for each row execute function code.rows();
create constraint trigger deferred after insert or update of hours on app.t deferrable initially deferred
  for each row when (new.hours > 0) execute function code.note();
create constraint trigger refers after insert on app.t from app.owners not deferrable for each row execute function code.note();
create trigger redundant before update on app.t for each row execute function suppress_redundant_updates_trigger();
alter table app.t enable always trigger always, enable replica trigger replica, disable trigger off;
comment on trigger hours on app.t is 'it''s about hours'; alter trigger whole on app.t depends on extension plpgsql;

create trigger touch before insert or update on app."U u" for each row execute function code.touch();
create trigger row after insert or update or delete on app."U u" for each row execute function code.note('row');
create trigger always after insert on app."U u" for each row execute function code.note();
create trigger replica after insert on app."U u" for each row execute function code.note();
create trigger off after insert on app."U u" for each row execute function code.note();
create trigger rows after insert on app."U u" referencing new table as n for each statement execute function code.rows();
create constraint trigger deferred after insert on app."U u" deferrable initially deferred for each row execute function code.note();
alter table app."U u" enable always trigger always, enable replica trigger replica, disable trigger off;
comment on trigger row on app."U u" is 'for each';
alter table app.t owner to owner; alter table app."U u" owner to owner; grant usage on schema code to owner;
"#;

const PLAN: &str = r#"
version: 1
name: triggers
settings: {workers: 2, soak: 1h}
tables:
  - table: app.t
    columns:
      hours: {rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}
      gone: drop
  - table: app."U u"
    partition_by: {hash: id, partitions: 3}
"#;

/// What a client does, in a transaction that is undone, and what the triggers say of it.
async fn said(client: &Client, hours: &str, role: &str) -> Vec<String> {
    let sql = format!(
        "begin; set local session_replication_role = {role};
         insert into app.t (id, {hours}, note) values (9001, 60, 'new'), (9002, -60, 'new');
         set constraints app.deferred immediate; update app.t set {hours} = {hours} + 60 where id in (1, 2);
         update app.t set note = 'x' where id = 3; update app.t set owner = owner where id = 4; delete from app.t where id < 6;
         insert into app.\"U u\" values (9001, 'new'), (9002, 'new'), (9003, 'new'); update app.\"U u\" set note = 'x' where id < 4;
         delete from app.\"U u\" where id = 5; set constraints all immediate"
    );
    client.batch_execute(&sql).await.unwrap();
    let sql = "select what from app.log order by n";
    let mut said: Vec<String> = client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let touched = "select count(*)::text from (select note from app.t union all select note from app.\"U u\") x where note like '%!'";
    said.push(client.query_one(touched, &[]).await.unwrap().get(0));
    client.batch_execute("rollback").await.unwrap();
    said
}

/// The lines of a dump, without what the run has and what it changes.
fn dump(cluster: &Cluster, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let args = ["--schema-only", "--exclude-schema=projh_*", "--exclude-table=app.\"U u_h\"*"];
    let all = cluster.pg_dump(DB, &args);
    let is_ours =
        |line: &str| line.contains("projh_bg_") || line.contains("restrict ") || line.starts_with("--");
    all.lines()
        .filter(|line| !line.is_empty() && !is_ours(line) && is_wanted(line))
        .map(str::to_owned)
        .collect()
}

fn is_of_a_trigger(line: &str) -> bool {
    line.contains("TRIGGER ")
        && !line.contains(" hours ")
        && !line.contains(" deferred AFTER INSERT OR UPDATE")
}

async fn count(client: &Client, what: &str) -> i64 {
    client.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
}

/// Those that would fire for somebody, of the table that is not live.
const ENABLED: &str = "pg_trigger g join pg_class c on c.oid = g.tgrelid left join pg_inherits i on i.inhrelid = c.oid \
    left join pg_class p on p.oid = i.inhparent where g.tgenabled <> 'D' and g.tgconstraint not in (select oid from pg_constraint where contype = 'f') \
    and coalesce(p.relnamespace, c.relnamespace) in (select oid from pg_namespace where nspname like 'projh\\_bg\\_%')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_every_kind_move_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let (all, of_triggers) = (dump(&cluster, |_| true), dump(&cluster, is_of_a_trigger));
    let blue = said(&client, "hours", "origin").await;
    let blue_as_replica = said(&client, "hours", "replica").await;
    assert!(blue.iter().any(|line| line.contains("app hours AFTER ROW UPDATE it's app.t")), "{blue:#?}");
    assert!(!blue.iter().any(|line| line.contains("off") || line.contains("replica")), "{blue:#?}");
    assert!(blue_as_replica.iter().any(|line| line.contains("replica BEFORE")), "{blue_as_replica:#?}");

    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    assert_eq!(said(&client, "hours", "origin").await, blue);
    assert_eq!(count(&client, ENABLED).await, 0);
    for _ in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert_eq!(count(&client, "app.log").await, 0, "nothing that the program wrote fired one");
        assert_eq!(dump(&cluster, is_of_a_trigger), of_triggers);
        assert_eq!(said(&client, "minutes", "origin").await, blue);
        assert_eq!(said(&client, "minutes", "replica").await, blue_as_replica);
        assert_eq!(count(&client, ENABLED).await, 0);
        program.run("rollback", &[]).expect_code(6);
        assert_eq!(dump(&cluster, |_| true), all);
        assert_eq!(said(&client, "hours", "origin").await, blue);
        assert_eq!(said(&client, "hours", "replica").await, blue_as_replica);
        assert_eq!(count(&client, ENABLED).await, 0);
    }
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(dump(&cluster, is_of_a_trigger), of_triggers);
    assert_eq!(said(&client, "minutes", "origin").await, blue);
    assert_eq!(count(&client, "app.log").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_the_preview_say_what_becomes_of_each() {
    const TABLE: &str = "
create table t (id int primary key, at date not null, hours int);
create function alone() returns trigger language plpgsql as $$ begin return new; end $$;
create function names() returns trigger language plpgsql as $$ begin /* new.at */ perform tg_relid, TG_Table_Name, new.hours;
    return new; -- new.id
end $$;
create trigger moved after update on t for each row execute function alone();
create trigger fired after insert or delete on t for each row execute function alone();
create trigger first before insert on t for each row execute function alone();
create trigger named after truncate on t execute function names();
create trigger named_too after update of hours on t for each row execute function names();
alter table t disable trigger fired, enable always trigger first;";
    const BY_DATE: &str = "
version: 1
name: told
settings: {workers: 1}
tables:
  - table: public.t
    columns: {hours: {type: bigint}}
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
    primary_key: [id, at]
";
    let cluster = Cluster::start();
    let (_client, program) = stage(&cluster, TABLE, BY_DATE).await;
    let expected = [
        ("trigger moved: fires for clients as before, never for what the run writes", "nothing to do"),
        ("trigger fired: stays disabled", ""),
        ("trigger first: fires for clients as before (ENABLE ALWAYS)", ""),
        (
            "an UPDATE of at that moves a row to another partition does not fire as UPDATE for: moved, named_too; \
             fires as DELETE and INSERT: first",
            "partition by a column that no UPDATE changes",
        ),
        ("changes at so that the row belongs to another partition raises an error (0A000): first", ""),
        (
            "public.names (trigger named: TG_RELID), public.names (trigger named_too: TG_RELID, TG_TABLE_NAME)",
            "TG_ARGV",
        ),
        ("get other values: public.names (trigger named) gets column hours as bigint", ""),
    ];
    let checked = program.run("check", &[]).expect_code(0);
    let notes: Vec<_> =
        checked.events_of("finding").into_iter().filter(|note| note["check"] == "triggers").collect();
    for (what, hint) in expected {
        assert!(notes.iter().any(|note| tells(note, what, hint)), "{what}: {notes:#?}");
    }
    assert_eq!(notes.len(), 9, "{notes:#?}");
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    let of = |event: &str, key: &str, value: &str| {
        let found = preview.events_of(event);
        found.iter().filter(|one| one[key] == value).count()
    };
    assert_eq!(of("preview_change", "object", "trigger"), 5);
    assert_eq!(of("preview_notice", "topic", "triggers"), 4);

    program.write_plan(
        &BY_DATE
            .split("    columns:")
            .next()
            .unwrap()
            .replace("public.t", "public.t\n    add_columns: [x int]"),
    );
    let checked = program.run("check", &[]).expect_code(0);
    assert!(checked.stdout.contains("which is then the new table's OID"), "{}", checked.stdout);
    assert!(!checked.stdout.contains("TG_TABLE_NAME"), "{}", checked.stdout);
}

/// Triggers come to a partition that is made later, in their states.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_made_in_the_soak_has_them_too() {
    let cluster = Cluster::start();
    let schema = "create table t (id int primary key); create table log (n int);
        create function note() returns trigger language plpgsql as 'begin insert into public.log values (new.id); return null; end';
        create trigger a after insert on t for each row execute function note();
        create trigger b after insert on t for each row execute function note(); alter table t enable always trigger b;";
    let plan = "
version: 1
name: later
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {range: id, bounds: [0, 10], default: false}
";
    let (client, program) = stage(&cluster, schema, plan).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("create table t_later partition of t for values from (10) to (20); insert into t values (5), (15)").await.unwrap();
    assert_eq!(count(&client, "log").await, 4);
    program.run("rollback", &[]).expect_code(6);
    let blue = home(&client, "green").await;
    assert_eq!(count(&client, &format!("{blue}.t")).await, 2);
    client.batch_execute("insert into t values (6), (16)").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!((count(&client, "log").await, count(&client, "t").await), (8, 4));
}
