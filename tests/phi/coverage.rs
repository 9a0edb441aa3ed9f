//! `phi coverage` before, in and after a run that encrypts, and after somebody has written what is not encrypted.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{BLUE, Keys, plan};
use crate::support::{Bluegreen, Cluster, Finished, stage};

const MARKED: &str = "
    comment on column patients.history is 'PHI, of the worst kind';
    create index on patients (ssn); create view of_today as select id, ssn from patients;
    create table notes (id int primary key, body text, other text); insert into notes values (1, 'x', 'PHI'), (2, null, null);
    comment on column notes.body is 'phi: told by the patient'; comment on column notes.other is 'never has PHI';
    create table audit (details jsonb);
    insert into audit values ('{\"old\": {\"ssn\": \"123-45-1\"}}'), ('{\"ssn\": null}'), ('{\"ssn\": \"\\\\x00\"}'), ('{\"n\": \"ssn\"}');
    create publication for_others for table patients;
    analyze patients";

fn coverage(program: &Bluegreen, plan: &str, more: &[&str], code: i32) -> Finished {
    program.say(&[&["phi", "coverage", plan, "--json"], more].concat()).expect_code(code)
}

/// The columns, by name.
fn columns(finished: &Finished) -> BTreeMap<String, Value> {
    let named = |column: &&Value| {
        format!("{}.{}", column["table"].as_str().unwrap(), column["column"].as_str().unwrap())
    };
    finished.events_of("phi_column").iter().map(|column| (named(column), (*column).clone())).collect()
}

fn places(finished: &Finished) -> Vec<String> {
    let name =
        |place: &&Value| format!("{} {}", place["kind"].as_str().unwrap(), place["object"].as_str().unwrap());
    finished.events_of("phi_place").iter().map(name).collect()
}

fn is_place(finished: &Finished, begin: &str) -> bool {
    places(finished).iter().any(|place| place.starts_with(begin))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_encrypted_is_counted_and_where_plaintext_remains() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, &format!("{BLUE}; {MARKED}"), &plan(&keys, "1h")).await;
    keys.write(&program);

    let before = coverage(&program, "plan.yaml", &[], 4);
    let found = columns(&before);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["public.notes.body", "public.patients.history", "public.patients.info", "public.patients.ssn"]
    );
    let ssn = &found["public.patients.ssn"];
    assert_eq!(
        (&ssn["rows"], &ssn["nulls"], &ssn["plaintext"], &ssn["percent"]),
        (&3000.into(), &428.into(), &2572.into(), &0.0.into())
    );
    for place in [
        "index public.patients_ssn_idx",
        "view public.of_today",
        "statistics public.patients.ssn",
        "publication for_others",
        "audit_rows public.audit.details",
        "wal ",
        "dump ",
    ] {
        assert!(is_place(&before, place), "{place}: {:#?}", places(&before));
    }
    let audited =
        before.events_of("phi_place").into_iter().find(|place| place["kind"] == "audit_rows").unwrap();
    assert_eq!(audited["rows"], 1);

    // In the soak.
    client
        .batch_execute("drop index patients_ssn_idx; drop view of_today; drop publication for_others")
        .await
        .unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let soaking = coverage(&program, "plan.yaml", &[], 4);
    let found = columns(&soaking);
    let ssn = &found["public.patients.ssn_encrypted"];
    assert_eq!(
        (&ssn["opened"], &ssn["plaintext"], &ssn["percent"]),
        (&2572.into(), &0.into(), &100.0.into())
    );
    assert_eq!(ssn["encrypted"][0]["key"], keys.active.to_string());
    assert_eq!(ssn["encrypted"][0]["parameters"], "aes256, s2k 3 sha256 1024, mdc");
    for code in ["blind_index", "tag"] {
        assert_eq!((&ssn[code]["equal"], &ssn[code]["other"]), (&3000.into(), &0.into()), "{code}");
    }
    let info = &found["public.patients.info_encrypted"];
    assert_eq!((&info["encrypted"][0]["format"], &info["opened"]), (&"aes-gcm".into(), &3000.into()));
    assert_eq!(found["public.notes.body"]["plaintext"], 1);
    assert!(is_place(&soaking, "blue ") && is_place(&soaking, "statistics "), "{:#?}", places(&soaking));
    // Without the marked column of another table it is whole.
    client.batch_execute("comment on column notes.body is null").await.unwrap();
    coverage(&program, "plan.yaml", &[], 0);
    let said = program.say(&["phi", "coverage", "plan.yaml"]).expect_code(0);
    said.expect_words(&[
        "ssn_encrypted: 100 % of 2572 values encrypted, 428 NULL",
        "old table",
        "finish",
        "100 %: every value",
    ]);
    program.say(&["phi", "coverage", "plan.yaml", "--without-keys"]).expect_code(0);

    // What others have written since: plaintext, another row's value, a key that nobody has, another index.
    let tampered = "
        update patients set ssn_encrypted = 'plain' where id in (1, 2);
        update patients p set info_encrypted = q.info_encrypted from patients q where p.id = 5 and q.id = 6;
        update patients set history = pgp_sym_encrypt('x', 'nobody''s') where id = 8;
        update patients set ssn_blind_index = '\\x00' where id = 10;
        update patients p set ssn_encrypted = q.ssn_encrypted, ssn_blind_index = q.ssn_blind_index, ssn_encrypted_tag = q.ssn_encrypted_tag
          from patients q where (p.id, q.id) in ((15, 16), (16, 15), (22, 29), (29, 22))";
    running.terminate();
    running.finish().expect_code(7);
    client.batch_execute(tampered).await.unwrap();
    let found = columns(&coverage(&program, "plan.yaml", &[], 4));
    let ssn = &found["public.patients.ssn_encrypted"];
    assert_eq!(
        (&ssn["plaintext"], &ssn["opened"], &ssn["blind_index"]["other"]),
        (&2.into(), &2570.into(), &1.into())
    );
    assert_eq!(ssn["percent"], 99.92);
    // Values of other rows, with all that belongs to them, of the same text (22 and 29) as of another one.
    assert_eq!((&ssn["tag"]["equal"], &ssn["tag"]["other"]), (&2994.into(), &4.into()));
    for (column, why) in [("info_encrypted", "does not open it"), ("history", "none of the keys")] {
        let refused = found[&format!("public.patients.{column}")]["refused"].as_object().unwrap();
        assert!(
            refused.len() == 1 && refused.iter().all(|(what, count)| what.contains(why) && *count == 1),
            "{refused:?}"
        );
    }
    // What cannot be known without a key is not.
    let labelled = columns(&coverage(&program, "plan.yaml", &["--without-keys"], 4));
    let history = &labelled["public.patients.history"];
    assert_eq!(
        (&history["opened"], &history["percent"], history["refused"].as_object().unwrap().len()),
        (&Value::Null, &100.0.into(), 0)
    );
    assert!(
        history["encrypted"]
            .as_array()
            .unwrap()
            .iter()
            .any(|under| under["key"].is_null() && under["values"] == 1)
    );
}

/// A plan that encrypts the column `ssn` of table `p`.
fn of_ssn(keys: &Keys) -> String {
    format!(
        "version: 1\nname: p\nkeys: {{provider: {{file: keys.yaml}}, active: {}}}\ntables:\n  - table: public.p\n    \
         columns: {{ssn: {{encrypt: {{into: ssn_enc}}}}}}\n",
        keys.active
    )
}

/// A column of plaintext that is there although the encrypted one is, whoever has made either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plaintext_beside_the_encrypted_column_is_counted() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create table p (id int primary key, ssn text, ssn_enc bytea); insert into p values (1, 'x', null), (2, null, null)";
    let (client, program) = stage(&cluster, table, &of_ssn(&keys)).await;
    keys.write(&program);
    let found = columns(&coverage(&program, "plan.yaml", &[], 4));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["public.p.ssn", "public.p.ssn_enc"]);
    let (plain, encrypted) = (&found["public.p.ssn"], &found["public.p.ssn_enc"]);
    assert_eq!(
        (&plain["plaintext"], &plain["in_plan"], &encrypted["nulls"]),
        (&1.into(), &true.into(), &2.into())
    );
    // What can be encrypted again is, all the same.
    program.say(&["phi", "rekey", "plan.yaml"]).expect_code(0);
    client.batch_execute("update p set ssn = null").await.unwrap();
    coverage(&program, "plan.yaml", &[], 0);
}

/// Of a domain over a domain the type is known, and a comment on a partition marks the column of its table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domains_and_partitions_are_seen_through() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create domain sealed as bytea; create domain sealed_twice as sealed;
        create table p (id int primary key, ssn sealed_twice);
        create table parts (id int, body text, other text) partition by range (id);
        create table part partition of parts for values from (1) to (9); comment on column part.body is 'PHI';
        insert into parts values (1, 'x', 'y')";
    let of_plan = format!(
        "version: 1\nname: p\nkeys: {{provider: {{file: keys.yaml}}, active: {}}}\ntables:\n  - table: public.p\n    \
         columns: {{ssn: {{encrypt: {{}}, one_way: true}}}}\n",
        keys.active
    );
    let (client, program) = stage(&cluster, table, &of_plan).await;
    keys.write(&program);
    let value =
        format!("insert into p values (1, pgp_sym_encrypt('x', '{}', 'cipher-algo=aes256'))", keys.text);
    client.batch_execute(&format!("create extension pgcrypto; {value}")).await.unwrap();
    let found = columns(&coverage(&program, "plan.yaml", &[], 4));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["public.p.ssn", "public.parts.body"]);
    let (ssn, body) = (&found["public.p.ssn"], &found["public.parts.body"]);
    assert_eq!((&ssn["opened"], &ssn["plaintext"], &body["plaintext"]), (&1.into(), &0.into(), &1.into()));
}

/// JSON writes a quote, a backslash and a line break in a name in its own way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_rows_are_found_by_names_that_json_escapes() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create table p (id int primary key, \"a\"\"b\" text, \"c\\d.e\" text, \"f\ng\" text);
        insert into p values (1, 'x', 'x', 'x');
        create table audit (id int, was jsonb, now json);
        insert into audit select 1, to_jsonb(r), null from (select \"a\"\"b\" from p) r;
        insert into audit select 2, null, to_json(r) from (select \"c\\d.e\" from p) r;
        insert into audit select 3, to_jsonb(r), null from (select \"f\ng\" from p) r;
        insert into audit values (4, '{\"a\": \"b\", \"c\\\\dxe\": \"x\"}', '{\"c\\\\d.e\": null}')";
    let column = |name: &str, into: &str| format!("      {name}: {{encrypt: {{into: {into}}}}}\n");
    let of_plan = format!(
        "version: 1\nname: p\nkeys: {{provider: {{file: keys.yaml}}, active: {}}}\ntables:\n  - table: public.p\n    columns:\n{}{}{}",
        keys.active,
        column("'\"a\"\"b\"'", "x"),
        column("'\"c\\d.e\"'", "y"),
        column("\"\\\"f\\ng\\\"\"", "z")
    );
    let (_client, program) = stage(&cluster, table, &of_plan).await;
    keys.write(&program);
    let found = coverage(&program, "plan.yaml", &[], 4);
    let rows = |object: &str| {
        let place = found.events_of("phi_place").into_iter().find(|place| place["object"] == object);
        place.map(|place| place["rows"].as_u64().unwrap())
    };
    assert_eq!(rows("public.audit.was"), Some(2), "{:#?}", places(&found));
    assert_eq!(rows("public.audit.now"), Some(1), "{:#?}", places(&found));
}

/// Places that hold plaintext of a column without being its dependents, or under a name of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indirect_dependents_and_statistics_of_their_own_are_named() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = "create table p (id int primary key, ssn text, o text, other text);
        insert into p select n, 'ssn' || n % 50, 'o' || n % 50, 'x' from generate_series(1, 1000) n;
        create view v1 as select id, ssn from p; create materialized view mv2 as select * from v1; create view v3 as select ssn from mv2;
        create view no4 as select id, other from p; create materialized view no5 as select * from no4;
        create statistics st1 on lower(ssn), o from p; create statistics st2 (mcv) on ssn, o from p; create statistics no6 (ndistinct) on ssn, o from p;
        create statistics no7 (mcv) on o, other from p; create index p_lower on p (id, lower(ssn)); create index no8 on p (lower(other));
        alter table p add constraint p_key unique (id, ssn); create table log (was text);
        create rule logged as on insert to p do also insert into log values (new.ssn); analyze";
    let (client, program) = stage(&cluster, table, &of_ssn(&keys)).await;
    keys.write(&program);
    let found = coverage(&program, "plan.yaml", &[], 4);
    let mut named = places(&found);
    named.retain(|place| !place.starts_with("wal") && !place.starts_with("dump"));
    named.sort();
    assert_eq!(
        named,
        [
            "index public.p_key",
            "index public.p_lower",
            "materialized_view public.mv2",
            "statistics public.p.ssn",
            "statistics public.p_lower.lower",
            "statistics public.st1",
            "statistics public.st2",
            "trigger rule logged on public.p",
            "view public.v1",
            "view public.v3",
        ]
    );
    // What is known to gather nothing, and has nothing, is no place.
    let none = "drop view v1 cascade; drop rule logged on p; alter table p alter ssn set statistics 0, alter ssn type text;
        alter statistics st1 set statistics 0; alter statistics st2 set statistics 0; alter index p_lower alter 2 set statistics 0";
    client.batch_execute(none).await.unwrap();
    // In the transaction that made the index anew, ANALYZE does not see the target.
    client.batch_execute("analyze").await.unwrap();
    let found = coverage(&program, "plan.yaml", &[], 4);
    assert!(!is_place(&found, "statistics") && is_place(&found, "index"), "{:#?}", places(&found));
}
