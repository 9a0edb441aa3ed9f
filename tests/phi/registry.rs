//! The registry of keys: a secret is in no log, whoever loads it how often, and in no statistics.

use bytes::Bytes;
use futures_util::SinkExt as _;
use tokio_postgres::Client;

use crate::support::{Cluster, waiting};

const UP: &str = include_str!("../../sql/project-h/phi.sql");
const ONE: &str = "6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11";
const TWO: &str = "7f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f22";

/// Loads lines of ids and secrets; the rows that were added, or code and message of the error.
async fn load(client: &Client, lines: &[(&str, &str)]) -> Result<u64, String> {
    let text: String = lines.iter().map(|(id, secret)| format!("{id}\t{secret}\n")).collect();
    let sink = client.copy_in("copy phi.keys (key_id, secret) from stdin").await.unwrap();
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from(text)).await.unwrap();
    sink.finish().await.map_err(|error| {
        let error = error.as_db_error().unwrap();
        assert!(!format!("{error:?}").contains("secret-"), "{error:?}");
        format!("{} {}", error.code().code(), error.message())
    })
}

async fn keys(client: &Client) -> String {
    let sql = "select string_agg(concat_ws(' ', left(key_id::text, 1), state, secret), ', ' order by key_id) from phi.keys";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_loaded_twice_and_the_log_has_no_secret() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    client.batch_execute(UP).await.unwrap();
    client.batch_execute("set log_min_messages = debug1; set log_error_verbosity = verbose").await.unwrap();
    assert_eq!(load(&client, &[(ONE, "secret-one")]).await, Ok(1));
    assert_eq!(load(&client, &[(ONE, "secret-one")]).await, Ok(0));
    // Of one that is refused, nothing is loaded.
    let refused =
        format!("23505 key {ONE} is there with another secret; key {TWO} is there with another secret");
    let lines = [(TWO, "secret-two"), (ONE, "secret-other"), (TWO, "secret-three")];
    assert_eq!(load(&client, &lines).await, Err(refused));
    let nameless = load(&client, &[(TWO, "secret-two"), ("\\N", "secret-three")]).await;
    assert_eq!(nameless, Err("23505 a row has no id or no state".to_owned()));
    assert_eq!(keys(&client).await, "6 active secret-one");
    assert_eq!(load(&client, &[(ONE, "secret-one"), (TWO, "secret-two")]).await, Ok(1));
    // A key that was retired stays so.
    client.batch_execute(&format!("update phi.keys set state = 'decrypt-only' where key_id = '{ONE}'; update phi.keys set state = 'destroyed' where key_id = '{TWO}'")).await.unwrap();
    assert_eq!(load(&client, &[(ONE, "secret-one"), (TWO, "secret-two")]).await, Ok(0));
    assert_eq!(keys(&client).await, "6 decrypt-only secret-one, 7 destroyed");
    let state = format!(
        "insert into phi.keys (key_id, state) values ('{TWO}', 'decrypt-only') on conflict do nothing"
    );
    let error = client.batch_execute(&state).await.unwrap_err();
    assert_eq!(error.as_db_error().unwrap().message(), format!("key {TWO} is there as destroyed"));

    // Two at once: a transaction that does not see the other's keys is refused before it reads a line.
    client.batch_execute("delete from phi.keys; begin").await.unwrap();
    assert_eq!(load(&client, &[(ONE, "secret-one")]).await, Ok(1));
    let other = cluster.client("postgres").await;
    let waits = tokio::spawn(async move { load(&other, &[(ONE, "secret-one"), (TWO, "secret-two")]).await });
    waiting::eventually(
        &client,
        "select exists (select from pg_stat_activity where wait_event = 'advisory')",
    )
    .await;
    client.batch_execute("commit").await.unwrap();
    assert_eq!(waits.await.unwrap(), Ok(1));
    client.batch_execute("begin isolation level repeatable read").await.unwrap();
    let early = format!("insert into phi.keys (key_id) values ('{ONE}')");
    let error = client.batch_execute(&early).await.unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().message(),
        "keys can only be loaded in a transaction of READ COMMITTED"
    );
    client.batch_execute("rollback").await.unwrap();
    assert!(cluster.log().contains("is there with another secret"));
    assert!(!cluster.log().contains("secret-"));
}

/// Also where an earlier version of phi.sql was installed, by a role that is no superuser.
#[tokio::test]
async fn statistics_have_no_secret() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    let installed = format!(
        "create role installer createrole; grant create on database postgres to installer;
         grant create on schema public to installer with grant option; set role installer; {UP} reset role"
    );
    client.batch_execute(&installed).await.unwrap();
    let columns = "select coalesce(string_agg(attname, ' ' order by attname), '') from pg_statistic
        join pg_attribute on (attrelid, attnum) = (starelid, staattnum) where starelid = 'phi.keys'::regclass";
    let gathered = async || client.query_one(columns, &[]).await.unwrap().get::<_, String>(0);
    client
        .batch_execute(
            "insert into phi.keys (key_id, secret) select gen_random_uuid(), 'secret-' || n from generate_series(1, 9) n;
             alter table phi.keys alter secret set statistics -1, alter digest set statistics -1; analyze phi.keys;
             update phi.keys set state = 'destroyed'",
        )
        .await
        .unwrap();
    assert_eq!(gathered().await, "changed_at digest key_id secret state");
    client.batch_execute(&format!("set role installer; {UP} reset role")).await.unwrap();
    for sql in ["analyze phi.keys", "vacuum analyze"] {
        assert_eq!(gathered().await, "changed_at key_id state");
        client.batch_execute(sql).await.unwrap();
    }
    assert_eq!(gathered().await, "changed_at key_id state");
}
