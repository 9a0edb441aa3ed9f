//! What is asked under the swap's lock takes no longer in a database of many relations.

use projh_bluegreen::testing::pg::LOOK_UP_BY_KEY;
use serde_json::Value;
use tokio_postgres::Client;

use super::{database, load, table};

const BOUND: &str = include_str!("../../sql/catalog/bound.sql");
const DEPENDENTS: &str = include_str!("../../sql/catalog/dependents.sql");
const REFUSALS: &str = include_str!("../../sql/catalog/refusals.sql");
const STRANGERS: &str = include_str!("../../sql/catalog/strangers.sql");
const PUBLISHED: &str = include_str!("../../sql/catalog/published.sql");
const FINGERPRINT: &str = include_str!("../../sql/catalog/fingerprint.sql");

/// Blocks of the catalog that each of the guard's queries reads for the table.
async fn blocks(client: &Client) -> Vec<(&'static str, i64)> {
    let oid = client.query_one("select $1::text::regclass::oid", &[&table().to_string()]).await.unwrap();
    let oid: u32 = oid.get(0);
    let mut read = Vec::new();
    for (name, begins, sql, types, args) in [
        ("dependents", BOUND, DEPENDENTS, "oid, text", "null"),
        ("refusals", "", REFUSALS, "oid, text", "null"),
        ("strangers", "", STRANGERS, "oid, text[], text[], boolean", "'{}', '{}', false"),
        ("published", "", PUBLISHED, "oid, text, boolean", "'p', false"),
        ("fingerprint", BOUND, FINGERPRINT, "oid, boolean", "false"),
    ] {
        client.batch_execute(&format!("prepare q ({types}) as {begins} {sql}")).await.unwrap();
        let args = [&oid.to_string(), args].map(|arg| arg.trim()).join(", ");
        let ask = format!(
            "explain (analyze, buffers, format json) execute q ({})",
            args.trim_end_matches([',', ' '])
        );
        // The first fills the session's caches.
        client.batch_execute(&ask).await.unwrap();
        let explained: Value = client.query_one(&ask, &[]).await.unwrap().get(0);
        let plan = &explained[0]["Plan"];
        let of = |key: &str| plan[key].as_i64().unwrap();
        read.push((name, of("Shared Hit Blocks") + of("Shared Read Blocks")));
        client.batch_execute("deallocate q").await.unwrap();
    }
    read
}

#[tokio::test]
async fn the_guard_reads_no_more_of_a_large_catalog() {
    let (_cluster, client) = database().await;
    load(&client).await;
    client.batch_execute(LOOK_UP_BY_KEY).await.unwrap();
    client.batch_execute("vacuum analyze").await.unwrap();
    let few = blocks(&client).await;
    let many = "do $$ begin for i in 1..1000 loop
        execute format('create table other_%s (id serial primary key, of_day date check (of_day > %L), note text)', i, '1900-01-01');
        execute format('comment on table other_%s is %L; create view v_%s as select * from other_%s', i, i, i, i);
        execute format('create policy p on other_%s using (true); grant select (note) on other_%s to public', i, i);
        end loop; end $$";
    client.batch_execute(many).await.unwrap();
    client.batch_execute("vacuum analyze").await.unwrap();
    for ((name, few), (_, many)) in few.into_iter().zip(blocks(&client).await) {
        println!("{name}: {few} blocks, then {many}");
        // An index may have become a level deeper.
        assert!(many < 2 * few, "{name}: {few} blocks, then {many}");
    }
}
