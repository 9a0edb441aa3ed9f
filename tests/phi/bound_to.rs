//! Columns of one table whose values are bound to different columns of its key.

use projh_bluegreen::testing::phi::{Format, Identity, Key, Sealer};

use super::Keys;
use crate::support::{Cluster, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_column_has_its_own() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create table p (id int, n int, a bytea, b bytea, primary key (id, n)); insert into p select i, i + 1 from generate_series(1, 5) i";
    let (client, program) = stage(&cluster, table, "").await;
    let (new, _) = keys.write_new(&program);
    program.write_plan(&format!(
        "version: 1\nname: p\nkeys: {{provider: {{file: keys.yaml}}, active: {new}}}\ntables:\n  - table: public.p\n    replica_identity: full\n    columns:\n      \
         a: {{encrypt: {{format: aes-gcm}}, one_way: true}}\n      b: {{encrypt: {{format: aes-gcm, bound_to: [id]}}, one_way: true}}\n"
    ));
    let key = std::sync::Arc::new(Key::from_base64(keys.active, &keys.text).unwrap());
    let mut sealer = Sealer::new(Format::AesGcm, &key);
    for id in 1..=5 {
        let (whole, part) = ([id.to_string(), (id + 1).to_string()], [id.to_string()]);
        let mut sealed = |column: &str, key: &[String]| {
            let (mut identity, mut out) = (Identity::of_column("public.p", column), Vec::new());
            sealer.seal(b"text", identity.of_row(key.iter().map(String::as_bytes)), &mut out).unwrap();
            out
        };
        let (a, b) = (sealed("a", &whole), sealed("b", &part));
        client.execute("update p set a = $2, b = $3 where id = $1", &[&id, &a, &b]).await.unwrap();
    }
    let covered = || program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
    covered();
    program
        .say(&["phi", "rekey", "plan.yaml"])
        .expect_code(0)
        .expect_words(&["10 values were encrypted again"]);
    covered().expect_words(&[&format!("5 under key {new}")]);
}
