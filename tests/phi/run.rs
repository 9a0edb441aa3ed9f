//! A run with encrypted columns: there under changes, verified value for value, back, and there again.

use tokio_postgres::Client;

use super::{BLUE, Keys, plan};
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster, home, stage};

/// What clients have to find, whichever table is live: `decrypted` is how to read a column of green.
async fn rows(
    client: &Client,
    table: &str,
    ssn: &str,
    history: &str,
) -> Vec<(i64, Option<String>, Option<String>, Option<String>)> {
    let sql = format!("select id, {ssn}, {history}, born::text from {table} order by id");
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_are_encrypted_on_the_way_and_come_back() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(
        &cluster,
        &format!("{BLUE}; create schema archive"),
        &plan(&keys, "1h, archive: {schema: archive}"),
    )
    .await;
    keys.write(&program);
    program.run("check", &[]).expect_code(0);
    program.execute(&["--until", "copy"]).expect_code(0);
    // Changes of every kind after the copy: the stream encrypts them.
    client
        .batch_execute(
            "update patients set ssn = 'new' || id where id % 10 = 0;
             update patients set history = null where id % 10 = 1;
             update patients set ssn = '', history = '' where id % 10 = 2;
             update patients set born = born + 1 where id % 10 = 3;
             update patients set id = id + 100000 where id % 10 = 4;
             delete from patients where id % 10 = 5;
             insert into patients select 200000 + n, 's' || n, repeat('long ' || n, 2000), '{\"n\":  1}', '1970-01-01' from generate_series(1, 20) n;
             update patients set ssn = 'only this' where id > 200010",
        )
        .await
        .unwrap();
    let before = rows(&client, "patients", "ssn", "history").await;
    let running = program.spawn("execute", &["--yes"]);
    let verified = running.wait_for("verified");
    let census = verified["encrypted"].as_array().unwrap();
    assert_eq!(census.len(), 3, "{verified}");
    assert!(
        census.iter().all(|one| one["keys"]
            .as_object()
            .unwrap()
            .keys()
            .eq([keys.active.to_string().as_str()]))
    );
    running.wait_for("soaking");

    let decrypted = |column: &str| format!("pgp_sym_decrypt({column}, '{}')", keys.text);
    let (ssn, history) = (decrypted("ssn_encrypted"), decrypted("history"));
    assert_eq!(rows(&client, "patients", &ssn, &history).await, before);
    let index = format!(
        "select count(*) from patients where ssn_blind_index is distinct from \
         hmac(lower(btrim({ssn})) collate \"C\", '{}', 'sha256')",
        keys.index_text
    );
    assert_eq!(client.query_one(&index, &[]).await.unwrap().get::<_, i64>(0), 0);
    // The tag, too, of rows whose key has changed as well.
    let tag = keys.tag_of(&ssn);
    let tagged = format!("select count(*) from patients where ssn_encrypted_tag is distinct from {tag}");
    assert_eq!(client.query_one(&tagged, &[]).await.unwrap().get::<_, i64>(0), 0);

    // The way back: what SQL has encrypted, with and without the key's id.
    let written = format!(
        "update patients set ssn_encrypted = pgp_sym_encrypt('by sql', '{0}', 'cipher-algo=aes256') where id % 10 = 6;
         update patients set ssn_encrypted = '\\xca13504750'::bytea || uuid_send('{1}') || pgp_sym_encrypt('named', '{0}') where id % 10 = 7;
         update patients set ssn_encrypted = null, history = null where id % 10 = 8;
         delete from patients where id % 10 = 9",
        keys.text, keys.active
    );
    client.batch_execute(&written).await.unwrap();
    // A blind index and a tag are the clients' as the value is: the way there again would find one that they forgot.
    let indexed = format!(
        "update patients set ssn_encrypted_tag = {tag}, ssn_blind_index = hmac(lower(btrim({ssn})) collate \"C\", '{}', 'sha256') where id % 10 in (6, 7, 8)",
        keys.index_text
    );
    client.batch_execute(&indexed).await.unwrap();
    let after = rows(&client, "patients", &ssn, &history).await;
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    assert_eq!(rows(&client, "patients", "ssn", "history").await, after);

    // And there again, with all values under the column's key; what names no key was opened by it.
    let again = program.spawn("execute", &["--yes"]);
    again.wait_for("soaking");
    assert_eq!(rows(&client, "patients", &ssn, &history).await, after);
    again.terminate();
    again.finish().expect_code(7);
    archived(&client, &program).await;
}

/// What is left of a blind index and a tag that a client forgot after the swap, where another swap finds it, and what helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_blind_indexes_are_said_and_put_right() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, "1h")).await;
    keys.write(&program);
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let forgot = format!(
        "update patients set ssn_encrypted = pgp_sym_encrypt('forgot', '{}') where id in (15, 16)",
        keys.text
    );
    client.batch_execute(&forgot).await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);

    let found = program.execute(&["--yes"]).expect_code(4);
    let hint = found.events_of("error")[0]["hint"].as_str().unwrap();
    assert!(
        hint.contains("update public.patients set ssn = ssn") && hint.contains("execute again"),
        "{hint}"
    );
    let next = found.events_of("end")[0]["next"].as_str().unwrap();
    assert!(next.contains("projh-bluegreen execute"), "{next}");
    client.batch_execute("update public.patients set ssn = ssn where id in (15, 16)").await.unwrap();
    let again = program.spawn("execute", &["--yes"]);
    again.wait_for("soaking");
    again.terminate();
    again.finish().expect_code(7);
    program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
}

/// Without a value of the format aes-gcm, a tag alone needs the row's key: of what is copied, and of what the stream brings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_alone_binds_values_to_their_rows() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, "1h").replace(", format: aes-gcm", "")).await;
    keys.write(&program);
    program.execute(&["--until", "copy"]).expect_code(0);
    let changes =
        "update patients set ssn = 'new' || id where id < 100; update patients set id = -id where id > 2900";
    client.batch_execute(changes).await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let tag = keys.tag_of(&format!("pgp_sym_decrypt(ssn_encrypted, '{}')", keys.text));
    let sql = format!(
        "select count(*) filter (where ssn_encrypted_tag = {tag}), count(ssn_encrypted) from patients"
    );
    let row = client.query_one(&sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), row.get::<_, i64>(1));
    running.terminate();
    running.finish().expect_code(7);
}

/// The old table is kept, without the planner's statistics of what was encrypted, except where they cannot be removed.
async fn archived(client: &Client, program: &Bluegreen) {
    let blue = format!("{}.patients", home(client, "blue").await);
    let view = format!(
        "create index on {blue} (lower(ssn)); create statistics of_old on lower(ssn), history from {blue}; \
         analyze {blue}; create table file as select pg_relation_filenode('{blue}') as node; \
         create view of_info as select info from {blue}"
    );
    client.batch_execute(&view).await.unwrap();
    let ended = program.run("finish", &["--yes", "--force"]).expect_code(0);
    let said = ended.events_of("notice");
    let left = "the archived table, the planner's statistics of archive.patients.info, WAL";
    assert!(said.iter().any(|notice| notice["text"].as_str().unwrap().contains(left)), "{said:?}");
    let names =
        "select string_agg(attname::text, ' ' order by attname) from pg_stats where schemaname = 'archive'";
    assert_eq!(client.query_one(names, &[]).await.unwrap().get::<_, &str>(0), "born id info");
    client.batch_execute("analyze archive.patients").await.unwrap();
    assert_eq!(client.query_one(names, &[]).await.unwrap().get::<_, &str>(0), "born id info");
    let of_several = "select (select count(*) from pg_stats_ext where tablename = 'patients' and most_common_vals is not null)
        + (select count(*) from pg_stats_ext_exprs where tablename = 'patients' and most_common_vals::text || histogram_bounds::text is not null)";
    assert_eq!(client.query_one(of_several, &[]).await.unwrap().get::<_, i64>(0), 0);
    let same = "select node = pg_relation_filenode('archive.patients') from file";
    assert!(client.query_one(same, &[]).await.unwrap().get::<_, bool>(0), "it was not rewritten");
    eventually(client, "select not exists (select from pg_namespace where nspname like 'projh_bg%')").await;
}
