//! The build with the feature `fips`: what it covers works, and what it does not is refused in so many words.

use tokio_postgres::Client;

use super::{BLUE, Keys};
use crate::support::{Bluegreen, Cluster, stage};

const REFUSED: &str =
    "in the format pgp (OpenPGP: SHA-1, S2K and CFB), which the FIPS module of this build does not cover";

fn plan(keys: &Keys, ssn: &str) -> String {
    format!(
        "version: 1
name: phi
settings: {{workers: 2, soak: 1h, chunk_size: 64KiB}}
keys: {{provider: {{file: keys.yaml}}, active: {active}, blind_index: {index}}}
tables:
  - table: public.patients
    replica_identity: full
    columns:
      ssn: {ssn}
      info: {{encrypt: {{format: aes-gcm}}}}
",
        active = keys.active,
        index = keys.index,
    )
}

async fn texts(client: &Client) -> Vec<(i64, Option<String>, String)> {
    let rows = client.query("select id, ssn, info::text from patients order by id", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

async fn count(client: &Client, condition: &str) -> i64 {
    let sql = format!("select count(*) from patients where {condition}");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// There, under changes; coverage; and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_module_covers_works() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let encrypt = "{encrypt: {into: ssn_encrypted, format: aes-gcm, blind_index: true}}";
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, encrypt)).await;
    keys.write(&program);
    let version = program.say(&["--version"]).expect_code(0).stdout;
    assert!(version.contains("(fips: AWS-LC FIPS "), "{version}");
    program.run("check", &[]).expect_code(0);
    program.execute(&["--until", "copy"]).expect_code(0);
    let changes = "update patients set ssn = 'new' || id where id % 10 = 0; delete from patients where id % 10 = 5;
        update patients set id = id + 100000 where id % 10 = 4; insert into patients values (0, '', null, '{}', '1970-01-01')";
    client.batch_execute(changes).await.unwrap();
    let before = texts(&client).await;
    let running = program.spawn("execute", &["--yes"]);
    assert_eq!(running.wait_for("verified")["encrypted"].as_array().unwrap().len(), 2);
    running.wait_for("soaking");
    let index = format!("ssn_blind_index = hmac('new20', '{}', 'sha256')", keys.index_text);
    assert_eq!(count(&client, &index).await, 1);
    program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(texts(&client).await, before);
}

fn is_said(program: &Bluegreen, args: &[&str], code: u8) {
    let said = program.say(args).expect_code(code.into());
    let all = format!("{}{}", said.stdout, said.stderr);
    assert!(all.contains(REFUSED) && all.contains("`format: aes-gcm`"), "{args:?}: {all}");
}

/// A plan with the format pgp, for the new values or for the old ones, and values in that format.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_module_does_not_cover_is_refused() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, mut program) = stage(&cluster, BLUE, &plan(&keys, "{encrypt: {}}")).await;
    keys.write(&program);
    is_said(&program, &["check", "plan.yaml"], 3);
    is_said(&program, &["execute", "plan.yaml", "--yes"], 3);
    is_said(&program, &["execute", "plan.yaml", "--dry-run"], 3);

    let by_sql = format!(
        "alter table patients alter ssn type bytea using '\\xca13504750'::bytea || uuid_send('{}') || pgp_sym_encrypt(ssn, '{}'),
         alter info type bytea using null",
        keys.active, keys.text
    );
    client.batch_execute(&by_sql).await.unwrap();
    is_said(&program, &["phi", "rekey", "plan.yaml"], 3);
    let rotation = format!(
        "{{encrypt: {{format: aes-gcm, key: {}, previous: {}, previous_format: pgp}}}}",
        keys.index, keys.active
    );
    program = program.plan(&plan(&keys, &rotation));
    is_said(&program, &["check", "plan.yaml"], 3);

    // The values themselves, where a plan does not name their format.
    program = program.plan(&plan(&keys, "{encrypt: {format: aes-gcm}, one_way: true}"));
    for (args, code) in [(["phi", "coverage", "plan.yaml"], 4), (["phi", "rekey", "plan.yaml"], 4)] {
        let said = program.say(&args).expect_code(code);
        assert!(format!("{}{}", said.stdout, said.stderr).contains(REFUSED), "{args:?}: {}", said.stdout);
    }
    program.say(&["phi", "coverage", "plan.yaml", "--without-keys"]).expect_code(0);
}
