//! What a swap keeps: everything that a table is made of goes with the name to green, what it
//! would have lost is reported, and what cannot be carried is refused by name.

#![allow(clippy::unwrap_used, clippy::panic, clippy::too_many_lines, clippy::useless_format)]

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

const SCHEMA: &str = include_str!("what_a_swap_keeps.sql");

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

#[tokio::test]
async fn whatever_is_taken_away_is_reported() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let (blue, green) = designed(&client, &plan(by), &leaves).await;
    migrate(&client, &green).await;
    let t = table().to_string();
    let damages = [
        (format!("alter table {t} owner to postgres"), "owner"),
        (format!("comment on table {t} is null"), "comment"),
        (format!("alter table {t} disable row level security"), "row security"),
        (format!("alter table {t} no force row level security"), "forced row security"),
        (format!("alter table {t} replica identity full"), "replica identity"),
        (format!("alter table {t} alter status drop default"), "default of column \"status\""),
        (format!("alter table {t} alter status set default 'done'"), "default of column \"status\""),
        (format!("alter table {t} alter clinic drop not null"), "NOT NULL of column \"clinic\""),
        (format!("alter table {t} alter id set generated by default"), "identity of column \"id\""),
        (format!("alter table {t} alter id set maxvalue 1000000"), "sequence"),
        (
            format!("alter sequence public.\"Termine für \"\"alle\"\"_Serial_seq\" owned by none"),
            "no longer belongs",
        ),
        (format!("revoke usage on sequence public.\"Termine für \"\"alle\"\"_id_seq\" from app"), "sequence"),
        (format!("comment on sequence public.\"Termine für \"\"alle\"\"_id_seq\" is null"), "sequence"),
        (format!("alter table {t} alter minutes drop expression"), "generation of column \"minutes\""),
        (format!("alter table {t} alter notes set storage extended"), "storage of column \"notes\""),
        (format!("alter table {t} alter notes set compression default"), "compression of column \"notes\""),
        (format!("alter table {t} alter status set statistics -1"), "statistics target of column \"status\""),
        (format!("alter table {t} alter provider reset (n_distinct)"), "options of column \"provider\""),
        (format!("comment on column {t}.\"Start\" is 'other'"), "comment of column \"Start\""),
        (format!("revoke update (notes) on {t} from app"), "grants of column \"notes\""),
        (format!("revoke select (id) on {t} from public"), "grants of column \"id\""),
        (format!("revoke insert on {t} from app"), "grants"),
        (format!("revoke grant option for select on {t} from grantor"), "grants"),
        (format!("grant delete on {t} to anon"), "grants"),
        (format!("grant truncate on {t} to \"Owner Ö\""), "the owner's privileges"),
        (format!("alter table {t} drop constraint \"status is known\""), "CHECK \"status is known\" is gone"),
        (
            format!(
                "alter table {t} drop constraint \"not too late\", add constraint \"not too late\" check (\"Start\" < '2200-01-01')"
            ),
            "CHECK \"not too late\"",
        ),
        (format!("comment on constraint \"status is known\" on {t} is null"), "comment on CHECK"),
        (format!("alter table {t} drop constraint to_patient"), "foreign key \"to_patient\" is gone"),
        (
            format!(
                "alter table {t} drop constraint to_provider, add constraint to_provider foreign key (provider) references public.providers (id)"
            ),
            "definition of foreign key \"to_provider\"",
        ),
        (format!("comment on constraint to_patient on {t} is null"), "comment on foreign key"),
        (format!("alter table {t} drop constraint one_per_provider"), "index \"one_per_provider\" is gone"),
        (
            format!(
                "alter table {t} drop constraint \"Termine_pkey\", add constraint \"Termine_pkey\" primary key (\"Start\", id)"
            ),
            "columns of index \"Termine_pkey\"",
        ),
        (
            format!(
                "drop index public.by_lower; create index by_lower on {t} (lower(notes) text_pattern_ops, \"Start\") include (clinic)"
            ),
            "definition of index \"by_lower\"",
        ),
        (format!("alter index public.by_lower rename to by_upper"), "index \"by_lower\" is gone"),
        (
            format!("alter index public.by_lower alter column 1 set statistics 78"),
            "statistics targets of index",
        ),
        (format!("comment on index public.by_lower is null"), "comment of index \"by_lower\""),
        (format!("comment on constraint \"Termine_pkey\" on {t} is null"), "constraint's comment of index"),
        (format!("drop policy p_update on {t}"), "policy \"p_update\" is gone"),
        (format!("alter policy p_update on {t} using (false)"), "condition of policy \"p_update\""),
        (format!("alter policy p_select on {t} to app"), "roles of policy \"p_select\""),
        (format!("create policy another on {t} using (true)"), "policy \"another\" is new"),
        (format!("comment on policy p_itself on {t} is null"), "comment of policy"),
        (
            "alter table public.\"Termine_p2026_01\" reset (fillfactor)".to_owned(),
            "storage parameters of public.\"Termine_p2026_01\"",
        ),
        (
            "alter table public.\"Termine_p2026_01\" reset (toast.autovacuum_enabled)".to_owned(),
            "TOAST storage parameters",
        ),
        ("grant select on public.\"Termine_p2026_01\" to anon".to_owned(), "roles that reach"),
        ("alter table public.\"Termine_p2026_01\" disable row level security".to_owned(), "row security of"),
        ("alter table public.\"Termine_p2026_01\" replica identity full".to_owned(), "replica identity of"),
        ("alter table public.\"Termine_p2026_01\" owner to postgres".to_owned(), "owner of"),
        (format!("alter table {t} add column extra int"), "columns"),
        (format!("alter table {t} set schema \"Other schema\"; create table {t} ()"), "columns"),
    ];
    for (damage, expected) in damages {
        client.batch_execute("begin").await.unwrap();
        client.batch_execute(&damage).await.unwrap_or_else(|error| panic!("{damage}: {error:?}"));
        let now = hangs_on::read(&client, &table()).await.unwrap();
        let found = blue.differences(&now, &green);
        assert!(
            found.iter().any(|found| found.starts_with(expected) || found.contains(expected)),
            "{damage}: {found:#?}"
        );
        client.batch_execute("rollback").await.unwrap();
    }
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_but_the_owner_reaches_green_before_the_swap() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let (_, green) = designed(&client, &plan(by), &leaves).await;
    run(&client, &green.homes.create()).await;
    // without the seal the default privileges open green: the test can fail
    for sealed in [false, true] {
        client.batch_execute("begin").await.unwrap();
        let mut create = green.create();
        if !sealed {
            create.retain(|sql| !sql.starts_with("DO "));
        }
        run(&client, &create).await;
        let open = count(
            &client,
            "select count(*) from pg_class c, aclexplode(c.relacl) a where c.relnamespace = '\"bg \"\"green\"\"\"'::regnamespace and a.grantee <> c.relowner",
        )
        .await;
        assert_eq!(open > 0, !sealed, "{open}");
        let without = count(
            &client,
            "select count(*) from pg_class where relnamespace = '\"bg \"\"green\"\"\"'::regnamespace and relkind in ('r', 'p') and not relrowsecurity",
        )
        .await;
        assert_eq!(without, 0);
        client.batch_execute("rollback").await.unwrap();
    }
    for home in ["bg_blue_1", "bg \"\"green\"\""] {
        let sql = format!(
            "select has_schema_privilege('anon', '\"{home}\"'::regnamespace::oid, 'usage')::int::bigint"
        );
        assert_eq!(count(&client, &sql).await, 0);
    }
}

#[tokio::test]
async fn a_parent_index_builds_nothing() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let (_, green) = designed(&client, &plan(by), &leaves).await;
    run(&client, &green.homes.create()).await;
    run(&client, &green.create()).await;
    let home = green.at_home();
    let files = format!(
        "select string_agg(i.indexrelid || ':' || pg_relation_filenode(i.indexrelid), ',' order by i.indexrelid) from pg_index i join pg_inherits h on h.inhrelid = i.indrelid where h.inhparent = '{}'::regclass",
        home.to_string().replace('\'', "''")
    );
    for build in green.index_builds() {
        run(&client, &build.on_row_holders.into_iter().map(|(_, sql)| sql).collect::<Vec<_>>()).await;
        let before: String = client.query_one(&files, &[]).await.unwrap().get(0);
        run(&client, &build.on_parent.into_iter().collect::<Vec<_>>()).await;
        let after: String = client.query_one(&files, &[]).await.unwrap().get(0);
        assert_eq!(before, after, "{}", build.name);
        let sql = format!(
            "select count(*) from pg_index where indrelid = '{home}'::regclass and indexrelid = (select oid from pg_class where relname = $1 and relnamespace = '\"bg \"\"green\"\"\"'::regnamespace) and indisvalid"
        );
        let valid: i64 = client.query_one(&sql, &[&build.name.as_str()]).await.unwrap().get(0);
        assert_eq!(valid, 1, "{}", build.name);
    }
}

#[tokio::test]
async fn everything_else_is_refused_by_name() {
    let (_cluster, client) = database().await;
    client
        .batch_execute(
            r#"create table public.t (id int primary key, a int, b int, "S" serial, unique (a) deferrable);
               create table public.other (id int primary key, t_id int, s int default nextval('public."t_S_seq"'))"#,
        )
        .await
        .unwrap();
    let table = QName::new("public", "t");
    let unclean = hangs_on::blockers(&client, &table).await.unwrap();
    let kinds: Vec<_> = unclean.iter().map(|blocker| blocker.kind).collect();
    assert_eq!(kinds, [BlockerKind::SequenceUsedElsewhere, BlockerKind::DeferrableKey], "{unclean:?}");
    client
        .batch_execute(
            "alter table public.other alter s drop default; alter table public.t drop constraint t_a_key",
        )
        .await
        .unwrap();
    assert_eq!(hangs_on::blockers(&client, &table).await.unwrap(), []);
    let version = count(&client, "select current_setting('server_version_num')::bigint").await;
    let cases = [
        ("create view v as select a from t", BlockerKind::View, "public.v"),
        ("create materialized view m as select a from t", BlockerKind::MaterializedView, "public.m"),
        ("create view grouped as select id, a from t group by id", BlockerKind::View, "public.grouped"),
        (
            "create rule r as on insert to other do also insert into t (id) values (1)",
            BlockerKind::Rule,
            "r on public.other",
        ),
        ("create rule own as on delete to t do also select 1", BlockerKind::Rule, "own on public.t"),
        (
            "create function f() returns bigint begin atomic select count(*) from t; end",
            BlockerKind::Function,
            "public.f()",
        ),
        (
            "create function g(t) returns int language sql as 'select 1'",
            BlockerKind::Function,
            "public.g(public.t)",
        ),
        ("create table holder (x t[])", BlockerKind::RowType, "column x of table public.holder"),
        ("create domain d as t", BlockerKind::RowType, "type public.d"),
        (
            "alter table other enable row level security; create policy p on other using (exists (select from t where t.id = t_id))",
            BlockerKind::PolicyElsewhere,
            "p on public.other",
        ),
        (
            "alter table other add constraint fk foreign key (t_id) references t",
            BlockerKind::InboundForeignKey,
            "fk on public.other",
        ),
        (
            "alter table t add constraint self foreign key (a) references t",
            BlockerKind::SelfForeignKey,
            "self on public.t",
        ),
        (
            "create function tf() returns trigger language plpgsql as 'begin return new; end'; create trigger tr before insert on t for each row execute function tf()",
            BlockerKind::Trigger,
            "tr on public.t",
        ),
        ("create publication pub for table t", BlockerKind::Publication, "pub"),
        ("create publication pub for tables in schema public", BlockerKind::Publication, "pub"),
        ("create publication pub for all tables", BlockerKind::AllTablesPublication, "pub"),
        ("create table child () inherits (t)", BlockerKind::Inheritance, "table public.child"),
        (
            "create table mother (); alter table t inherit mother",
            BlockerKind::Inheritance,
            "public.t inherits public.mother",
        ),
        ("create statistics st on a, b from t", BlockerKind::ExtendedStatistics, "public.st"),
        (
            "alter table t add constraint ex exclude using btree (a with =)",
            BlockerKind::ExclusionConstraint,
            "ex",
        ),
        ("alter table t set unlogged", BlockerKind::NotPermanent, "public.t"),
        (
            "update pg_index set indisvalid = false where indexrelid = 't_pkey'::regclass",
            BlockerKind::InvalidIndex,
            "public.t_pkey",
        ),
        ("alter extension plpgsql add table t", BlockerKind::Extension, "plpgsql"),
        (
            "insert into pg_seclabel values ('t'::regclass, 'pg_class'::regclass, 0, 'selinux', 'x')",
            BlockerKind::SecurityLabel,
            "selinux",
        ),
        (
            "insert into pg_subscription_rel values (4711, 't'::regclass, 'r', null)",
            BlockerKind::Subscription,
            "number 4711",
        ),
        (
            "create table x (y int); alter table t rename to u; create table _t (); alter table u rename to t",
            BlockerKind::RowTypeName,
            if version < 160_000 { "___t" } else { "_t_1" },
        ),
        (
            "create event trigger et on ddl_command_end execute function public.et(); insert into pg_depend values ('pg_event_trigger'::regclass, (select oid from pg_event_trigger), 0, 'pg_class'::regclass, 't'::regclass, 0, 'n')",
            BlockerKind::Unknown,
            "event trigger et",
        ),
    ];
    client
        .batch_execute("create function public.et() returns event_trigger language plpgsql as 'begin end'")
        .await
        .unwrap();
    for (sql, kind, object) in cases {
        if sql.contains("tables in schema") && version < 150_000 {
            continue;
        }
        client.batch_execute("begin").await.unwrap();
        client
            .batch_execute(&format!("set local allow_system_table_mods = on; {sql}"))
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let found = hangs_on::blockers(&client, &table).await.unwrap();
        let expected = found.iter().find(|blocker| blocker.kind == kind && blocker.object == object);
        assert!(expected.is_some(), "{sql}: {found:#?}");
        let also = |other: &hangs_on::Blocker| other.kind == BlockerKind::SequenceUsedElsewhere;
        let others = found
            .iter()
            .filter(|other| Some(*other) != expected && !(kind == BlockerKind::Inheritance && also(other)));
        assert_eq!(others.count(), 0, "{sql}: {found:#?}");
        client.batch_execute("rollback").await.unwrap();
    }
}

#[tokio::test]
async fn the_fingerprint_sees_ddl_and_not_what_the_run_does() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let t = table().to_string();
    let first = hangs_on::fingerprint(&client, &table()).await.unwrap();
    let ours = [
        format!("create publication ours for table {t}"),
        format!("alter table {t} replica identity full"),
        format!("vacuum full {t}"),
        format!("reindex table concurrently {t}"),
        format!("analyze {t}"),
    ];
    for sql in ours {
        client.batch_execute(&sql).await.unwrap();
        assert_eq!(hangs_on::fingerprint(&client, &table()).await.unwrap(), first, "{sql}");
    }
    let theirs = [
        format!("alter table {t} add column x int default 1"),
        format!("alter table {t} rename column notes to remarks"),
        format!("alter table {t} alter price type numeric(12, 2)"),
        format!("alter table {t} alter status set statistics 1"),
        format!("comment on column {t}.notes is 'x'"),
        format!("comment on index public.by_lower is 'x'"),
        format!("comment on policy p_select on {t} is 'x'"),
        format!("comment on constraint to_patient on {t} is 'x'"),
        format!("create index on {t} (price)"),
        format!("grant delete on {t} to anon"),
        format!("alter policy p_update on {t} using (false)"),
        format!("create view v as select * from {t}"),
        format!("alter table {t} owner to postgres"),
        format!("alter table {t} alter id set cache 7"),
        format!("create statistics st on patient, clinic from {t}"),
        format!("alter table {t} cluster on \"Termine_pkey\""),
    ];
    for sql in theirs {
        client.batch_execute("begin").await.unwrap();
        client.batch_execute(&sql).await.unwrap();
        assert_ne!(hangs_on::fingerprint(&client, &table()).await.unwrap(), first, "{sql}");
        client.batch_execute("rollback").await.unwrap();
    }
}

#[tokio::test]
async fn changed_columns_take_their_expressions_along() {
    let (_cluster, client) = database().await;
    client
        .batch_execute(
            "create role reader; create table public.a (id int generated always as identity primary key, n serial, price int check (price > 0),
             name varchar(10) not null default 'x', gone text, doubled int generated always as (price * 2) stored, at date not null default '2026-01-01');
             create index by_name on public.a (name text_pattern_ops desc, price) include (at);
             alter table public.a enable row level security;
             create policy p on public.a to reader using (price > 5 and name <> 'secret');
             grant select (name, price) on public.a to reader;
             insert into public.a (price, name) select g, 'n' || g from generate_series(1, 100) g;",
        )
        .await
        .unwrap();
    let mut plan = plan(Some(PartitionBy {
        column: "key".into(),
        into: Partitions::Hash(2),
        default: false,
        schema: None,
        name: None,
    }));
    plan.table = QName::new("public", "a");
    let change = |rename: Option<&str>, data_type: Option<&str>, using: Option<&str>| ColumnChange::Change {
        rename: rename.map(Ident::from),
        data_type: data_type.map(str::to_owned),
        using: using.map(str::to_owned),
        back: None,
        one_way: false,
    };
    plan.columns.insert("id".into(), change(Some("key"), Some("bigint"), None));
    plan.columns.insert("n".into(), change(None, Some("bigint"), None));
    plan.columns.insert("price".into(), change(Some("cost"), None, None));
    plan.columns.insert("name".into(), change(Some("Name"), Some("text"), Some("upper(name)")));
    plan.columns.insert("gone".into(), ColumnChange::Drop);
    plan.add_columns.push(AddColumn {
        name: "extra".into(),
        definition: "int not null default 3 check (extra < 4)".into(),
    });
    plan.indexes.push(NewIndex {
        name: "by_cost".into(),
        unique: false,
        rest: "(cost) where extra = 3".into(),
    });
    let leaf = |n: u32| Leaf {
        name: Ident::from(format!("a_{n}")),
        bound: format!("FOR VALUES WITH (MODULUS 2, REMAINDER {n})"),
    };
    let (blue, green) = designed(&client, &plan, &[leaf(0), leaf(1)]).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &plan.table).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    let names: Vec<&str> = now.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["key", "n", "cost", "Name", "doubled", "at", "extra"]);
    assert_eq!(
        count(
            &client,
            "select count(*) from public.a where \"Name\" = 'N' || cost and doubled = cost * 2 and extra = 3"
        )
        .await,
        100
    );
    assert_eq!(now.policies[0].using.as_deref().unwrap(), "((cost > 5) AND (\"Name\" <> 'secret'::text))");
    assert_eq!(
        now.sequences.iter().map(|s| (s.data_type.as_str(), s.max)).collect::<Vec<_>>(),
        [("bigint", i64::MAX), ("bigint", i64::MAX)]
    );
    assert_eq!(now.columns[3].grants.len(), 1);
    client.batch_execute("set role reader").await.unwrap();
    assert_eq!(count(&client, "select count(cost) from public.a").await, 95);
    client.batch_execute("reset role").await.unwrap();
}

#[tokio::test]
async fn every_contradiction_is_told_at_once_with_what_mends_it() {
    let (_cluster, client) = database().await;
    client
        .batch_execute(
            "create table public.c (id int primary key, start_time timestamptz not null, ref text unique, a int check (a > 0), b int,
             g int generated always as (b + 1) stored, f int references public.c_parent);
             create index by_b on public.c (b); create index lower_ref on public.c (lower(ref));
             alter table public.c enable row level security; create policy own on public.c using (b = 1);"
                .replace("create table public.c ", "create table public.c_parent (id int primary key); create table public.c ")
                .as_str(),
        )
        .await
        .unwrap();
    let every = Partitions::Every { count: 1, unit: Unit::Month, from: None, ahead: 1 };
    let mut plan = plan(Some(PartitionBy {
        column: "start_time".into(),
        into: every,
        default: false,
        schema: None,
        name: None,
    }));
    plan.table = QName::new("public", "c");
    let leaf = Leaf { name: "c_1".into(), bound: "FOR VALUES FROM (minvalue) TO (maxvalue)".into() };
    let blue = hangs_on::read(&client, &plan.table).await.unwrap();
    let refused = |plan: &TablePlan| -> Vec<(String, String)> {
        let conflicts = Green::design(&blue, plan, std::slice::from_ref(&leaf), &homes()).unwrap_err();
        conflicts.into_iter().map(|conflict| (conflict.what, conflict.mend)).collect()
    };
    let has = |found: &[(String, String)], what: &str, mend: &str| {
        assert!(
            found.iter().any(|(w, m)| w.contains(what) && m.contains(mend)),
            "{what} / {mend}: {found:#?}"
        );
    };

    let found = refused(&plan);
    has(&found, "index \"c_pkey\" lacks the partition key", "primary_key: [id, start_time]");
    has(&found, "index \"c_ref_key\" lacks the partition key", "drop_indexes: [c_ref_key]");
    assert_eq!(found.len(), 2, "{found:#?}");

    // with those mended it is a design
    plan.primary_key = Some(vec!["id".into(), "start_time".into()]);
    plan.drop_indexes = vec!["c_ref_key".into()];
    assert!(Green::design(&blue, &plan, std::slice::from_ref(&leaf), &homes()).is_ok());

    plan.primary_key = Some(vec!["start_time".into(), "id".into()]);
    has(&refused(&plan), "begins with (\"id\")", "primary_key: [id, start_time]");

    plan.primary_key = Some(vec!["id".into(), "strat_time".into()]);
    plan.drop_indexes.push("by_c".into());
    plan.columns.insert("bb".into(), ColumnChange::Drop);
    plan.columns.insert("b".into(), ColumnChange::Drop);
    plan.columns.insert("a".into(), ColumnChange::Drop);
    plan.columns.insert("f".into(), ColumnChange::Drop);
    let rename = ColumnChange::Change {
        rename: Some("reference".into()),
        data_type: None,
        using: None,
        back: None,
        one_way: false,
    };
    plan.columns.insert("ref".into(), rename);
    plan.add_columns.push(AddColumn { name: "id".into(), definition: "int".into() });
    plan.add_columns
        .push(AddColumn { name: "u".into(), definition: "int default 'unique'::int unique".into() });
    plan.indexes.push(NewIndex { name: "lower_ref".into(), unique: false, rest: "(id)".into() });
    plan.indexes.push(NewIndex { name: "u_id".into(), unique: true, rest: "(id)".into() });
    let found = refused(&plan);
    has(&found, "no column \"bb\"", "did you mean \"b\"?");
    has(&found, "no column (after the changes) \"strat_time\"", "did you mean \"start_time\"?");
    has(&found, "no index \"by_c\"", "did you mean \"by_b\"?");
    has(&found, "index \"by_b\" uses column \"b\"", "drop_indexes: [by_b]");
    has(
        &found,
        "CHECK \"c_a_check\" uses column \"a\"",
        "alter table public.c drop constraint \"c_a_check\"",
    );
    has(&found, "generated column \"g\" uses column \"b\"", "g: drop");
    has(&found, "foreign key \"c_f_fkey\" uses column \"f\"", "drop constraint");
    has(&found, "policy \"own\" uses column \"b\"", "drop policy");
    has(&found, "index \"lower_ref\" has column \"ref\"", "drop_indexes: [lower_ref]");
    has(&found, "two columns would be called \"id\"", "another name");
    has(&found, "two relations", "another name");
    has(&found, "added column \"u\" has UNIQUE", "indexes");
    has(&found, "unique index \"u_id\" lacks", "add \"start_time\"");
}

#[tokio::test]
async fn only_a_key_that_identifies_rows_is_usable() {
    let (_cluster, client) = database().await;
    client
        .batch_execute(
            "create table public.k (a int, b int not null, c int not null, d int not null);
             create unique index part on public.k (c) where d > 0; create unique index expr on public.k ((b + 1));
             create unique index nullable on public.k (a); create unique index two on public.k (c, b);",
        )
        .await
        .unwrap();
    let k = QName::new("public", "k");
    let names =
        |key: &hangs_on::Key| key.columns.iter().map(|column| column.name.0.clone()).collect::<Vec<_>>();
    let blue = hangs_on::read(&client, &k).await.unwrap();
    let none = blue.usable_key(false).unwrap_err();
    assert_eq!(none.mend, "alter table public.k replica identity using index \"two\"");
    let key = blue.usable_key(true).unwrap();
    assert_eq!(
        (names(&key), key.source),
        (vec!["c".to_owned(), "b".to_owned()], hangs_on::KeySource::UniqueIndex)
    );
    assert_eq!((key.columns[0].type_oid, key.columns[0].array_type_oid), (23, 1007));
    client.batch_execute("alter table public.k replica identity using index two").await.unwrap();
    let key = hangs_on::read(&client, &k).await.unwrap().usable_key(false).unwrap();
    assert_eq!((names(&key).len(), key.source), (2, hangs_on::KeySource::ReplicaIdentityIndex));
    client.batch_execute("alter table public.k replica identity nothing").await.unwrap();
    assert!(hangs_on::read(&client, &k).await.unwrap().usable_key(false).is_err());
    client.batch_execute("drop index two; alter table public.k replica identity full").await.unwrap();
    let none = hangs_on::read(&client, &k).await.unwrap().usable_key(false).unwrap_err();
    assert_eq!(none.mend, "alter table public.k add primary key (...)");
}

#[tokio::test]
async fn names_that_somebody_has_are_found_before_the_swap() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let mut plan = plan(by);
    plan.indexes.push(NewIndex { name: "by_price".into(), unique: false, rest: "(price)".into() });
    let (_, green) = designed(&client, &plan, &leaves).await;
    assert_eq!(green.taken_names(&client).await.unwrap(), []);
    client.batch_execute("create table by_price (); create view \"Termine_p2026_02\" as select 1; create type \"Termine_default\" as enum ()").await.unwrap();
    assert_eq!(green.taken_names(&client).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_role_that_is_no_superuser_can_do_all_of_it() {
    let (cluster, client) = database().await;
    load(&client).await;
    client
        .batch_execute(
            r#"create role tool login bypassrls; grant "Owner Ö" to tool; grant create on database postgres to tool; grant create on schema public to tool;
               grant usage on schema "Other schema" to tool, "Owner Ö"; grant select, references, update on "Other schema"."Pat""ients", public.providers to tool, "Owner Ö";
               alter default privileges for role tool grant select on tables to anon"#,
        )
        .await
        .unwrap();
    let config = format!("host={} user=tool dbname=postgres", cluster.dir.path().display());
    let (tool, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    tool.batch_execute("set row_security = off").await.unwrap();
    let (by, leaves) = by_month();
    let (blue, green) = designed(&tool, &plan(by), &leaves).await;
    migrate(&tool, &green).await;
    let now = hangs_on::read(&tool, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
}

#[tokio::test]
async fn a_replica_identity_index_is_set_on_parent_and_leaves() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let index = format!("alter table {} replica identity using index unique_serial", table());
    client.batch_execute(&index).await.unwrap();
    let (by, leaves) = by_month();
    let (blue, green) = designed(&client, &plan(by), &leaves).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    assert!(now.leaves.iter().all(|leaf| leaf.replica_identity == hangs_on::ReplicaIdentityKind::Index));
}

#[tokio::test]
async fn the_rehearsal_finds_what_only_the_server_can_know_and_leaves_nothing() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    for (rest, fails) in [("(lower(price))", true), ("(price)", false)] {
        let mut plan = plan(by.clone());
        plan.indexes.push(NewIndex { name: "new".into(), unique: false, rest: rest.to_owned() });
        let (_, green) = designed(&client, &plan, &leaves).await;
        client.batch_execute("begin").await.unwrap();
        run(&client, &green.homes.create()).await;
        run(&client, &green.create()).await;
        let state = "select count(*) from pg_class c full join pg_constraint k on false full join pg_policy p on false";
        let before = count(&client, state).await;
        let mut failed = false;
        for statement in green.rehearsal() {
            failed |= client.batch_execute(&statement).await.is_err();
        }
        assert_eq!(failed, fails, "{rest}");
        if !fails {
            assert_eq!(count(&client, state).await, before);
        }
        client.batch_execute("rollback").await.unwrap();
    }
}
