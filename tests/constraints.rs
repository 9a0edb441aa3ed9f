//! Constraints that are checked late, or of several rows, and defaults elsewhere that take values from an identity: all of it
//! moves there and back under clients who rely on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;

use crate::support::bluegreen::tells;
use crate::support::{Bluegreen, Cluster, listed, stage};

const DB: &str = "postgres";

const SCHEMA: &str = r#"
create extension btree_gist; create schema app;
create table app.tasks (id bigint generated always as identity primary key, place int not null, title text,
    constraint "In order" unique (place) include (title) with (fillfactor = 80) deferrable initially deferred,
    constraint titles unique (title) deferrable);
comment on constraint "In order" on app.tasks is 'at the end';
create table app.bookings (id int primary key, room int not null, during int4range not null, off boolean not null default false,
    constraint once exclude using gist (room with =, during with &&) with (fillfactor = 70) where (not off) deferrable);
comment on constraint once on app.bookings is 'one at a time'; comment on index app.once is 'by room';
create table app.numbered (n int constraint numbered_key primary key deferrable initially deferred, note text, big text);
alter table app.numbered replica identity full, alter big set storage external;
create table app.more (id bigint default nextval('app.tasks_id_seq') primary key, of regclass default 'app.tasks'::regclass) partition by hash (id);
create table app.more_0 partition of app.more for values with (modulus 1, remainder 0);
create view app.last as select id, of from app.more; alter view app.last alter column id set default nextval('app.tasks_id_seq');
insert into app.tasks (place, title) select g, 't' || g from generate_series(1, 200) g;
insert into app.bookings select g, g % 20, int4range(g / 20, g / 20 + 1) from generate_series(1, 200) g;
insert into app.numbered select g, nullif('n' || g % 5, 'n0'), repeat('b', 3000) from generate_series(1, 60) g;
insert into app.more select from generate_series(1, 10);
"#;

const PLAN: &str = "
version: 1
name: constraints
settings: {workers: 2, soak: 1h, throttle: {rest_percent: 0}}
tables:
  - table: app.tasks
  - table: app.bookings
  - table: app.numbered
";

/// Each satisfies the constraints only at its end.
const STATEMENTS: [&str; 6] = [
    "update app.numbered set n = n + 1",
    "begin; update app.tasks set place = 2 where title = 't1'; update app.tasks set place = 1 where title = 't2';
     update app.tasks set title = case title when 't1' then 't2' else 't1' end where title in ('t1', 't2'); commit",
    "begin; set constraints app.once deferred; update app.bookings set room = 1 - room where room in (0, 1); commit",
    "begin; insert into app.numbered values (5, 'twice', null); delete from app.numbered where n = 5 and note = 'twice'; commit",
    "begin; insert into app.last default values; insert into app.tasks (place) select max(place) + 1 from app.tasks;
     update app.bookings set off = not off where id = 7; commit",
    "update app.numbered set n = n - 1",
];

/// One transaction, larger than others are applied in one piece.
const LARGE: &str =
    "begin; insert into app.numbered select g, null, repeat('b', 3000) from generate_series(1000, 3900) g;
    update app.numbered set n = n + 1 where n >= 1000; delete from app.numbered where n >= 1000; commit";

/// A dump without what the run itself has.
fn dump(cluster: &Cluster) -> String {
    let lines = cluster.pg_dump(DB, &["--schema-only", "--exclude-schema=projh_*"]);
    let is_ours = |line: &str| line.contains("projh_bg_") || line.contains("restrict ");
    let is_kept = |line: &&str| !is_ours(line) && !line.is_empty() && !line.starts_with("--");
    lines.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_constraints_and_shared_sequences_move_there_and_back_and_there_again() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let version = number(&client, "select current_setting('server_version_num')::bigint").await;
    if version >= 180_000 {
        let sql = "alter table app.tasks add note text; alter table app.tasks add constraint has_note not null note not valid;
                   alter table app.tasks alter note set default ''; update app.tasks set note = '' where title in ('t1', 't2');
                   comment on constraint has_note on app.tasks is 'from now on'";
        client.batch_execute(sql).await.unwrap();
    }
    let before = dump(&cluster);
    listed(&program, &["default of column id of app.more depends on it", "default of column id of app.last"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, writer) = (Arc::clone(&stop), cluster.client(DB).await);
    let writing = tokio::spawn(async move {
        let mut rounds = 0_i64;
        while !stopped.load(Ordering::Relaxed) {
            for sql in STATEMENTS {
                writer.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            rounds += 1;
        }
        rounds
    });
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(dump(&cluster), before);
    client.batch_execute(LARGE).await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(dump(&cluster), before);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    let rounds = writing.await.unwrap();
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(dump(&cluster), before);
    assert!(rounds > 3, "{rounds}");
    assert_eq!(number(&client, "select count(*) from app.more").await, 10 + rounds);
    assert_eq!(number(&client, "select count(*) from app.tasks").await, 200 + rounds);
    assert_eq!(number(&client, "select sum(n) from app.numbered").await, 60 * 61 / 2);
    let shared = "select count(*) from app.more join app.tasks using (id)";
    assert_eq!(number(&client, shared).await, 0, "both take values from one sequence");
    let now = "with made as (insert into app.more default values returning of) select count(*) from made where of = 'app.tasks'::regclass";
    assert_eq!(number(&client, now).await, 1);
}

/// A partitioned table cannot have them, and a key that is checked late needs whole rows in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_checked_late_is_refused_by_name() {
    let cluster = Cluster::start();
    let (client, _) = stage(&cluster, SCHEMA, PLAN).await;
    client.batch_execute("alter table app.numbered replica identity default").await.unwrap();
    let refused = |plan: String, what: &str, hint: &str| {
        let checked = Bluegreen::new(&cluster, DB).plan(&plan).run("check", &[]).expect_code(3);
        let found = checked.refusals().into_iter().any(|finding| tells(finding, what, hint));
        assert!(found, "{what}: {}", checked.stdout);
    };
    refused(
        PLAN.to_owned(),
        "no key of app.numbered identifies its rows in the stream",
        "alter table app.numbered replica identity full",
    );
    let hashed = |table: &str, column: &str| {
        format!(
            "version: 1\nname: hashed\ntables:\n  - table: {table}\n    partition_by: {{hash: {column}, partitions: 2}}\n"
        )
    };
    refused(
        hashed("app.bookings", "id"),
        "exclusion constraint \"once\" cannot be carried to a partitioned table",
        "leave out partition_by, or give it up: drop_indexes: [once]",
    );
    refused(
        hashed("app.tasks", "id"),
        "deferrable constraint \"In order\" cannot be carried to a partitioned table",
        "drop_indexes: ['\"In order\"']",
    );
    let dropped = "version: 1\nname: dropped\ntables:\n  - table: app.tasks\n    columns: {id: drop}\n    primary_key: [place]\n";
    refused(
        dropped.to_owned(),
        "default of column id of app.last uses the sequence of column \"id\", which the plan drops",
        "ALTER VIEW \"app\".\"last\" ALTER COLUMN \"id\" DROP DEFAULT",
    );
    client
        .batch_execute("create function app.of(app.tasks) returns app.tasks begin atomic delete from app.tasks; select $1; end")
        .await
        .unwrap();
    refused(
        PLAN.to_owned(),
        "a function has its row type in its signature: app.of(app.tasks)",
        "save what select pg_get_functiondef('app.of(app.tasks)'::regprocedure) prints",
    );
}
