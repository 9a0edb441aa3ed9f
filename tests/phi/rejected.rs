//! What the way back decrypts, and the old table cannot hold: neither the server's log has it, for a role that cannot keep the
//! server from logging, nor does the run go on with it.

use tokio_postgres::Client;

use super::Keys;
use crate::support::{Bluegreen, Cluster, home};

/// What no log may have; in SQL it is put together.
const CANARY: &str = "KANARIENVOGEL";
const IN_SQL: &str = "'KANARIEN' || 'VOGEL'";

const TABLE: &str = "create extension pgcrypto; create role owner; create role mover login replication in role owner;
    grant pg_read_all_stats to mover; grant create on database postgres to mover; grant create, usage on schema public to mover, owner;
    create table people (id int primary key, ssn varchar(40) unique, born date, info json, note text, alias text unique deferrable initially deferred);
    insert into people select n, 'KANARIEN' || 'VOGEL' || n, date '1950-01-01' + n, '{\"n\": 1}', repeat(md5(n::text), 200), 'KANARIEN' || 'VOGEL' || n from generate_series(1, 100) n;
    alter table people alter note set storage external; alter table people owner to owner; create table the_key (k text)";

fn plan(keys: &Keys) -> String {
    format!(
        "version: 1
name: people
settings: {{soak: 1h}}
keys: {{provider: {{file: keys.yaml}}, active: {}}}
tables:
  - table: public.people
    columns:
      ssn: {{encrypt: {{into: ssn_encrypted}}}}
      born: {{encrypt: {{}}}}
      info: {{encrypt: {{}}}}
      alias: {{encrypt: {{into: alias_encrypted}}}}
    drop_indexes: [people_ssn_key, people_alias_key]
",
        keys.active
    )
}

async fn write(client: &Client, column: &str, text: &str, id: i32) {
    let sql = format!(
        "update people set {column} = pgp_sym_encrypt({text}, (select k from the_key)) where id = {id}"
    );
    client.batch_execute(&sql).await.unwrap();
}

/// Executes until the way back meets what a client wrote, and stops.
async fn stops(program: &Bluegreen, wrong: impl AsyncFnOnce(), said: &[&str]) {
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    wrong().await;
    let stopped = running.finish().expect_code(1);
    for word in said {
        assert!(stopped.error().contains(word), "{word}: {}", stopped.error());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_old_table_rejects_is_in_no_log() {
    let cluster = Cluster::start();
    let client = cluster.client("postgres").await;
    client.batch_execute(TABLE).await.unwrap();
    let keys = Keys::new();
    client.execute("insert into the_key values ($1)", &[&keys.text]).await.unwrap();
    let program = Bluegreen::new(&cluster, "postgres").plan(&plan(&keys)).env("PGUSER", "mover");
    keys.write(&program);

    // No date, and no JSON; a value that another row has; one that is missing where the key moves, with a value out of line.
    stops(&program, async || write(&client, "born", IN_SQL, 1).await, &["22007", "key digest"]).await;
    write(&client, "born", "'2001-02-03'", 1).await;
    stops(&program, async || write(&client, "info", IN_SQL, 2).await, &["22P02", "key digest"]).await;
    write(&client, "info", "'{}'", 2).await;
    let taken = format!("{IN_SQL} || 4");
    let said = ["23505", "table people", "constraint people_ssn_key", "key digest"];
    stops(&program, async || write(&client, "ssn_encrypted", &taken, 3).await, &said).await;
    write(&client, "ssn_encrypted", "'another'", 3).await;
    // Checked at the end of the transaction.
    let said = ["23505", "table people", "constraint people_alias_key"];
    stops(&program, async || write(&client, "alias_encrypted", &taken, 3).await, &said).await;
    write(&client, "alias_encrypted", "'nobody'", 3).await;
    let moves = async || {
        let moved = "update people set id = 1005, ssn_encrypted = (select ssn_encrypted from people where id = 6) where id = 5";
        client.batch_execute(moved).await.unwrap();
    };
    stops(&program, moves, &["23505", "constraint people_ssn_key"]).await;
    write(&client, "ssn_encrypted", "'moved'", 1005).await;
    assert!(!cluster.log().contains(CANARY), "in the server's log");

    // What it can hold is there, and the log would show what is rejected.
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client
        .batch_execute("insert into people (id, note) values (2000, 'new'); delete from people where id = 7")
        .await
        .unwrap();
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    let sql = "select count(*) filter (where ssn = 'another' and id = 3 or ssn = 'moved' and id = 1005 and length(note) = 6400
                 or born = '2001-02-03' and id = 1 or info::text = '{}' and id = 2 or id = 2000), count(*) from people";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5, 100));
    let rejected = client.batch_execute(&format!("update people set ssn = {IN_SQL} || 9 where id = 8")).await;
    assert!(rejected.is_err() && cluster.log().contains(CANARY), "the log shows what is rejected");
    assert!(home(&client, "green").await.starts_with("projh_bg_"));
}
