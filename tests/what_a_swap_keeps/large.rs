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
    let many = "create function seen() returns trigger language plpgsql as 'begin return new; end';
        do $$ begin for i in 1..1000 loop
        execute format('create table other_%s (id serial primary key, n int generated always as identity unique,
          of_day date check (of_day > %L), note text default now()::text)', i, '1900-01-01');
        execute format('alter table other_%s add foreign key (n) references other_%s', i, greatest(i - 1, 1));
        execute format('create table leaf_%s (id int) partition by hash (id); create table leaf_0_%s partition of leaf_%s
          for values with (modulus 2, remainder 0)', i, i, i);
        execute format('comment on table other_%s is %L; create view v_%s as select * from other_%s', i, i, i, i);
        execute format('create policy p on other_%s using (true); grant select (note) on other_%s to public', i, i);
        execute format('create trigger t after update on other_%s for each row execute function seen()', i);
        execute format('create function of_%s(other_%s) returns int language sql return 1', i, i);
        if i % 10 = 0 then
          execute format('create statistics s_%s on n, of_day from other_%s; create publication p_%s for table other_%s', i, i, i, i);
          execute format('create materialized view m_%s as select n, count(*) from other_%s group by n', i, i);
        end if;
        end loop; end $$";
    client.batch_execute(many).await.unwrap();
    for statistics in ["of the small database", "of the large one"] {
        for ((name, few), (_, many)) in few.iter().zip(blocks(&client).await) {
            println!("{name}, with statistics {statistics}: {few} blocks, then {many}");
            // An index may have become a level deeper.
            assert!(many < 2 * few, "{name}, with statistics {statistics}: {few} blocks, then {many}");
        }
        client.batch_execute("vacuum analyze").await.unwrap();
    }
}
