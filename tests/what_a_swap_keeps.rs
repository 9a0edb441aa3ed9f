//! What a swap keeps: everything that a table is made of goes with the name to green, what it
//! would have lost is reported, and what cannot be carried is refused by name.

use std::process::Command;

use projh_bluegreen::hangs_on::{self, BlockerKind, Definition, Green, Homes};
use projh_bluegreen::pg::{Ident, QName};
use projh_bluegreen::plan::partition::Leaf;
use projh_bluegreen::plan::{AddColumn, ColumnChange, NewIndex, PartitionBy, Partitions, TablePlan, Unit};
use tokio_postgres::{Client, NoTls};

// ---- a server of our own; to be replaced by tests/support/cluster.rs ---------------------------

struct Cluster {
    dir: tempfile::TempDir,
}

const BIN: &str = "/usr/lib/postgresql/15/bin";

fn as_postgres(program: &str, arguments: &[&str]) {
    let bin = std::env::var("PROJH_PG_BIN").unwrap_or_else(|_| BIN.to_owned());
    let output = Command::new("setpriv")
        .args(["--reuid", "postgres", "--regid", "postgres", "--init-groups"])
        .arg(format!("{bin}/{program}"))
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(output.success(), "{program} {arguments:?}");
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert!(Command::new("chown").args(["postgres", path]).status().unwrap().success());
        let data = format!("{path}/data");
        as_postgres("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-N"]);
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={path} -c wal_level=logical -c fsync=off"
        );
        as_postgres("pg_ctl", &["-D", &data, "-w", "-l", &format!("{path}/log"), "-o", &options, "start"]);
        Self { dir }
    }

    async fn client(&self, database: &str) -> Client {
        let config = format!("host={} user=postgres dbname={database}", self.dir.path().display());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        as_postgres(
            "pg_ctl",
            &["-D", &format!("{}/data", self.dir.path().display()), "-m", "immediate", "stop"],
        );
    }
}

/// A server with one empty database.
async fn database() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    (cluster, client)
}

// ---- the nastiest table we could think of -----------------------------------------------------

const SCHEMA: &str = r#"
do $$ declare r text; begin
  foreach r in array array['Owner Ö', 'app', 'reader', 'anon', 'grantor'] loop
    if not exists (select from pg_roles where rolname = r) then execute format('create role %I', r); end if;
  end loop;
end $$;
grant create on schema public to "Owner Ö";
create schema "Other schema";
create function "Other schema".current_provider() returns int language sql stable as $$ select 7 $$;
create table "Other schema"."Pat""ients" (id int primary key, clinic text not null, unique (id, clinic));
create table public.providers (id bigint primary key);
insert into "Other schema"."Pat""ients" select g, 'c' || g from generate_series(1, 50) g;
insert into public.providers select g from generate_series(1, 50) g;
alter default privileges grant select on tables to anon;
alter default privileges grant usage, select on sequences to anon;
alter default privileges grant usage on schemas to anon;
create table public."Termine für ""alle""" (
  gone_first text,
  id bigint generated always as identity (start with 100 increment by 3 cache 5),
  "Start" timestamptz not null default now(),
  "Serial" serial,
  patient int not null,
  clinic text not null,
  provider bigint,
  status varchar(20) not null default 'scheduled',
  notes text collate "C",
  tags text[] default '{}',
  payload jsonb,
  price numeric(10,2) check (price >= 0),
  minutes int generated always as (patient * 2) stored,
  gone_last int,
  constraint "Termine_pkey" primary key (id, "Start") include (status) with (fillfactor = 80),
  constraint "status is known" check (status in ('scheduled', 'done', 'it''s off')),
  constraint "not too late" check ("Start" < '2100-01-01') no inherit,
  constraint one_per_provider unique (provider, "Start", patient),
  constraint to_patient foreign key (patient, clinic) references "Other schema"."Pat""ients" (id, clinic) on update cascade on delete cascade,
  constraint to_provider foreign key (provider) references public.providers (id) on delete set null deferrable initially deferred
) with (fillfactor = 70, autovacuum_enabled = false, toast.autovacuum_enabled = false);
alter table public."Termine für ""alle""" drop column gone_first, drop column gone_last;
alter table public."Termine für ""alle""" add constraint old_rows_break_it check (patient <> 13) not valid;
alter table public."Termine für ""alle""" owner to "Owner Ö";
alter table public."Termine für ""alle""" alter column notes set storage external;
alter table public."Termine für ""alle""" alter column notes set compression pglz;
alter table public."Termine für ""alle""" alter column status set statistics 321;
alter table public."Termine für ""alle""" alter column provider set (n_distinct = 50, n_distinct_inherited = 51);
create index by_lower on public."Termine für ""alle""" (lower(notes) text_pattern_ops desc nulls last, "Start") include (clinic) where status <> 'done' and status in ('scheduled', 'x');
create index by_tags on public."Termine für ""alle""" using gin (tags) with (fastupdate = off);
create unique index unique_serial on public."Termine für ""alle""" ("Serial", "Start");
create index brin_start on public."Termine für ""alle""" using brin ("Start" timestamptz_minmax_ops);
create index "where is "" on table" on public."Termine für ""alle""" (patient) where notes <> ' WHERE x';
alter index public.by_lower alter column 1 set statistics 77;
alter table public."Termine für ""alle""" cluster on one_per_provider;
alter table public."Termine für ""alle""" enable row level security, force row level security;
create policy p_select on public."Termine für ""alle""" for select to app, reader using (provider = "Other schema".current_provider() or status in ('done', 'scheduled'));
create policy p_insert on public."Termine für ""alle""" for insert to app with check (patient > 0);
create policy p_update on public."Termine für ""alle""" for update to public using (true) with check (provider is not null);
create policy "p delete" on public."Termine für ""alle""" as restrictive for delete to app using (exists (select 1 from public.providers p where p.id = provider));
create policy p_itself on public."Termine für ""alle""" to reader using (exists (select 1 from public."Termine für ""alle""" t where t.patient = "Termine für ""alle""".patient and t.id < "Termine für ""alle""".id));
grant select, insert on public."Termine für ""alle""" to app;
grant update (status, notes) on public."Termine für ""alle""" to app;
grant select (id) on public."Termine für ""alle""" to public;
grant select on public."Termine für ""alle""" to grantor with grant option;
set role grantor; grant select on public."Termine für ""alle""" to reader; reset role;
revoke truncate on public."Termine für ""alle""" from "Owner Ö";
grant usage on sequence public."Termine für ""alle""_id_seq" to app;
comment on table public."Termine für ""alle""" is 'it''s a table';
comment on column public."Termine für ""alle"""."Start" is 'when \ "it" begins';
comment on constraint "status is known" on public."Termine für ""alle""" is 'c1';
comment on constraint "Termine_pkey" on public."Termine für ""alle""" is 'c2';
comment on constraint to_patient on public."Termine für ""alle""" is 'c3';
comment on constraint old_rows_break_it on public."Termine für ""alle""" is 'c4';
comment on index public.by_lower is 'c5';
comment on index public."Termine_pkey" is 'c6';
comment on policy p_itself on public."Termine für ""alle""" is 'c7';
comment on policy p_select on public."Termine für ""alle""" is 'c8';
comment on sequence public."Termine für ""alle""_id_seq" is 'c9';
alter table public."Termine für ""alle""" drop constraint old_rows_break_it;
insert into public."Termine für ""alle""" ("Start", patient, clinic, provider, status, notes, tags, payload, price)
  select '2026-01-01'::timestamptz + g * interval '1 hour', g % 50 + 1, 'c' || g % 50 + 1, g % 50 + 1, 'done', repeat('n', g), array['a', g::text], '{}', g
  from generate_series(1, 1500) g;
-- committed
alter table public."Termine für ""alle""" add constraint old_rows_break_it check (patient <> 13) not valid;
comment on constraint old_rows_break_it on public."Termine für ""alle""" is 'c4';
"#;

async fn load(client: &Client) {
    for part in SCHEMA.split("-- committed") {
        client.batch_execute(part).await.unwrap();
    }
}

fn table() -> QName {
    QName::new("public", "Termine für \"alle\"")
}

fn homes() -> Homes {
    Homes { blue: "bg_blue_1".into(), green: "bg \"green\"".into() }
}

fn plan(partition_by: Option<PartitionBy>) -> TablePlan {
    TablePlan {
        table: table(),
        partition_by,
        primary_key: None,
        replica_identity_full: false,
        columns: std::collections::BTreeMap::new(),
        add_columns: Vec::new(),
        indexes: Vec::new(),
        drop_indexes: Vec::new(),
    }
}

fn by_month() -> (Option<PartitionBy>, Vec<Leaf>) {
    let every = Partitions::Every { count: 1, unit: Unit::Month, from: None, ahead: 1 };
    let by = PartitionBy { column: "Start".into(), into: every, default: true, schema: None, name: None };
    let leaf = |name: &str, bound: &str| Leaf { name: name.into(), bound: bound.to_owned() };
    let leaves = vec![
        leaf("Termine_p2026_01", "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"),
        leaf("Termine_p2026_02", "FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"),
        leaf("Termine_default", "DEFAULT"),
    ];
    (Some(by), leaves)
}

async fn run(client: &Client, statements: &[String]) {
    for statement in statements {
        if let Err(error) = client.batch_execute(statement).await {
            panic!("{statement}\n{:?}", error.as_db_error());
        }
    }
}

/// The whole journey by hand, without a stream: nobody writes.
async fn migrate(client: &Client, green: &Green) {
    run(client, &green.homes.create()).await;
    client.batch_execute("begin").await.unwrap();
    run(client, &green.create()).await;
    run(client, &green.rehearsal()).await;
    client.batch_execute("commit").await.unwrap();
    let (targets, sources) = green.select_list();
    let copy = format!(
        "insert into {} ({}) overriding system value select {} from {}",
        green.at_home(),
        projh_bluegreen::pg::list(targets),
        sources.join(", "),
        green.live()
    );
    run(client, &[copy]).await;
    for build in green.index_builds() {
        run(client, &build.on_row_holders.into_iter().map(|(_, sql)| sql).collect::<Vec<_>>()).await;
        run(client, &build.on_parent.into_iter().collect::<Vec<_>>()).await;
    }
    run(client, &green.after_indexes()).await;
    client.batch_execute("begin").await.unwrap();
    run(
        client,
        &green.locks().iter().map(|t| format!("lock table {t} in access exclusive mode")).collect::<Vec<_>>(),
    )
    .await;
    let exchange = green.exchange();
    run(client, &exchange.before).await;
    run(client, &exchange.after).await;
    client.batch_execute("commit").await.unwrap();
    run(client, &green.settle().into_iter().map(|step| step.sql).collect::<Vec<_>>()).await;
}

async fn designed(client: &Client, plan: &TablePlan, leaves: &[Leaf]) -> (Definition, Green) {
    let blue = hangs_on::read(client, &plan.table).await.unwrap();
    let green =
        Green::design(&blue, plan, leaves, &homes()).unwrap_or_else(|conflicts| panic!("{conflicts:#?}"));
    // what the journal keeps is what a resumed run gets
    let kept: Green = serde_json::from_str(&serde_json::to_string(&green).unwrap()).unwrap();
    assert_eq!(kept, green);
    (blue, green)
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_partitioned_green_keeps_everything() {
    let (_cluster, client) = database().await;
    load(&client).await;
    assert_eq!(hangs_on::blockers(&client, &table()).await.unwrap(), []);
    let (by, leaves) = by_month();
    let (blue, green) = designed(&client, &plan(by), &leaves).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    assert_eq!(now.leaves.len(), 3);
    let old = green.blue_at_home();
    let (one, other) = (format!("table {}", green.live()), format!("table {old}"));
    for sql in [format!("({one} except {other})"), format!("({other} except {one})")] {
        let sql = sql.replace("table ", "select id, \"Start\", \"Serial\", patient, clinic, provider, status, notes, tags, payload, price, minutes from ");
        assert_eq!(count(&client, &format!("select count(*) from {sql} x")).await, 0);
    }
    // blue is closed to everybody but its owner, and so is every leaf
    for relation in now.leaves.iter().map(|leaf| leaf.name.clone()).chain([old.clone()]) {
        for role in ["app", "reader", "anon", "grantor"] {
            let sql = format!(
                "select (has_any_column_privilege('{role}', '{relation}', 'select, insert, update') or has_table_privilege('{role}', '{relation}', 'select, insert, update, delete, truncate'))::int::bigint",
            );
            assert_eq!(count(&client, &sql).await, 0, "{role} on {relation}");
        }
    }
    // the next identity is past every one that blue gave, and the serial goes on
    let insert = format!(
        "insert into {} (patient, clinic, provider, \"Start\") values (1, 'c1', 1, '2026-01-15 00:00:01') returning id - (select max(id) from {old}), (\"Serial\" - (select max(\"Serial\") from {old}))::bigint",
        green.live()
    );
    let row = client.query_one(&insert, &[]).await.unwrap();
    assert!(row.get::<_, i64>(0) >= 3000, "{:?}", row.get::<_, i64>(0));
    assert_eq!(row.get::<_, i64>(1), 1);
    // referential actions reach the leaves
    client.batch_execute("delete from public.providers where id = 9").await.unwrap();
    assert_eq!(count(&client, &format!("select count(*) from {} where provider = 9", green.live())).await, 0);
    // finish
    run(&client, &[green.drop_blue()]).await;
    run(&client, &green.homes.drop()).await;
    let again = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&again, &green), Vec::<String>::new());
}

#[tokio::test]
async fn a_plain_green_keeps_everything() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let index = format!("alter table {} replica identity using index \"Termine_pkey\"", table());
    client.batch_execute(&index).await.unwrap();
    let (blue, green) = designed(&client, &plan(None), &[]).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
}
