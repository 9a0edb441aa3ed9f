//! Columns, keys and indexes that the plan changes; contradictions are told at once.

use projh_bluegreen::testing::hangs_on::{self, Green};
use projh_bluegreen::testing::pg::{Ident, QName};
use projh_bluegreen::testing::plan::partition::Leaf;
use projh_bluegreen::testing::plan::{
    AddColumn, ColumnChange, NewIndex, PartitionBy, Partitions, TablePlan, Unit,
};

use super::{by_month, count, database, designed, homes, load, migrate, plan, run};

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
             create function f() returns trigger language plpgsql as 'begin return new; end';
             create trigger t after update of price, name on public.a for each row when (old.price < new.price and new.name <> 'secret') execute function f();
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
        time_zone: None,
        retention: None,
    }));
    plan.table = QName::new("public", "a");
    let change = |rename: Option<&str>, data_type: Option<&str>, using: Option<&str>| ColumnChange::Change {
        rename: rename.map(Ident::from),
        data_type: data_type.map(str::to_owned),
        using: using.map(str::to_owned),
        back: None,
        one_way: false,
        default: None,
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
    assert!(
        now.triggers[0].definition.contains(
            "AFTER UPDATE OF cost, \"Name\" ON public.a FOR EACH ROW WHEN (((old.cost < new.cost) AND (new.\"Name\" <> 'secret'::text)))"
        ),
        "{}",
        now.triggers[0].definition
    );
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
#[allow(clippy::too_many_lines, reason = "a table of cases")]
async fn every_contradiction_is_told_at_once_with_hints() {
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
    let every = Partitions::Every { count: 1, unit: Unit::Month, from: None, until: None, ahead: 1 };
    let mut plan = plan(Some(PartitionBy {
        column: "start_time".into(),
        into: every,
        default: false,
        schema: None,
        name: None,
        time_zone: None,
        retention: None,
    }));
    plan.table = QName::new("public", "c");
    let leaf = Leaf { name: "c_1".into(), bound: "FOR VALUES FROM (minvalue) TO (maxvalue)".into() };
    let blue = hangs_on::read(&client, &plan.table).await.unwrap();
    let refused = |plan: &TablePlan| -> Vec<(String, String)> {
        let conflicts = Green::design(&blue, plan, std::slice::from_ref(&leaf), &homes()).unwrap_err();
        conflicts.into_iter().map(|conflict| (conflict.what, conflict.hint)).collect()
    };
    let has = |found: &[(String, String)], what: &str, hint: &str| {
        assert!(
            found.iter().any(|(w, m)| w.contains(what) && m.contains(hint)),
            "{what} / {hint}: {found:#?}"
        );
    };

    let found = refused(&plan);
    has(&found, "index \"c_pkey\" lacks the partition key", "primary_key: [id, start_time]");
    has(&found, "index \"c_ref_key\" lacks the partition key", "drop_indexes: [c_ref_key]");
    assert_eq!(found.len(), 2, "{found:#?}");

    // with those repaired it is a design
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
        default: None,
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
            failed |= client.batch_execute(&statement.sql).await.is_err();
        }
        assert_eq!(failed, fails, "{rest}");
        if !fails {
            assert_eq!(count(&client, state).await, before);
        }
        client.batch_execute("rollback").await.unwrap();
    }
}
