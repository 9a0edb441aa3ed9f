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

/// Nobody who writes to the table is there to encrypt the values again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_key_that_changes_the_key_of_rows_is_noted() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create table a (id int primary key); create table b (id int primary key constraint moves references a on update cascade, \
                 v text, w text, other int constraint stays references a on update cascade)";
    let (_client, program) = stage(&cluster, table, "").await;
    keys.write(&program);
    for (format, noted) in [("{format: aes-gcm}", 1), ("{tag: true}", 1), ("{}", 0)] {
        program.write_plan(&format!(
            "version: 1\nname: b\nkeys: {{provider: {{file: keys.yaml}}, active: {}, tag: {}}}\ntables:\n  - table: public.b\n    \
             replica_identity: full\n    columns: {{v: {{encrypt: {format}}}}}\n",
            keys.active, keys.index
        ));
        let checked = program.run("check", &[]).expect_code(0);
        let findings = checked.events_of("finding");
        let told = findings
            .iter()
            .filter(|finding| finding["what"].as_str().unwrap().contains("(ON UPDATE CASCADE)"));
        let told: Vec<&str> = told.map(|finding| finding["what"].as_str().unwrap()).collect();
        assert_eq!(told.len(), noted, "{format}: {}", checked.stdout);
        assert!(told.iter().all(|what| what.contains("\"moves\"")), "{told:?}");
    }
}
