//! A rotation by the plan of `phi rotate`: blind indexes and tags stay as they are, and those that are wrong are found.

use std::collections::BTreeMap;

use projh_bluegreen::testing::phi::KeyId;
use serde_json::Value;

use super::{BLUE, Keys, plan};
use crate::support::{Bluegreen, Cluster, stage};

/// Writes the plan of a rotation in the place of the other plan.
fn rotate(program: &Bluegreen, to: KeyId) -> String {
    let args = ["phi", "rotate", "plan.yaml", "--to", &to.to_string()];
    let rotation = program.say(&args).expect_code(0).stdout;
    program.write_plan(&rotation);
    rotation
}

/// Of each encrypted column, under how many keys it is, and its blind index's and its tag's column with those that are equal and
/// those that are not.
fn covered(program: &Bluegreen, code: i32) -> BTreeMap<String, (usize, [Value; 2])> {
    let covered = program.say(&["phi", "coverage", "plan.yaml", "--json"]).expect_code(code);
    let of_column = |column: &&Value| {
        let name = column["column"].as_str().unwrap().to_owned();
        let keys = column["encrypted"].as_array().unwrap().len();
        (name, (keys, ["blind_index", "tag"].map(|what| column[what].clone())))
    };
    covered.events_of("phi_column").iter().map(of_column).collect()
}

fn code(column: &str, equal: u64, other: u64) -> Value {
    serde_json::json!({"column": column, "equal": equal, "other": other, "missing": false})
}

/// The text of a column, opened with a key of which this is the text.
fn opened(column: &str, key: &str) -> String {
    format!("pgp_sym_decrypt({column}, '{key}')")
}

fn blind_index(keys: &Keys, text: &str) -> String {
    format!("hmac(lower(btrim({text})) collate \"C\", '{}', 'sha256')", keys.index_text)
}

/// The names are those of a user, one blind index is unique, one is of a value of the other format.
fn first_plan(keys: &Keys) -> String {
    let named = plan(keys, "1h").replace("soak: 1h, ", "");
    let named = named.replace("blind_index: true, tag: true", "blind_index: '\"By SSN\"', tag: \"mark\"");
    let named = named.replace("format: aes-gcm", "format: aes-gcm, blind_index: true");
    format!("{named}    indexes: ['create unique index by_ssn on patients (\"By SSN\")']\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_keeps_blind_indexes_and_tags_and_finds_those_that_are_wrong() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let distinct = "update patients set ssn = 'x' || id where ssn = ''";
    let (client, program) = stage(&cluster, &format!("{BLUE}; {distinct}"), &first_plan(&keys)).await;
    keys.write(&program);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);

    let (new, text) = keys.write_new(&program);
    let rotation = rotate(&program, new);
    assert!(rotation.contains("blind_index: '\"By SSN\"', tag: mark"), "{rotation}");
    program.write_plan(&rotation.replace("  workers: 2\n", "  workers: 2\n  soak: 1h\n"));
    let found = covered(&program, 0);
    assert_eq!(found["ssn_encrypted"].1, [code("By SSN", 3000, 0), code("mark", 3000, 0)]);
    assert_eq!(found["info_encrypted"].1, [code("info_blind_index", 3000, 0), Value::Null]);
    program.run_for_people("check", &[]).expect_code(0).expect_words(&[
        "column \"By SSN\" stays as it is, as the blind index of column \"ssn_encrypted\"",
        "column \"mark\" stays as it is, as the tag of column \"ssn_encrypted\"",
        "column \"info_blind_index\" stays as it is",
    ]);
    let preview = program.run_for_people("execute", &["--dry-run"]).expect_code(0);
    preview.expect_words(&["= column     \"By SSN\" bytea, blind index of ssn_encrypted, key"]);

    // A blind index and a tag of nothing, one of another value, none where there is one, and one where there is no value.
    let wrong = "create table kept as select * from patients;
        update patients set \"By SSN\" = '\\x00', mark = null where id = 8;
        update patients p set mark = q.mark from patients q where (p.id, q.id) in ((15, 16), (16, 15));
        update patients set mark = '\\x00' where id = 14; update patients set info_blind_index = null where id in (9, 10)";
    client.batch_execute(wrong).await.unwrap();
    let found = covered(&program, 4);
    assert_eq!(found["ssn_encrypted"].1, [code("By SSN", 2999, 1), code("mark", 2996, 4)]);
    let refused = program.execute(&["--yes", "--until", "settle"]).expect_code(4);
    for words in [
        "6 differences",
        "column ssn_encrypted: 1 value: its blind index, in column By SSN, is that of another value",
        "column ssn_encrypted: 4 values: its tag, in column mark, is that of another value, row or column",
        "column info_encrypted: 2 values: its blind index, in column info_blind_index, is that of another value",
        "mark (4), info_blind_index (2), By SSN (1)",
    ] {
        assert!(refused.error().contains(words), "lacks {words}: {}", refused.error());
    }
    let old = format!(
        "select count(ssn_encrypted) from patients where {} is null",
        opened("ssn_encrypted", &keys.text)
    );
    assert_eq!(client.query_one(&old, &[]).await.unwrap().get::<_, i64>(0), 0, "nothing was swapped");

    // They are mended, and clients go on: with their own blind indexes and tags, before the swap and after it.
    let mended = "update patients p set \"By SSN\" = k.\"By SSN\", mark = k.mark, info_blind_index = k.info_blind_index from kept k where p.id = k.id";
    client.batch_execute(mended).await.unwrap();
    let written = |id: i32, text: &str, key: &str| {
        let (index, tag) = (blind_index(&keys, &format!("'{text}'")), keys.tag_of(&format!("'{text}'")));
        format!(
            "update patients set ssn_encrypted = pgp_sym_encrypt('{text}', '{key}', 'cipher-algo=aes256'), \"By SSN\" = {index}, mark = {tag} where id = {id}"
        )
    };
    client.batch_execute(&written(21, "by a client", &keys.text)).await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let all = "select string_agg(concat_ws(' ', id, \"By SSN\", mark, info_blind_index), ',' order by id) from patients";
    let in_soak = format!(
        "{}; update patients set \"By SSN\" = '\\x01' where id = 23",
        written(22, "in the soak", &text)
    );
    client.batch_execute(&in_soak).await.unwrap();
    let before: String = client.query_one(all, &[]).await.unwrap().get(0);
    // What a client forgot does not keep it from going back.
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    let back = format!("select {} from patients where id = 22", opened("ssn_encrypted", &keys.text));
    assert_eq!(client.query_one(&back, &[]).await.unwrap().get::<_, &str>(0), "in the soak");
    assert_eq!(client.query_one(all, &[]).await.unwrap().get::<_, String>(0), before);
    let again = program.execute(&["--yes", "--until", "settle"]).expect_code(4);
    assert!(again.error().contains("1 value: its blind index, in column By SSN"), "{}", again.error());
    client
        .batch_execute(
            "update patients p set \"By SSN\" = k.\"By SSN\" from kept k where (p.id, k.id) = (23, 23)",
        )
        .await
        .unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    let found = covered(&program, 0);
    assert_eq!(found["ssn_encrypted"].1, [code("By SSN", 3000, 0), code("mark", 3000, 0)]);
    assert_eq!(found["info_encrypted"], (1, [code("info_blind_index", 3000, 0), Value::Null]));
    let unique = "select indisunique from pg_index where indexrelid = 'by_ssn'::regclass";
    assert!(client.query_one(unique, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partitioned_table_is_rotated_with_its_blind_index_and_its_tag() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let by = "    primary_key: [id, born]\n    partition_by: {range: born, every: 1 year}\n";
    let first = plan(&keys, "1h").replace("soak: 1h, ", "") + by;
    let (client, program) = stage(&cluster, &format!("{BLUE}; create schema rotated"), &first).await;
    keys.write(&program);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    let (new, text) = keys.write_new(&program);
    let rotation = rotate(&program, new);
    assert!(
        rotation.contains("bound_to: [id], blind_index: ssn_blind_index, tag: ssn_encrypted_tag"),
        "{rotation}"
    );
    // Values are bound to the key before it was widened, also those that clients write.
    program.write_plan(&format!(
        "{rotation}    partition_by: {{range: born, every: 1 year, schema: rotated}}\n"
    ));
    program.execute(&["--yes", "--until", "copy"]).expect_code(0);
    let (index, tag) = (blind_index(&keys, "'new'"), keys.tag_of("'new'"));
    let written = format!(
        "update patients set ssn_encrypted = pgp_sym_encrypt('new', '{}', 'cipher-algo=aes256'), ssn_blind_index = {index}, ssn_encrypted_tag = {tag} where id % 10 = 1;
         update patients set born = born + 400 where id % 10 = 2; update patients set ssn_encrypted_tag = '\\x00' where id = 3",
        keys.text
    );
    client.batch_execute(&written).await.unwrap();
    let refused = program.execute(&["--yes", "--until", "settle"]).expect_code(4);
    assert!(refused.error().contains("1 value: its tag, in column ssn_encrypted_tag"), "{}", refused.error());
    let mended = keys.tag_of(&opened("ssn_encrypted", &keys.text));
    client
        .batch_execute(&format!("update patients set ssn_encrypted_tag = {mended} where id = 3"))
        .await
        .unwrap();
    program.execute(&["--yes"]).expect_code(0);
    let found = covered(&program, 0);
    let both = [code("ssn_blind_index", 3000, 0), code("ssn_encrypted_tag", 3000, 0)];
    assert_eq!(found["ssn_encrypted"], (1, both));
    let sql = format!("select count(*) from patients where {} = 'new'", opened("ssn_encrypted", &text));
    assert_eq!(client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 300);
}

/// A blind index under another key, or one that is wrong everywhere: the column is dropped, and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blind_index_that_is_dropped_is_computed_anew() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, BLUE, &plan(&keys, "1h").replace("soak: 1h, ", "")).await;
    keys.write(&program);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    client.batch_execute("update patients set ssn_blind_index = '\\x00' where id % 2 = 0").await.unwrap();
    let (new, _) = keys.write_new(&program);
    let rotation = rotate(&program, new);
    let anew = format!("{rotation}      ssn_blind_index: drop\n");
    program.write_plan(&anew);
    let words = ["column \"ssn_blind_index\" is made anew, as the blind index of column \"ssn_encrypted\""];
    program.run_for_people("check", &[]).expect_code(0).expect_words(&words);
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(covered(&program, 0)["ssn_encrypted"].1[0], code("ssn_blind_index", 3000, 0));
    program.run("finish", &["--yes"]).expect_code(0);

    // Keys of something else, a column that cannot be one, and a tag whose column gets another name.
    for key in [keys.index, keys.tag] {
        let refused = program.say(&["phi", "rotate", "plan.yaml", "--to", &key.to_string()]).expect_code(2);
        refused.expect_words(&["which do not change in a rotation"]);
    }
    client.batch_execute("alter table patients add plain text").await.unwrap();
    let rotation = rotate(&program, keys.active);
    for (word, by, said) in [
        (
            "tag: ssn_encrypted_tag",
            "tag: plain",
            "column \"plain\" is not bytea, so it is not the tag of column",
        ),
        (
            "ssn_encrypted: {encrypt: {",
            "ssn_encrypted: {encrypt: {into: renamed, ",
            "binds values to the name of column \"ssn_encrypted\"",
        ),
    ] {
        program.write_plan(&rotation.replacen(word, by, 1));
        program.run_for_people("check", &[]).expect_code(3).expect_words(&[said]);
    }

    program.write_plan(&rotation);
    assert_eq!(covered(&program, 0)["ssn_encrypted"].1[0], code("ssn_blind_index", 3000, 0));
    client.batch_execute("alter table patients drop column ssn_blind_index").await.unwrap();
    assert_eq!(covered(&program, 4)["ssn_encrypted"].1[0]["missing"], true);
    let said = program.say(&["phi", "coverage", "plan.yaml"]).expect_code(4);
    said.expect_words(&["blind index ssn_blind_index: the table has no such column"]);
}

/// The journal knows of the run that has left it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archived_plaintext_of_an_earlier_run_is_named_with_the_plan_of_the_rotation() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let blue = format!("create schema old; {BLUE}");
    let (_client, program) = stage(&cluster, &blue, &plan(&keys, "0s, archive: {schema: old}")).await;
    keys.write(&program);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    let (new, _) = keys.write_new(&program);
    program.write_plan(&rotate(&program, new));
    let said = program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
    said.expect_words(&["archived table", "old.patients"]);
}

/// The copy would stop at the first of them; `check` counts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_nobody_can_open_are_counted_before_a_rotation() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = format!(
        "create extension pgcrypto; create table p (id int primary key, ssn bytea);
         insert into p select n, pgp_sym_encrypt('x', '{}', 'cipher-algo=aes256') from generate_series(1, 5) n;
         insert into p values (6, null), (7, 'plain'), (8, ''), (9, '\\x5048490100'); analyze",
        keys.text
    );
    let of_plan = "version: 1\nname: p\nkeys: {provider: {file: keys.yaml}, active: NEW}\ntables:\n  - table: public.p\n    \
                   columns: {ssn: {encrypt: {previous: OLD}}}\n";
    let (client, program) = stage(&cluster, &table, "").await;
    let (new, _) = keys.write_new(&program);
    let of_plan = of_plan.replace("NEW", &new.to_string()).replace("OLD", &keys.active.to_string());
    program.write_plan(&of_plan);
    let refused = program.run("check", &[]).expect_code(3);
    let what = refused.finding("encryption")["what"].as_str().unwrap();
    assert_eq!(what, "3 of 9 rows have a value of ssn that is in neither format: nobody can open it");
    client.batch_execute("delete from p where id > 6").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
}
