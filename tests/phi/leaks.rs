//! No value and no key leaves the two tables: canaries in the encrypted columns are searched for in all that a run leaves
//! anywhere, with the server logging whatever it can, by a role that may not keep it from that.

use std::path::Path;

use tokio_postgres::Client;

use super::{Keys, base64, plan};
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster};

/// Begins each canary; in SQL it is put together, so that clients' own statements do not have it.
const CANARY: &str = "KANARIENVOGEL";
const IN_SQL: &str = "'KANARIEN' || 'VOGEL'";

/// What the server logs, and must not have in it.
const LOGS: [(&str, &str); 6] = [
    ("log_statement", "all"),
    ("log_min_duration_statement", "0"),
    ("log_parameter_max_length", "-1"),
    ("log_parameter_max_length_on_error", "-1"),
    ("log_error_verbosity", "verbose"),
    ("log_min_messages", "debug1"),
];

/// Each text as it is, in hexadecimal digits, and in base64 at each of its three offsets.
fn forms(text: &str) -> Vec<Vec<u8>> {
    use std::fmt::Write as _;
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut forms = vec![text.as_bytes().to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes()];
    for offset in 0..3 {
        let shifted = [&b"xxx"[..offset], text.as_bytes()].concat();
        // Without what depends on the bytes around it.
        let encoded = base64(&shifted).into_bytes();
        let from = [0, 2, 3][offset];
        let to = encoded.len().saturating_sub(4);
        forms.push(encoded[from..to].to_vec());
    }
    forms
}

/// Whether one of the secrets is in the text, in any form.
fn leaks(text: &[u8], secrets: &[String]) -> Option<String> {
    let found = secrets.iter().find(|secret| {
        forms(secret).iter().any(|form| text.windows(form.len()).any(|window| window == form.as_slice()))
    });
    found.cloned()
}

/// All that the run has left: its output, the journal, the server's log, statistics and files.
async fn search(cluster: &Cluster, client: &Client, output: &[String], secrets: &[String]) {
    for text in output {
        assert_eq!(leaks(text.as_bytes(), secrets), None, "in the output: {text}");
    }
    let journal = cluster.pg_dump("postgres", &["--schema=projh_bluegreen", "--data-only"]);
    assert_eq!(leaks(journal.as_bytes(), secrets), None, "in the journal");
    let log = cluster.log();
    assert_eq!(leaks(log.as_bytes(), secrets), None, "in the server's log");
    assert!(log.contains("COPY"), "it logs statements");
    for view in ["pg_stat_activity", "pg_stat_statements", "pg_stats where tablename ~ 'patients|projh'"] {
        let rows = client.query(&format!("select r::text from (select * from {view}) r"), &[]).await.unwrap();
        for row in rows {
            let text: String = row.get(0);
            assert_eq!(leaks(text.as_bytes(), secrets), None, "in {view}");
        }
    }
    assert_eq!(in_files(&cluster.data().join("base/pgsql_tmp"), secrets), None, "in temporary files");
}

fn in_files(folder: &Path, secrets: &[String]) -> Option<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| std::fs::read(file.path()).ok()).find_map(|bytes| leaks(&bytes, secrets))
}

/// A role that is no superuser, so that it cannot keep the server from logging.
const ROLES: &str = "create extension pgcrypto; create extension pg_stat_statements;
    create role owner; create role mover login replication in role owner; grant pg_read_all_stats to mover;
    grant create on database postgres to mover; grant create, usage on schema public to mover, owner";

fn table() -> String {
    format!(
        "create table patients (id bigint primary key, ssn varchar(40), history text, info jsonb, born date not null);
         insert into patients select n, {IN_SQL} || n, repeat({IN_SQL} || n, case n % 50 when 0 then 400 else 1 end),
           jsonb_build_object('note', {IN_SQL}), date '1950-01-01' + n from generate_series(1, 2000) n;
         alter table patients owner to owner"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_and_no_key_is_anywhere_else() {
    let builder = LOGS.iter().fold(Cluster::builder(), |builder, (name, value)| builder.setting(name, value));
    let cluster = builder.setting("shared_preload_libraries", "pg_stat_statements").start();
    let client = cluster.client("postgres").await;
    client.batch_execute(ROLES).await.unwrap();
    client.batch_execute(&table()).await.unwrap();
    let keys = Keys::new();
    let program = Bluegreen::new(&cluster, "postgres").plan(&plan(&keys, "1h")).env("PGUSER", "mover");
    keys.write(&program);
    let secrets = [CANARY.to_owned(), keys.text.clone(), keys.index_text.clone()];
    let mut output = Vec::new();
    let mut keep = |ended: crate::support::Finished| output.extend([ended.stdout, ended.stderr]);

    keep(program.run("check", &["-vvv"]));
    keep(program.execute(&["-vvv", "--dry-run"]));
    keep(program.execute(&["-vvv", "--until", "prepare"]));
    // Killed in the copy, and in the stream.
    let running = program.spawn("execute", &["-vvv", "--until", "copy"]);
    running.wait_for("round");
    keep(running.kill9());
    keep(program.execute(&["-vvv", "--until", "copy"]));
    let changes = format!(
        "update patients set ssn = {IN_SQL} || 'x' where id % 3 = 0; update patients set id = id + 10000 where id % 7 = 0;
         insert into patients select 20000 + n, {IN_SQL}, {IN_SQL}, null, now() from generate_series(1, 50) n"
    );
    client.batch_execute(&changes).await.unwrap();
    let running = program.spawn("execute", &["-vvv", "--yes"]);
    running.wait_for("soaking");
    // The way back meets a value that blue cannot hold.
    let sealed = |text: &str| format!("pgp_sym_encrypt({text}, (select k from the_key))");
    client.batch_execute("create table the_key (k text)").await.unwrap();
    let copy_key = client.copy_in("copy the_key from stdin").await.unwrap();
    send(copy_key, &keys.text).await;
    let long = sealed(&format!("repeat({IN_SQL}, 10)"));
    client.batch_execute(&format!("update patients set ssn_encrypted = {long} where id = 2")).await.unwrap();
    let broken = running.finish().expect_code(1);
    keep(broken);
    let short = sealed(IN_SQL);
    client.batch_execute(&format!("update patients set ssn_encrypted = {short} where id = 2")).await.unwrap();
    let running = program.spawn("execute", &["-vvv", "--yes"]);
    running.wait_for("soaking");
    client
        .batch_execute(&format!("update patients set ssn_encrypted = {short} where id % 5 = 0"))
        .await
        .unwrap();
    keep(program.run("rollback", &["-vvv"]));
    keep(running.finish().expect_code(6));
    eventually(&client, "select count(*) > 0 from patients where ssn is not null").await;
    search(&cluster, &client, &output, &secrets).await;

    // The search finds what is there.
    client.batch_execute(&format!("do $$ begin raise log '%', {IN_SQL}; end $$")).await.unwrap();
    assert_eq!(leaks(cluster.log().as_bytes(), &secrets).as_deref(), Some(CANARY));
    let encoded = base64(CANARY.as_bytes());
    for text in [CANARY, &encoded, "4b414e415249454e564f47454c"] {
        assert_eq!(leaks(text.as_bytes(), &secrets).as_deref(), Some(CANARY), "{text}");
    }
}

async fn send(sink: tokio_postgres::CopyInSink<bytes::Bytes>, line: &str) {
    use futures_util::SinkExt as _;
    let mut sink = std::pin::pin!(sink);
    sink.send(bytes::Bytes::from(format!("{line}\n"))).await.unwrap();
    sink.as_mut().finish().await.unwrap();
}
