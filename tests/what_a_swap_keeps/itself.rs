//! A table that names itself, or its own sequence, does so after the swap, too.

use projh_bluegreen::testing::hangs_on::{self, Green};
use projh_bluegreen::testing::pg::{Colour, QName};
use projh_bluegreen::testing::plan::partition::Leaf;
use projh_bluegreen::testing::plan::{ColumnChange, PartitionBy, TablePlan};

use super::{by_month, count, database, designed, migrate, plan, run};

const SELF: &str = r#"
create table public.docs (
  id bigint generated always as identity (sequence name "public"."its numbers") primary key,
  at date not null default '2026-01-05', kind regclass default 'public.docs'::regclass, owner text);
alter table public.docs add position bigint not null default currval('"its numbers"');
alter table public.docs enable row level security;
create policy by_number on public.docs using (id <= currval('public."its numbers"'));
create policy by_name on public.docs using (exists (select from public.docs d where d.owner = current_user));
insert into public.docs (owner) select 'o' from generate_series(1, 10)"#;

fn partitioned() -> (TablePlan, Vec<Leaf>) {
    let by = by_month().0.map(|by| PartitionBy { column: "at".into(), ..by });
    let key = vec!["id".into(), "at".into()];
    let plan = TablePlan { table: docs(), primary_key: Some(key), ..plan(by) };
    (plan, vec![Leaf { name: "docs_default".into(), bound: "DEFAULT".to_owned() }])
}

fn docs() -> QName {
    QName::new("public", "docs")
}

/// The swap of a table that names itself: afterwards blue can be dropped, and a new row has its own number.
async fn swap(plan: &TablePlan, leaves: &[Leaf], position: &str) {
    let (_cluster, client) = database().await;
    client.batch_execute(SELF).await.unwrap();
    let (blue, green) = designed(&client, plan, leaves).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &docs()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    run(&client, &[format!("drop table {}", green.home_of(Colour::Blue))]).await;
    let own = format!("returning (id = {position} and kind = 'docs'::regclass)::int::bigint");
    assert_eq!(count(&client, &format!("insert into docs (owner) values ('new') {own}")).await, 1);
    // A partition by itself has these defaults, too.
    let leaf = leaves.first().map_or("docs", |leaf| leaf.name.as_str());
    let next = "overriding system value values (nextval('public.\"its numbers\"'), 'leaf')";
    assert_eq!(count(&client, &format!("insert into {leaf} (id, owner) {next} {own}")).await, 1);
}

#[tokio::test]
async fn defaults_and_policies_follow_the_name_to_a_partitioned_green() {
    let (plan, leaves) = partitioned();
    swap(&plan, &leaves, "position").await;
}

#[tokio::test]
async fn defaults_follow_to_a_plain_green_and_a_renamed_column() {
    let change = ColumnChange::Change {
        rename: Some("place".into()),
        data_type: None,
        using: None,
        back: None,
        one_way: false,
        default: None,
    };
    let plan = TablePlan { columns: [("position".into(), change)].into(), table: docs(), ..plan(None) };
    swap(&plan, &[], "place").await;
}

#[tokio::test]
async fn a_default_of_a_sequence_whose_column_is_dropped_is_a_conflict() {
    let (_cluster, client) = database().await;
    client.batch_execute(SELF).await.unwrap();
    client
        .batch_execute(
            "alter table public.docs drop constraint docs_pkey; drop policy by_number on public.docs",
        )
        .await
        .unwrap();
    let blue = hangs_on::read(&client, &docs()).await.unwrap();
    let plan = TablePlan { columns: [("id".into(), ColumnChange::Drop)].into(), table: docs(), ..plan(None) };
    let conflicts = Green::design(&blue, &plan, &[], &super::homes()).unwrap_err();
    let what = "the default of column \"position\" uses the sequence of column \"id\", which the plan drops";
    assert!(conflicts.iter().any(|conflict| conflict.what == what), "{conflicts:#?}");
}
