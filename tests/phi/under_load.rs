//! Partitioned tables are encrypted under writing clients: copied in several rounds, swapped, rolled back and swapped again, with
//! a truncated table among them; and rotated. Every value that a client was promised is there.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use projh_bluegreen::testing::phi::{Key, KeyId, Keyring};
use tokio_postgres::Client;

use super::Keys;
use super::writers::{Texts, Writers};
use crate::support::{Bluegreen, Cluster, stage};

const TABLES: &str = "create extension pgcrypto; create schema app; create schema parts;
    create table app.visits (id bigint primary key, at timestamptz not null, n int not null default 0, ssn varchar(60), history text, info jsonb);
    alter table app.visits alter history set storage external;
    insert into app.visits select n, date '2026-01-01' + (n % 200)::int, 0, case when n % 7 > 0 then 'ssn ' || n end,
      case n % 5 when 0 then repeat('long ' || n || ' ', 800) when 1 then '' else 'history ' || n end, jsonb_build_object('n', n)
      from generate_series(1, 3000) n;
    create table app.notes (id bigint, kind int not null, body text, primary key (id, kind)) partition by list (kind);
    create table app.notes_1 partition of app.notes for values in (1);
    create table app.notes_rest partition of app.notes default;
    insert into app.notes select n, n % 3, 'note ' || n from generate_series(1, 3000) n; analyze";

/// What the clients know of the table at the beginning.
fn rows() -> BTreeMap<i64, Texts> {
    let row = |n: i64| {
        let history = match n % 5 {
            0 => format!("long {n} ").repeat(800),
            1 => String::new(),
            _ => format!("history {n}"),
        };
        (n, [(n % 7 > 0).then(|| format!("ssn {n}")), Some(history), Some(format!("{{\"n\": {n}}}"))])
    };
    (1..=3000).map(row).collect()
}

fn plan(keys: &Keys) -> String {
    format!(
        "version: 1
name: loaded
settings: {{workers: 2, soak: 1h, chunk_size: 64KiB, max_snapshot_age: 10ms}}
keys:
  provider: {{file: keys.yaml}}
  active: {active}
  blind_index: {index}
tables:
  - table: app.visits
    partition_by: {{range: at, every: 1 month, from: 2026-01-01, until: 2026-06-01, default: true}}
    primary_key: [id, at]
    uniqueness: none
    replica_identity: full
    columns:
      ssn: {{encrypt: {{into: ssn_encrypted, blind_index: true}}}}
      history: {{encrypt: {{into: history_encrypted}}}}
      info: {{encrypt: {{into: info_encrypted, format: aes-gcm}}}}
  - table: app.notes
    partition_by: {{hash: id, partitions: 3}}
    columns:
      body: {{encrypt: {{}}}}
",
        active = keys.active,
        index = keys.index,
    )
}

fn write_keys(program: &Bluegreen, document: &str) {
    let path = program.folder().join("keys.yaml");
    std::fs::write(&path, document).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_lost_there_and_back_and_there_again_and_in_a_rotation() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, TABLES, &plan(&keys)).await;
    keys.write(&program);
    let key = |id, text: &str| Key::from_base64(id, text).unwrap();
    let keyring = Keyring::new([key(keys.active, &keys.text), key(keys.index, &keys.index_text)]);
    let writers = Writers::start(&cluster, rows(), &keyring, (keys.active, keys.index));
    writers.more(60).await;

    // Notes are truncated while they are copied, and once more when the copy is over.
    let notes = |body: &str| {
        format!(
            "truncate app.notes; insert into app.notes select n, n % 3, {body} from generate_series(1, 200) n"
        )
    };
    let running = program.spawn("execute", &["--yes", "--until", "copy"]);
    running.wait_for("round");
    client.batch_execute(&notes("'first ' || n")).await.unwrap();
    let copied = running.finish().expect_code(0);
    assert!(copied.events_of("round").len() > 2, "{}", copied.stdout);
    client.batch_execute(&notes("'second ' || n")).await.unwrap();
    let body = |from: &str| format!("select count(*) from app.notes where {from} = 'second ' || id");
    let decrypted = format!("pgp_sym_decrypt(body, '{}')", keys.text);
    let count = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);

    writers.more(100).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    writers.more(100).await;
    writers.compare(&client, true).await;
    assert_eq!(count(&body(&decrypted)).await, 200);
    let third = format!("pgp_sym_encrypt('third ' || n, '{}')", keys.text);
    client.batch_execute(&notes(&third)).await.unwrap();

    program.run("rollback", &[]).expect_code(6);
    writers.more(100).await;
    writers.compare(&client, false).await;
    assert_eq!(count("select count(*) from app.notes where body = 'third ' || id").await, 200);

    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    writers.more(100).await;
    writers.compare(&client, true).await;
    program.run("finish", &["--yes"]).expect_code(0);

    rotated(&client, &program, &keys, &writers).await;
    writers.stop().await;
}

/// From one key to another, while clients write: there, back, there again, to the end.
async fn rotated(client: &Client, program: &Bluegreen, keys: &Keys, writers: &Writers) {
    let (new, text) = Key::generate().unwrap();
    // Some values are still under an older key, which names itself nowhere.
    let old = KeyId::new_v4();
    let document =
        format!("{}  {new}: {{key: \"{}\"}}\n  {old}: {{passphrase: sesame}}\n", keys.document(), *text);
    write_keys(program, &document);
    let key = |id, text: &str| Key::from_base64(id, text).unwrap();
    *writers.shared.keyring.lock().unwrap() = Keyring::new([
        key(keys.active, &keys.text),
        key(keys.index, &keys.index_text),
        key(new, &text),
        Key::from_passphrase(old, "sesame").unwrap(),
    ]);
    let stray = format!(
        "update app.notes set body = pgp_sym_encrypt(pgp_sym_decrypt(body, '{}'), 'sesame') where id % 9 = 0",
        keys.text
    );
    client.batch_execute(&stray).await.unwrap();

    let rotation =
        program.say(&["phi", "rotate", "plan.yaml", "--to", &new.to_string()]).expect_code(0).stdout;
    std::fs::write(program.folder().join("rotation.yaml"), &rotation).unwrap();
    let refused = program.say(&["check", "rotation.yaml"]).expect_code(3);
    refused.expect_words(&["would make it a plain table", "phi rekey"]);
    let by = |table: &str| format!("  - table: app.{table}\n");
    let rotation = rotation
        .replace(&by("visits"), &format!("{}    partition_by: {{range: at, every: 1 month, from: 2026-01-01, until: 2026-06-01, schema: parts}}\n", by("visits")))
        .replace(&by("notes"), &format!("{}    partition_by: {{hash: id, partitions: 3, name: \"{{table}}_r{{n}}\"}}\n", by("notes")));
    std::fs::write(program.folder().join("rotation.yaml"), &rotation).unwrap();
    let execute =
        || program.say(&["execute", "rotation.yaml", "--yes", "--until", "settle", "--json"]).expect_code(0);
    execute();
    // Clients that have not got the new key yet, and then have it.
    writers.more(50).await;
    writers.compare(client, true).await;
    *writers.shared.key.lock().unwrap() = new;
    writers.more(60).await;
    program.say(&["rollback", "rotation.yaml"]).expect_code(6);
    writers.more(50).await;
    writers.compare(client, true).await;
    // What they wrote with the old key in the soak is not under the column's: the tables are built again.
    program.say(&["rollback", "rotation.yaml", "--drop-green"]).expect_code(6);
    execute();
    writers.more(50).await;
    writers.compare(client, true).await;
    program.say(&["finish", "rotation.yaml", "--yes", "--now"]).expect_code(0);
    let covered = program.say(&["phi", "coverage", "rotation.yaml", "--json"]).expect_code(0);
    for column in covered.events_of("phi_column") {
        let under: Vec<&str> = column["encrypted"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|under| under["key"].as_str())
            .collect();
        assert!(under == [new.to_string().as_str()] && column["percent"] == 100.0, "{column}");
    }
}
