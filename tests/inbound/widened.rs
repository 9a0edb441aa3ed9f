//! Foreign keys whose referenced key the plan widens: turned to a table of keys or dropped, there and back.

use tokio_postgres::Client;

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, stage};

use super::{DB, all_hold, cascade, count, dump, referencing, rejected, same, schema};

/// Rows of three months, each with a key that is unique by itself.
const DATED: &str = "
alter table app.t add at date not null default '2026-02-10'; update app.t set at = date '2026-01-01' + id % 80;
create index parts_t on app.parts (t); create role clerk login; grant usage on schema app to clerk;
grant select, insert, update, delete on app.t, app.plain to clerk;
create role mover login replication in role owner, other; grant pg_read_all_stats to mover;
grant create on database postgres to mover;
alter default privileges for role mover in schema app grant all on tables to clerk;
alter default privileges for role mover grant execute on functions to clerk;
analyze;";

const PLAN: &str = "
version: 1
name: widened
settings: {workers: 2, soak: 1h}
tables:
  - table: app.lane
    columns: {n: {type: bigint}}
  - table: app.t
    partition_by: {range: at, every: 1 month, from: 2026-01-01, until: 2026-04-01}
    primary_key: [id, at]
    drop_indexes: [t_id_kind_key]
    columns: {note: {type: text}}
    inbound_foreign_keys: registry
";

/// The program is executed by a role that is no superuser.
async fn staged(cluster: &Cluster, plan: &str) -> (Client, Bluegreen) {
    let (client, program) = stage(cluster, &format!("{}{DATED}", schema(cluster)), plan).await;
    (client, program.env("PGUSER", "mover"))
}

/// The foreign keys that reference a table, or one of its keys' tables, in one list.
async fn all_referencing(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["app.t", "app.t_keys", "app.t_id_kind_keys"] {
        let exists = format!("pg_class where oid = to_regclass('{table}')");
        if count(client, &exists).await == 1 {
            let of = referencing(client, table).await;
            all.extend(
                of.split(", ").filter(|one| !one.contains(" projh_") && !one.is_empty()).map(str::to_owned),
            );
        }
    }
    all.sort();
    all
}

/// Keys are unique across partitions, moves keep the rows that reference them, and changes of keys are passed on.
async fn keys_are_kept(cluster: &Cluster, client: &Client) {
    let error = client
        .batch_execute("insert into app.t (id, kind, at) values (7, 2, '2026-03-31')")
        .await
        .unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        (error.code().code(), error.constraint(), error.table()),
        ("23505", Some("t_pkey"), Some("t"))
    );
    assert_eq!(error.message(), "duplicate key value violates unique constraint \"t_pkey\"");
    let clerk = cluster.client(DB).await;
    clerk.batch_execute("set session authorization clerk").await.unwrap();
    clerk
        .batch_execute(
            "insert into app.t (id, kind, at) values (7001, 1, '2026-01-15'); insert into app.plain (id, b, c) values (160, 7001, 7001);
             update app.t set at = '2026-03-15' where id = 7001; update app.t set at = '2026-02-15', note = 'moved' where id = 7001",
        )
        .await
        .unwrap();
    assert_eq!(rejected(&clerk, "update app.t set id = 7002 where id = 7001").await, "23503");
    assert_eq!(
        rejected(&clerk, "update app.t set id = 7002, at = '2026-01-02' where id = 7001").await,
        "23503"
    );
    assert_eq!(rejected(&clerk, "select from app.t_keys").await, "42501");
    let may = "pg_proc where proname = 't_keys' and has_function_privilege('clerk', oid, 'EXECUTE')";
    assert_eq!(count(client, may).await, 0);
    clerk
        .batch_execute(
            "update app.plain set b = null where id = 160;
             update app.t set id = 7002 where id = 7001; update app.t set id = 7003, at = '2026-01-02' where id = 7002",
        )
        .await
        .unwrap();
    assert_eq!(count(client, "app.plain where id = 160 and c = 7003").await, 1);
    assert_eq!(rejected(&clerk, "update app.t set id = 7 where id = 7003").await, "23505");
    clerk.batch_execute("delete from app.t where id = 7003").await.unwrap();
    assert_eq!(count(client, "app.plain where id = 160").await, 0);
    assert_eq!(rejected(client, "truncate app.t").await, "0A000");
}

fn sorted(dump: &str) -> String {
    let mut lines: Vec<&str> = dump.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

async fn registry_holds_the_keys(client: &Client) {
    let sql = "(select id from app.t except select id from app.t_keys) union all (select id from app.t_keys except select id from app.t)";
    assert_eq!(count(client, &format!("({sql}) x")).await, 0);
    let sql = "(select id, kind from app.t except select id, kind from app.t_id_kind_keys) union all \
               (select id, kind from app.t_id_kind_keys except select id, kind from app.t)";
    assert_eq!(count(client, &format!("({sql}) x")).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_every_kind_turn_to_a_registry_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = staged(&cluster, PLAN).await;
    let all = dump(&cluster, true);
    let before = all_referencing(&client).await;
    assert_eq!(before.len(), 15);
    program.run("check", &[]).expect_code(0);
    program.execute(&["--dry-run"]).expect_code(0);
    same(&all, &dump(&cluster, true));

    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    registry_holds_the_keys(&client).await;
    all_hold(&client).await;
    cascade(&client, 8001).await;
    registry_holds_the_keys(&client).await;
    program.run("rollback", &[]).expect_code(6);
    same(&all, &dump(&cluster, true));

    for cycle in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert_eq!(all_referencing(&client).await, before);
        assert_eq!(referencing(&client, "app.t").await, "");
        all_hold(&client).await;
        cascade(&client, 8101 + cycle * 10).await;
        keys_are_kept(&cluster, &client).await;
        registry_holds_the_keys(&client).await;

        program.run("rollback", &[]).expect_code(6);
        assert_eq!(all_referencing(&client).await, before);
        all_hold(&client).await;
        cascade(&client, 8201 + cycle * 10).await;
        registry_holds_the_keys(&client).await;
    }
    program.run("rollback", &["--drop-green"]).expect_code(6);
    // Grants on one table may be in another order.
    same(&sorted(&all), &sorted(&dump(&cluster, true)));
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(all_referencing(&client).await, before);
    all_hold(&client).await;
    cascade(&client, 8301).await;
    keys_are_kept(&cluster, &client).await;
    registry_holds_the_keys(&client).await;
    let ours = "select count(*) from pg_namespace where nspname like 'projh_bg%'";
    assert_eq!(client.query_one(ours, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_dropped_in_so_many_words_and_come_back() {
    let cluster = Cluster::start();
    let plan = PLAN.replace("inbound_foreign_keys: registry", "inbound_foreign_keys: drop");
    let (client, program) = staged(&cluster, &plan).await;
    let all = dump(&cluster, true);
    let before = all_referencing(&client).await;
    let orphan = "insert into app.plain (id, c) values (171, 9999)";
    for cycle in 0..2 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert_eq!(all_referencing(&client).await, Vec::<String>::new());
        client.batch_execute("insert into app.t (id, kind) values (9100, 1); insert into app.plain (id, a, c) values (170, 9100, 9100)").await.unwrap();
        // Nothing is carried out, and nothing is checked.
        client
            .batch_execute("delete from app.plain where id = 170; delete from app.t where id = 9100")
            .await
            .unwrap();
        client.batch_execute(orphan).await.unwrap();
        if cycle == 0 {
            client.batch_execute("delete from app.plain where id = 171").await.unwrap();
            program.run("rollback", &[]).expect_code(6);
            assert_eq!(all_referencing(&client).await, before);
            all_hold(&client).await;
            cascade(&client, 8401).await;
        }
    }
    // What the plan has accepted is reported, and everything else is as before.
    let told = "foreign key cascades on app.plain cannot be validated: 1 row points at no row of";
    program
        .run("rollback", &[])
        .expect_code(6)
        .expect_words(&[told, "then `projh-bluegreen rollback` does it"]);
    let left = r#"left to do: validate foreign key \"cascades\" on app.plain (`projh-bluegreen rollback"#;
    program.run("status", &[]).expect_code(0).expect_words(&[left]);
    program.run("rollback", &[]).expect_code(6).expect_words(&[told]);
    assert_eq!(rejected(&client, "insert into app.plain (id, c) values (172, 9999)").await, "23503");
    client.batch_execute("delete from app.plain where id = 171").await.unwrap();
    let done = program.run("rollback", &[]).expect_code(6);
    assert!(!done.stdout.contains("left to do"), "{}", done.stdout);
    assert_eq!(all_referencing(&client).await, before);
    // Green can be dropped although a key is not valid.
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute(orphan).await.unwrap();
    let but = r#"as it was but for what could not be done: validate foreign key \"cascades\" on app.plain"#;
    program.run("rollback", &["--drop-green"]).expect_code(6).expect_words(&[told, but]);
    client
        .batch_execute(
            "delete from app.plain where id = 171; alter table app.plain validate constraint cascades",
        )
        .await
        .unwrap();
    same(&sorted(&all), &sorted(&dump(&cluster, true)));
    all_hold(&client).await;
}

const SMALL: &str = "
create table app.orders (id bigint primary key, at date not null, up bigint, ref text unique, code int unique);
create table app.lines (id int, o bigint constraint fits references app.orders);
create table app.notes (id int, o bigint constraint noted references app.orders on delete cascade);
insert into app.orders select g, date '2026-01-01' + g % 50 from generate_series(1, 100) g; insert into app.lines select g, g from generate_series(1, 50) g;
analyze;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_explains_the_choices_with_figures() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    client.batch_execute(&format!("create schema app;{SMALL}")).await.unwrap();
    let plan = "version: 1\nname: small\nsettings: {workers: 1}\ntables:\n  - table: app.orders\n    \
                partition_by: {range: at, every: 1 month}\n    primary_key: [id, at]\n    drop_indexes: [orders_ref_key, orders_code_key]\n";
    let refused = |more: &str| {
        let program = Bluegreen::new(&cluster, DB).plan(&format!("{plan}{more}"));
        program.run("check", &[]).expect_code(3)
    };
    let by_itself = refused("");
    let by_itself = by_itself.refusals();
    assert_eq!(by_itself.len(), 1, "{by_itself:#?}");
    for (what, hint) in [
        (
            "foreign keys fits on app.lines, noted on app.notes reference (id), and the plan leaves no unique key",
            "",
        ),
        ("", "`inbound_foreign_keys: registry`: a table of the keys of app.orders, about 100 keys in 7 kB"),
        ("", "app.lines, app.notes (about 50 rows)"),
        ("", "`inbound_foreign_keys: drop`"),
        ("", "{hash: id, partitions: 16} keeps it"),
        ("", "alter table app.notes drop constraint noted"),
    ] {
        assert!(by_itself.iter().any(|finding| tells(finding, what, hint)), "{what} {hint}: {by_itself:#?}");
    }
    let composite = refused("    inbound_foreign_keys: composite\n");
    let composite = composite.refusals();
    let what = "`inbound_foreign_keys: composite` is not carried out by this version: app.lines, app.notes would need column";
    assert!(
        composite.iter().any(|finding| tells(finding, what, "inbound_foreign_keys: registry")),
        "{composite:#?}"
    );

    client
        .batch_execute("alter table app.notes add r text constraint by_ref references app.orders (ref)")
        .await
        .unwrap();
    let registry = "    inbound_foreign_keys: registry\n";
    let nullable = refused(registry);
    let nullable = nullable.refusals();
    let what = "a table of keys, app.orders_ref_keys, cannot be kept: column \"ref\" can be NULL";
    assert!(nullable.iter().any(|finding| tells(finding, what, "set not null")), "{nullable:#?}");
    client.batch_execute("alter table app.notes drop r; alter table app.orders force row level security; alter table app.orders enable row level security; \
                          create role plain_owner; grant create, usage on schema app to plain_owner; alter table app.orders owner to plain_owner").await.unwrap();
    let forced = refused(registry);
    let forced = forced.refusals();
    assert!(
        forced.iter().any(|finding| tells(finding, "row security is forced", "BYPASSRLS")),
        "{forced:#?}"
    );
    client
        .batch_execute("alter table app.orders no force row level security; create table app.orders_keys ()")
        .await
        .unwrap();
    let taken = refused(registry);
    let taken = taken.refusals();
    assert!(
        taken.iter().any(|finding| tells(finding, "already has a relation or type \"orders_keys\"", "")),
        "{taken:#?}"
    );
}

/// Also where the primary key includes the column of the other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_a_table_of_its_own() {
    const BLUE: &str = "
create table t (id int, code int not null, at date not null, constraint t_pkey primary key (id) include (code), constraint t_code_key unique (code));
create table of_id (id int primary key, t int references t (id)); create table of_code (id int primary key, t int references t (code));
insert into t select g, g, date '2026-01-01' + g % 50 from generate_series(1, 100) g;
insert into of_id select g, g from generate_series(1, 100) g; insert into of_code select g, g from generate_series(1, 100) g;";
    const PLAN: &str = "
version: 1
name: two
settings: {soak: 1h}
tables:
  - table: public.t
    partition_by: {range: at, every: 1 month, from: 2026-01-01, until: 2026-04-01}
    primary_key: [id, at]
    drop_indexes: [t_code_key]
    inbound_foreign_keys: registry
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    for table in ["t_keys", "t_code_keys"] {
        assert_eq!(count(&client, table).await, 100, "{table}");
    }
    for child in ["of_id", "of_code"] {
        assert_eq!(
            rejected(&client, &format!("insert into {child} values (101, 101)")).await,
            "23503",
            "{child}"
        );
    }
    program.run("rollback", &["--drop-green"]).expect_code(6);
}
