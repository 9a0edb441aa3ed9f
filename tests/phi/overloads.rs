//! Functions and operators that others make in schema public, and that fit the calls of the view of the old shape better than its
//! own, are not called.

use super::Keys;
use crate::support::{Cluster, stage};

const TABLE: &str = "create role app; create role mallory; grant create on schema public to mallory; create extension citext;
    create table p (name citext primary key, ssn varchar(20), dob date, minutes numeric, n int, twice int generated always as (n * 2) stored);
    grant select, insert, update, delete on p to app;
    insert into p (name, ssn, dob, minutes, n) select 'N' || n, '123-45-' || n, date '1950-01-01' + n, n / 2.0, n from generate_series(1, 9) n; analyze";

/// Each raises what it is called with.
fn traps() -> String {
    let mut sql = "set role mallory;
        create function public.trap(text) returns void language plpgsql as $$begin raise exception 'trapped: %', $1; end$$;"
        .to_owned();
    for (signature, returns) in [
        ("encrypt_phi(text, text)", "bytea"),
        ("encrypt_phi(varchar, text)", "bytea"),
        ("encrypt_phi(varchar, uuid)", "bytea"),
        ("decrypt_phi(bytea, text)", "text"),
        ("phi_blind_index(text, text)", "bytea"),
        ("phi_blind_index(varchar, text)", "bytea"),
        ("round(int)", "numeric"),
        ("over_varchar(varchar, varchar)", "boolean"),
        ("over_image(record, text)", "boolean"),
        ("of_int(int, numeric)", "numeric"),
        ("of_numeric(numeric, int)", "numeric"),
    ] {
        sql.push_str(&format!(
            "create function public.{signature} returns {returns} language plpgsql as $$begin perform public.trap($1::text); end$$;"
        ));
    }
    sql.push_str(
        "create operator public.= (leftarg = varchar, rightarg = varchar, function = public.over_varchar);
         create operator public./ (leftarg = int, rightarg = numeric, function = public.of_int);
         create operator public.* (leftarg = numeric, rightarg = int, function = public.of_numeric); reset role",
    );
    sql
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_others_is_called_by_the_view_of_the_old_shape() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let plan = format!(
        "version: 1
name: views
settings: {{soak: 1h}}
keys: {{provider: {{file: keys.yaml}}, active: {}, blind_index: {}}}
tables:
  - table: public.p
    compatibility: view
    columns:
      ssn: {{encrypt: {{into: ssn_encrypted, blind_index: true}}}}
      dob: {{encrypt: {{}}}}
      minutes: {{rename: seconds, type: integer, using: minutes * 60, back: seconds / 60.0}}
steps:
  - {{name: phi functions, when: prepare, up: {{file: phi.sql}}, down: {{file: phi.down.sql}}}}
",
        keys.active, keys.index
    );
    let (client, program) = stage(&cluster, TABLE, &plan).await;
    keys.write(&program);
    for (name, sql) in [
        ("phi.sql", include_str!("../../sql/project-h/phi.sql")),
        ("phi.down.sql", include_str!("../../sql/project-h/phi.down.sql")),
    ] {
        std::fs::write(program.folder().join(name), sql).unwrap();
    }
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    keys.load(&client).await;
    client.batch_execute(&traps()).await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("grant phi_user to app; set role app").await.unwrap();
    let view = "public_views.p";
    let written = format!(
        "insert into {view} (name, ssn, dob, minutes, n) values ('New', '555', '2001-02-03', 1.5, 1);
         update {view} set ssn = '556', dob = '2001-02-04', minutes = 2 where name = 'New';
         update {view} set n = n + 1 where name = 'N1'; delete from {view} where name = 'N2'"
    );
    client.batch_execute(&written).await.unwrap();
    let error =
        client.batch_execute(&format!("update {view} set twice = 1 where name = 'N3'")).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "428C9");
    let read = format!(
        "select string_agg(format('%s %s %s %s', name, ssn, dob, minutes::float8), ', ' order by name) from {view} where name in ('new', 'n1', 'n2')"
    );
    let row = client.query_one(&read, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "N1 123-45-1 1950-01-02 0.5, New 556 2001-02-04 2");
    // The row of a key whose type is of an extension is still found by its index.
    let body = "select prosrc from pg_proc where proname = 'p_write'";
    let body: String = client.query_one(body, &[]).await.unwrap().get(0);
    assert!(
        body.contains("t.\"name\" OPERATOR(\"public\".=) OLD.\"name\"")
            || body.contains("t.\"name\" OPERATOR(public.=) OLD.\"name\""),
        "{body}"
    );
    client.batch_execute("reset role").await.unwrap();
    assert!(!cluster.log().contains("trapped"));
    program.run("rollback", &[]).expect_code(6);
}
