//! What cannot be carried in place is refused by name.

use projh_bluegreen::testing::hangs_on::{self, BlockerKind};
use projh_bluegreen::testing::pg::QName;

use super::{count, database};

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
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
    let unclean = hangs_on::blockers(&client, &table, &hangs_on::Around::default()).await.unwrap();
    let kinds: Vec<_> = unclean.iter().map(|blocker| blocker.kind).collect();
    assert_eq!(kinds, [BlockerKind::SequenceUsedElsewhere, BlockerKind::DeferrableKey], "{unclean:?}");
    client
        .batch_execute(
            "alter table public.other alter s drop default; alter table public.t drop constraint t_a_key",
        )
        .await
        .unwrap();
    assert_eq!(hangs_on::blockers(&client, &table, &hangs_on::Around::default()).await.unwrap(), []);
    let version = count(&client, "select current_setting('server_version_num')::bigint").await;
    let cases = [
        ("create temporary view v as select a from t", BlockerKind::View, "v"),
        (
            "create materialized view m as select a from t; create domain d as m",
            BlockerKind::RowType,
            "type public.d",
        ),
        (
            "create function f() returns void begin atomic delete from t; end",
            BlockerKind::Function,
            "public.f()",
        ),
        (
            "create function g(t) returns int language sql as 'select 1'",
            BlockerKind::FunctionOfRows,
            "public.g(public.t)",
        ),
        ("create table holder (x t[])", BlockerKind::RowType, "column x of table public.holder"),
        ("create domain d as t", BlockerKind::RowType, "type public.d"),
        (
            "create function tf() returns trigger language plpgsql as 'begin return new; end'; create constraint trigger tr after insert on other from t for each row execute function tf()",
            BlockerKind::Trigger,
            "tr on public.other",
        ),
        ("create publication pub for table t", BlockerKind::Publication, "pub"),
        ("create publication pub for tables in schema public", BlockerKind::Publication, "pub"),
        ("create publication pub for all tables", BlockerKind::AllTablesPublication, "pub"),
        ("create table child () inherits (t)", BlockerKind::Inheritance, "public.child"),
        (
            "create table mother (); alter table t inherit mother",
            BlockerKind::Inheritance,
            "public.t inherits public.mother",
        ),
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
        let found = hangs_on::blockers(&client, &table, &hangs_on::Around::default()).await.unwrap();
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
        |key: &hangs_on::TableKey| key.columns.iter().map(|column| column.name.0.clone()).collect::<Vec<_>>();
    let blue = hangs_on::read(&client, &k).await.unwrap();
    let none = blue.usable_key(false, None).unwrap_err();
    assert!(none.hint.starts_with("alter table public.k replica identity using index \"two\""));
    let key = blue.usable_key(true, None).unwrap();
    assert_eq!(
        (names(&key), key.source),
        (vec!["c".to_owned(), "b".to_owned()], hangs_on::KeySource::UniqueIndex)
    );
    assert_eq!((key.columns[0].type_oid, key.columns[0].array_type_oid), (23, 1007));
    client.batch_execute("alter table public.k replica identity using index two").await.unwrap();
    let key = hangs_on::read(&client, &k).await.unwrap().usable_key(false, None).unwrap();
    assert_eq!((names(&key).len(), key.source), (2, hangs_on::KeySource::ReplicaIdentityIndex));
    client.batch_execute("alter table public.k replica identity nothing").await.unwrap();
    assert!(hangs_on::read(&client, &k).await.unwrap().usable_key(false, None).is_err());
    client.batch_execute("drop index two; alter table public.k replica identity full").await.unwrap();
    let none = hangs_on::read(&client, &k).await.unwrap().usable_key(false, None).unwrap_err();
    assert!(none.hint.contains("alter table public.k add primary key (...)"));
}
