//! What a swap keeps: everything that a table is made of goes with the name to green, what it
//! would have lost is reported, and what cannot be carried is refused by name.

mod carried;
mod changed;
mod itself;
mod large;
mod refused;
mod reported;

use projh_bluegreen::testing::hangs_on::{self, Definition, Green, Homes};
use projh_bluegreen::testing::pg::{Colour, QName};
use projh_bluegreen::testing::plan::partition::Leaf;
use projh_bluegreen::testing::plan::{PartitionBy, Partitions, TablePlan, Unit};
use tokio_postgres::Client;

use crate::support::Cluster;

/// A server with one empty database.
async fn database() -> (Cluster, Client) {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    (cluster, client)
}

/// The nastiest table we could think of.
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
        compatibility: None,
        table: table(),
        partition_by,
        primary_key: None,
        replica_identity_full: false,
        columns: std::collections::BTreeMap::new(),
        add_columns: Vec::new(),
        indexes: Vec::new(),
        drop_indexes: Vec::new(),
        inbound_foreign_keys: None,
        uniqueness: None,
        in_place: false,
    }
}

fn by_month() -> (Option<PartitionBy>, Vec<Leaf>) {
    let every = Partitions::Every { count: 1, unit: Unit::Month, from: None, until: None, ahead: 1 };
    let by = PartitionBy {
        column: "Start".into(),
        into: every,
        default: true,
        schema: None,
        name: None,
        time_zone: None,
        retention: None,
    };
    let leaf = |name: &str, bound: &str| Leaf { name: name.into(), bound: bound.to_owned() };
    let leaves = vec![
        leaf("Termine_p2026_01", "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"),
        leaf("Termine_p2026_02", "FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"),
        leaf("Termine_default", "DEFAULT"),
    ];
    (Some(by), leaves)
}

async fn run(client: &Client, statements: &[impl AsRef<str>]) {
    for statement in statements {
        let statement = statement.as_ref();
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
    run(client, &green.trials()).await;
    run(client, &green.move_leaves()).await;
    client.batch_execute("commit").await.unwrap();
    let (targets, sources) = green.select_list();
    let copy = format!(
        "insert into {} ({}) overriding system value select {} from {}",
        green.at_home(),
        projh_bluegreen::testing::pg::list(targets),
        sources.join(", "),
        green.live()
    );
    run(client, &[copy]).await;
    for build in green.index_builds() {
        run(client, &build.on_row_holders).await;
        run(client, &build.on_parent.into_iter().collect::<Vec<_>>()).await;
    }
    run(client, &green.after_indexes()).await;
    client.batch_execute("begin").await.unwrap();
    run(
        client,
        &green.locks().iter().map(|t| format!("lock table {t} in access exclusive mode")).collect::<Vec<_>>(),
    )
    .await;
    run(client, &green.exchange(Colour::Green)).await;
    client.batch_execute("commit").await.unwrap();
    run(client, &green.settle(Colour::Green)).await;
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
