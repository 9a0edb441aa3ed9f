//! `compatibility: view`: old code goes on through a view of the old shape, new code uses the table, there and back and to the end.

use tokio_postgres::Client;

use super::Keys;
use crate::support::{Cluster, stage};

const TABLES: &str = "create role app; create role other;
    create table patients (id bigint generated always as identity primary key, name text not null default 'nobody', ssn varchar(20), info jsonb,
      minutes numeric, legacy int, up text generated always as (upper(name)) stored, owner name not null default current_user);
    alter table patients enable row level security; create policy own on patients using (owner = current_user);
    grant select, insert, update, delete on patients to app; grant select on patients to other;
    insert into patients (name, ssn, info, minutes, legacy, owner) select 'n' || n, '123-45-' || n, jsonb_build_object('n', n), n / 2.0, n, case n % 2 when 0 then 'app' else 'other' end
      from generate_series(1, 100) n;
    create table plain (id int primary key, old_name text, gone text); insert into plain select n, 'p' || n, 'g' from generate_series(1, 10) n;
    grant select, insert, update, delete on plain to app; analyze";

fn plan(keys: &Keys) -> String {
    format!(
        "version: 1
name: views
{patients}      legacy: drop
    add_columns: [\"note text default 'new'\"]
    compatibility: view
  - table: public.plain
    columns: {{old_name: {{rename: new_name}}, gone: drop}}
    compatibility: view
steps:
  - {{name: phi functions, when: prepare, up: {{file: phi.sql}}, down: {{file: phi.down.sql}}}}
",
        patients = keys.patients(),
    )
}

async fn text(client: &Client, sql: &str) -> String {
    let row = client
        .query_one(&format!("select ({sql})::text"), &[])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.get::<_, Option<String>>(0).unwrap_or_else(|| "NULL".to_owned())
}

async fn code(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.code().unwrap().code().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_code_goes_on_through_a_view_of_the_old_shape() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = stage(&cluster, TABLES, &plan(&keys)).await;
    keys.write(&program);
    for (name, sql) in [
        ("phi.sql", include_str!("../../sql/project-h/phi.sql")),
        ("phi.down.sql", include_str!("../../sql/project-h/phi.down.sql")),
    ] {
        std::fs::write(program.folder().join(name), sql).unwrap();
    }
    let version: i32 = text(&client, "current_setting('server_version_num')").await.parse().unwrap();
    if version < 150_000 {
        let refused = program.run("check", &[]).expect_code(3);
        assert!(
            refused.refusals()[0]["what"].as_str().unwrap().contains("before version 15"),
            "{}",
            refused.stdout
        );
        return;
    }
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    assert!(
        preview.stdout.contains("CREATE VIEW")
            && preview.stdout.contains("ON CONFLICT")
            && preview.stdout.contains("info keeps its name and has ciphertext then"),
        "{}",
        preview.stdout
    );
    // All columns in their order, as old code has them in `select *`.
    let all = "select string_agg(r::text, ';' order by id) from patients r";
    let before = text(&client, all).await;
    // Clients of the view would fail without the keys.
    let refused = program.execute(&["--yes"]).expect_code(3);
    let whats = refused.refusals().into_iter().map(|finding| finding["what"].as_str().unwrap());
    assert_eq!(
        whats.filter(|what| what.contains("could not use it after the swap")).count(),
        2,
        "{}",
        refused.stdout
    );
    keys.load(&client).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client
        .batch_execute("grant phi_user to app, other; set search_path = public_views, public")
        .await
        .unwrap();
    let now = text(&client, all).await;
    let normalised = |text: &str| text.replace(".0000000000000000", "").replace(".5000000000000000", ".5");
    // Of a dropped column there is nothing.
    let without_legacy = text(&client, "select count(*) from patients where legacy is not null").await;
    assert_eq!(without_legacy, "0");
    assert_eq!(normalised(&now).matches(';').count(), normalised(&before).matches(';').count());
    assert!(now.contains("123-45-77") && now.contains("\"\"n\"\": 77"), "{now}");

    written(&client, &cluster).await;
    // Row security of whoever uses it; privileges, too.
    client.batch_execute("set role app").await.unwrap();
    assert_eq!(text(&client, "select count(*) from patients where owner <> 'app'").await, "0");
    client
        .batch_execute("insert into patients (name, ssn, minutes) values ('of app', '9', 3)")
        .await
        .unwrap();
    client.batch_execute("set role other").await.unwrap();
    assert_eq!(code(&client, "delete from patients").await, "42501");
    client.batch_execute("reset role").await.unwrap();

    // Without computed columns, the server writes by itself.
    client.batch_execute("insert into plain (id, old_name) values (1, 'x') on conflict (id) do update set old_name = excluded.old_name || '!'").await.unwrap();
    assert_eq!(text(&client, "select new_name from public.plain where id = 1").await, "x!");

    // Back: the view is gone, and what was written through it is there.
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(text(&client, "select to_regnamespace('public_views') is null").await, "true");
    assert_eq!(
        text(&client, "select ssn || minutes || legacy from patients where name = 'n9'").await,
        "NULL"
    );
    assert_eq!(
        text(&client, "select ssn || minutes from patients where name = 'of app'").await,
        "93.0000000000000000"
    );
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(text(&client, "select ssn from public_views.patients where name = 'of app'").await, "9");
    program.run("finish", &["--yes", "--now"]).expect_code(0);
    assert_eq!(text(&client, "select to_regnamespace('public_views') is null").await, "true");
}

async fn written(client: &Client, cluster: &Cluster) {
    let row = client.query_one("insert into patients (ssn, info, minutes) values ('555', '{\"a\": 1}', 1.5) returning ssn, info::text, up, id > 100, minutes::float8, owner::text", &[]).await.unwrap();
    let got: (String, String, String, bool, f64, String) =
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5));
    assert_eq!(got, ("555".into(), "{\"a\": 1}".into(), "NOBODY".into(), true, 1.5, "postgres".into()));
    let stored = "select decrypt_phi(ssn_encrypted, null) || seconds || note || (ssn_blind_index is not null) from public.patients where id > 100";
    assert_eq!(text(client, stored).await, "55590newtrue");
    // Only what changes is encrypted again.
    let kept =
        text(client, "select encode(ssn_encrypted, 'hex') from public.patients where full_name = 'n7'").await;
    let row = client.query_one("update patients set minutes = 7, name = 'seven' where name = 'n7' returning name || ssn || up || minutes::int", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "seven123-45-7SEVEN7");
    assert_eq!(
        text(client, "select encode(ssn_encrypted, 'hex') from public.patients where full_name = 'seven'")
            .await,
        kept
    );
    client.batch_execute("update patients set ssn = 'changed' where name = 'n8'; update patients set ssn = null where name = 'n9'").await.unwrap();
    assert_eq!(text(client, "select string_agg(coalesce(decrypt_phi(ssn_encrypted, null), '-'), ' ' order by id) from public.patients where full_name in ('n8', 'n9')").await, "changed -");
    assert_eq!(client.execute("delete from patients where name = 'n10'", &[]).await.unwrap(), 1);
    assert_eq!(client.execute("delete from patients where name = 'n10'", &[]).await.unwrap(), 0);
    for (sql, expected) in [
        ("update patients set id = 5000 where name = 'n11'", "428C9"),
        ("update patients set legacy = 1 where name = 'n11'", "0A000"),
        ("insert into patients (id, name) values (7000, 'x')", "428C9"),
    ] {
        assert_eq!(code(client, sql).await, expected, "{sql}");
    }
    // Another transaction changes the row between what the statement sees and what it writes.
    let other = cluster.client("postgres").await;
    other
        .batch_execute("begin; update public.patients set seconds = seconds + 1 where full_name = 'n12'")
        .await
        .unwrap();
    let third = cluster.client("postgres").await;
    let waiting = tokio::spawn(async move {
        third.batch_execute("update public_views.patients set minutes = minutes + 1 where name = 'n12'").await
    });
    crate::support::waiting::eventually(client, "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'public_views')").await;
    other.batch_execute("commit").await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "40001");
}

/// Rows that a trigger or a policy of the table leaves out or alone, and values for columns that the server computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_table_leaves_alone_is_no_conflict_with_others() {
    let table = "create role app; create table t (id int primary key, minutes int, n int, twice int generated always as (n * 2) stored, owner text default 'app');
        create function left_out() returns trigger language plpgsql as 'begin if new.n = 99 then return null; end if; return new; end';
        create trigger left_out before insert or update on t for each row execute function left_out();
        create function kept() returns trigger language plpgsql as 'begin if old.n = 98 then return null; end if; return old; end';
        create trigger kept before delete on t for each row execute function kept();
        alter table t enable row level security; create policy seen on t for select using (true); create policy added on t for insert with check (true);
        create policy own on t for update using (owner = 'app'); create policy own_too on t for delete using (owner = 'app');
        grant select, insert, update, delete on t to app; insert into t (id, minutes, n, owner) values (1, 1, 1, 'app'), (2, 2, 98, 'app'), (3, 3, 3, 'other')";
    let plan = "version: 1
name: views
settings: {soak: 1h}
tables:
  - table: public.t
    compatibility: view
    columns: {minutes: {rename: seconds, type: integer, using: minutes * 60, back: seconds / 60}}
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, table, plan).await;
    let has_invoker = text(&client, "current_setting('server_version_num')::int >= 150000").await == "true";
    if !has_invoker {
        // Before version 15 such a view is refused where there is row security.
        client.batch_execute("alter table t disable row level security").await.unwrap();
    }
    let written = async |path: &str| {
        let path = format!("set search_path = {path}; set role app");
        client.batch_execute(&path).await.unwrap();
        let mut counts = Vec::new();
        for sql in [
            "insert into t (id, minutes, n) values (10, 1, 99)",
            "update t set n = 99 where id = 1",
            "update t set n = 7 where id = 3 and owner <> 'app'",
            "delete from t where id = 2",
            "delete from t where id = 3 and owner <> 'app'",
            "update t set n = n + 1 where id in (1, 3)",
            "insert into t (id, n) values (11, 4) returning id",
            "delete from t where id = 11",
        ] {
            counts.push(client.execute(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")));
        }
        for sql in ["insert into t (id, n, twice) values (12, 4, 8)", "update t set twice = 9 where id = 1"] {
            assert_eq!(code(&client, sql).await, "428C9", "{sql}");
        }
        client.batch_execute("insert into t (id, n, twice) values (13, 4, default); delete from t where id = 13; reset role; reset search_path").await.unwrap();
        counts
    };
    let before = written("public").await;
    assert_eq!(before[..2], [0, 0]);
    client.batch_execute("update t set n = 1 where id = 1; update t set n = 3, owner = 'other' where id = 3; insert into t (id, minutes, n, owner) values (3, 3, 3, 'other') on conflict do nothing").await.unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    assert_eq!(written("public_views, public").await, before);
}
