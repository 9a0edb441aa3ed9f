//! No value and no key leaves the two tables: canaries in the encrypted columns are searched for in all that a run leaves
//! anywhere, with the server logging whatever it can, by a role that may not keep it from that.

use std::path::Path;

use tokio_postgres::Client;

use super::{Keys, base64, plan};
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, Finished, home};

/// Begins each canary; in SQL it is put together, so that clients' own statements do not have it.
const CANARY: &str = "KANARIENVOGEL";
const IN_SQL: &str = "'KANARIEN' || 'VOGEL'";
/// The same in the keys of rows, which are in the tables as they are, and nowhere else.
const KEY_CANARY: &str = "SCHLUESSELBLUME";
const KEY_IN_SQL: &str = "'SCHLUESSEL' || 'BLUME'";

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
fn forms(text: &str) -> Vec<String> {
    use std::fmt::Write as _;
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut forms = vec![text.to_owned(), hex.clone(), hex.to_uppercase()];
    for offset in 0..3 {
        let shifted = [&b"xxx"[..offset], text.as_bytes()].concat();
        // Without what depends on the bytes around it.
        let encoded = base64(&shifted);
        let from = [0, 2, 3][offset];
        forms.push(encoded[from..encoded.len().saturating_sub(4)].to_owned());
    }
    forms
}

/// Whether one of the secrets is in the text, in any form.
fn leaks(text: &[u8], secrets: &[String]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    secrets.iter().find(|secret| forms(secret).iter().any(|form| text.contains(form.as_str()))).cloned()
}

/// All that the run has left: its output, the journal, the server's log, statistics and files.
async fn search(cluster: &Cluster, client: &Client, output: &[String], secrets: &[String]) {
    // The planner's statistics of the tables have values of keys.
    let without_keys = &secrets[1..];
    for text in output {
        assert_eq!(leaks(text.as_bytes(), secrets), None, "in the output: {text}");
    }
    let tables =
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'projh_bluegreen'";
    let tables: Vec<String> = client.query(tables, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(tables.len() > 2, "{tables:?}");
    for table in tables {
        let rows = client.query(&format!("select r::text from {table} r"), &[]).await.unwrap();
        let text: String = rows.iter().map(|row| row.get::<_, String>(0)).collect();
        assert_eq!(leaks(text.as_bytes(), secrets), None, "in {table}");
    }
    let log = cluster.log();
    assert_eq!(leaks(log.as_bytes(), secrets), None, "in the server's log");
    assert!(log.contains("COPY"), "it logs statements");
    let views = [
        ("pg_stat_activity", secrets),
        ("pg_stat_statements", secrets),
        ("pg_stats where tablename ~ 'patients|projh'", without_keys),
    ];
    for (view, secrets) in views {
        let rows = client.query(&format!("select r::text from (select * from {view}) r"), &[]).await.unwrap();
        for row in rows {
            let text: String = row.get(0);
            assert_eq!(leaks(text.as_bytes(), secrets), None, "in {view}");
        }
    }
    assert_eq!(in_files(&cluster.data().join("base/pgsql_tmp"), secrets), None, "in temporary files");
}

/// What digests of keys are keyed with, which is in the journal and nowhere else: whoever has both can try keys.
async fn search_for_keys_of_digests(cluster: &Cluster, client: &Client, output: &[String]) -> Vec<String> {
    let sql = "select l->>'secret' from projh_bluegreen.fact, jsonb_array_elements(fact->'lanes') l where fact->>'fact' = 'prepared'";
    let rows = client.query(sql, &[]).await.unwrap();
    let secrets: Vec<String> = rows.iter().map(|row| row.get::<_, String>(0)[12..].to_owned()).collect();
    assert!(!secrets.is_empty());
    for text in output {
        assert_eq!(leaks(text.as_bytes(), &secrets), None, "in the output: {text}");
    }
    assert_eq!(leaks(cluster.log().as_bytes(), &secrets), None, "in the server's log");
    for view in ["pg_stat_activity", "pg_stat_statements"] {
        let sql = format!("select coalesce(string_agg(r::text, ' '), '') from (select * from {view}) r");
        let text: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(leaks(text.as_bytes(), &secrets), None, "in {view}");
    }
    assert_eq!(in_files(&cluster.data().join("base/pgsql_tmp"), &secrets), None, "in temporary files");
    secrets
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
        "create table patients (mrn text primary key, n bigint, ssn varchar(40), history text, info jsonb, born date not null);
         insert into patients select {KEY_IN_SQL} || n, n, {IN_SQL} || n, repeat({IN_SQL} || n, case n % 50 when 0 then 400 else 1 end),
           jsonb_build_object('note', {IN_SQL}), date '1950-01-01' + n from generate_series(1, 2000) n;
         alter table patients owner to owner"
    )
}

/// The program, as the role that cannot silence the server, and all that it has printed.
struct Said {
    program: Bluegreen,
    output: Vec<String>,
}

impl Said {
    fn keep(&mut self, ended: Finished) -> Finished {
        self.output.extend([ended.stdout.clone(), ended.stderr.clone()]);
        ended
    }

    fn execute(&mut self, args: &[&str]) -> Finished {
        let ended = self.program.execute(&[&["-vvv"], args].concat());
        self.keep(ended)
    }

    fn say(&mut self, args: &[&str]) -> Finished {
        let ended = self.program.say(&[args, &["-vvv", "--json"]].concat());
        self.keep(ended)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_and_no_key_is_anywhere_else() {
    let builder = LOGS.iter().fold(Cluster::builder(), |builder, (name, value)| builder.setting(name, value));
    let builder = builder.setting("shared_preload_libraries", "pg_stat_statements");
    // After a rollback the live table has plaintext again. Autovacuum would analyze it after a minute: statistics of the server's own.
    let cluster = builder.setting("autovacuum", "off").start();
    let client = cluster.client("postgres").await;
    client.batch_execute(ROLES).await.unwrap();
    client.batch_execute(&table()).await.unwrap();
    let keys = Keys::new();
    let program = Bluegreen::new(&cluster, "postgres").plan(&plan(&keys, "1h")).env("PGUSER", "mover");
    keys.write(&program);
    let secrets = [KEY_CANARY, CANARY, &keys.text, &keys.index_text, &keys.tag_text].map(str::to_owned);
    client.batch_execute("create table the_key (k text)").await.unwrap();
    send(client.copy_in("copy the_key from stdin").await.unwrap(), &keys.text).await;
    let mut said = Said { program, output: Vec::new() };

    there(&client, &mut said).await;
    and_back(&client, &mut said).await;
    in_place(&client, &mut said, &keys).await;
    search(&cluster, &client, &said.output, &secrets).await;
    let of_digests = search_for_keys_of_digests(&cluster, &client, &said.output).await;

    // The search finds what is there.
    client.query("select length($1::text)", &[&of_digests[0]]).await.unwrap();
    assert!(leaks(cluster.log().as_bytes(), &of_digests).is_some(), "a parameter");
    for (number, canary) in [KEY_IN_SQL, IN_SQL].iter().enumerate() {
        let secrets = &secrets[number..=number];
        assert_eq!(leaks(cluster.log().as_bytes(), secrets), None);
        let sql = format!("select length(x) from (select {canary}) s(x)");
        let text: String = client.query_one(&format!("select {canary}"), &[]).await.unwrap().get(0);
        client.query(&sql.replace(canary, "$1::text"), &[&text]).await.unwrap();
        assert_eq!(leaks(cluster.log().as_bytes(), secrets).as_ref(), Some(&secrets[0]), "a parameter");
    }
    let encoded = base64(CANARY.as_bytes());
    for text in [CANARY, &encoded, "4b414e415249454e564f47454c"] {
        assert_eq!(leaks(text.as_bytes(), &secrets).as_deref(), Some(CANARY), "{text}");
    }
}

/// Killed on the way, with changes of rows and keys, and with a difference that `find` looks for.
async fn there(client: &Client, said: &mut Said) {
    let checked = said.program.run("check", &["-vvv"]);
    said.keep(checked);
    said.execute(&["--dry-run"]);
    said.execute(&["--until", "prepare"]);
    let running = said.program.spawn("execute", &["-vvv", "--until", "copy"]);
    running.wait_for("round");
    said.keep(running.kill9());
    said.execute(&["--until", "copy"]);
    let changes = format!(
        "update patients set ssn = {IN_SQL} || 'x' where n % 3 = 0; update patients set mrn = mrn || 'x' where n % 7 = 0;
         delete from patients where n % 11 = 0;
         insert into patients select {KEY_IN_SQL} || 20000 + n, 20000 + n, {IN_SQL}, {IN_SQL}, null, now() from generate_series(1, 50) n"
    );
    client.batch_execute(&changes).await.unwrap();
    said.execute(&["--until", "index"]).expect_code(0);
    let green = format!("{}.patients", home(client, "green").await);
    let wrong =
        format!("update {green} set ssn_encrypted = pgp_sym_encrypt({IN_SQL}, k) from the_key where n = 2");
    client.batch_execute(&wrong).await.unwrap();
    let differs = said.execute(&["--yes"]).expect_code(4);
    let digest = differs.events_of("difference")[0]["key_digest"].as_str().unwrap().to_owned();
    said.say(&["find", "plan.yaml", "public.patients", &digest]).expect_code(0);
    let dropped = said.program.run("rollback", &["-vvv"]);
    said.keep(dropped).expect_code(6);
}

/// The way back meets a value that blue cannot hold, and what was written again is there after a rollback.
async fn and_back(client: &Client, said: &mut Said) {
    let running = said.program.spawn("execute", &["-vvv", "--yes"]);
    running.wait_for("soaking");
    said.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
    let sealed = |text: &str| format!("pgp_sym_encrypt({text}, (select k from the_key))");
    let long = sealed(&format!("repeat({IN_SQL}, 10)"));
    client.batch_execute(&format!("update patients set ssn_encrypted = {long} where n = 2")).await.unwrap();
    said.keep(running.finish().expect_code(1));
    let short = sealed(IN_SQL);
    client.batch_execute(&format!("update patients set ssn_encrypted = {short} where n = 2")).await.unwrap();
    let running = said.program.spawn("execute", &["-vvv", "--yes"]);
    running.wait_for("soaking");
    let changes = format!(
        "update patients set ssn_encrypted = {short} where n % 5 = 0;
         delete from patients where n % 17 = 0"
    );
    client.batch_execute(&changes).await.unwrap();
    let verified = said.program.run("verify", &["-vvv"]);
    said.keep(verified);
    let back = said.program.run("rollback", &["-vvv"]);
    said.keep(back);
    said.keep(running.finish().expect_code(6));
    eventually(client, "select count(*) > 0 from patients where ssn is not null").await;
}

/// Values of another table under a passphrase are encrypted again where they are; one of them cannot be.
async fn in_place(client: &Client, said: &mut Said, keys: &Keys) {
    let people = format!(
        "create table people (mrn text primary key, ssn bytea);
         insert into people select {KEY_IN_SQL} || n, pgp_sym_encrypt({IN_SQL} || n, k, 's2k-mode=1') from the_key, generate_series(1, 2000) n;
         update people set ssn = convert_to({IN_SQL}, 'UTF8') where mrn = {KEY_IN_SQL} || 7;
         alter table people owner to owner"
    );
    client.batch_execute(&people).await.unwrap();
    let plan = format!(
        "version: 1\nname: people\nsettings: {{chunk_size: 64KiB}}\nkeys: {{provider: {{file: keys.yaml}}, active: {}}}\n\
         tables:\n  - table: public.people\n    columns: {{ssn: {{encrypt: {{}}, one_way: true}}}}\n",
        keys.active
    );
    std::fs::write(said.program.folder().join("people.yaml"), plan).unwrap();
    let rekeyed = said.say(&["phi", "rekey", "people.yaml"]).expect_code(4);
    assert_eq!(rekeyed.events_of("rekeyed").last().unwrap()["values"], 1999);
    said.say(&["phi", "coverage", "people.yaml"]).expect_code(4);
}

async fn send(sink: tokio_postgres::CopyInSink<bytes::Bytes>, line: &str) {
    use futures_util::SinkExt as _;
    let mut sink = std::pin::pin!(sink);
    sink.send(bytes::Bytes::from(format!("{line}\n"))).await.unwrap();
    sink.as_mut().finish().await.unwrap();
}
