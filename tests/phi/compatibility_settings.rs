//! The view of the old shape writes what the program writes, whatever the settings of the client, and says who cannot use it.

use tokio_postgres::Client;

use super::Keys;
use crate::support::{Bluegreen, Cluster, stage};

/// Values of each type that is written in the client's DateStyle or TimeZone, and of others.
const VALUES: &str = "(1, date '2001-01-05', timestamp '2024-01-05 10:00:00', timestamptz '2024-01-05 10:00:00+00', 1.50, true, 'abc', '{\"a\": [1, \"T\"]}'::jsonb, 1::float8),
    (2, '0044-03-15 BC', '0044-03-15 10:00:00.5 BC', '0044-03-15 10:00:00.000001+00 BC', -0.0, false, 'a  ', '\"2001-02-03T04:05:06\"', 2),
    (3, 'infinity', '-infinity', 'infinity', 'NaN', null, '', 'null', 3),
    (4, '12345-12-31', '12345-12-31 23:59:59.123456', '12345-12-31 23:59:59.12+00', 1e20, true, 'T', '{}', 4),
    (5, '0001-01-01', '0001-01-01 00:00:00', '2024-11-03 05:30:00+00', 0, true, ' x', '1', 5),
    (6, '-infinity', 'infinity', '-infinity', 7, true, 'BC', '2', 6),
    (7, null, null, null, null, null, null, null, null)";

const HOSTILE: [&str; 4] = [
    "set datestyle = 'SQL, DMY'; set timezone = 'America/New_York'",
    "set datestyle = 'German'; set timezone = 'Asia/Kathmandu'; set standard_conforming_strings = off",
    "set datestyle = 'Postgres, MDY'; set timezone = 'Pacific/Apia'; set intervalstyle = 'sql_standard'",
    "set datestyle = 'ISO, YMD'; set timezone = '-03:30'; set bytea_output = 'escape'",
];

const ENCRYPTED: [&str; 7] = ["dob", "at", "seen", "n", "b", "c", "j"];

fn table() -> String {
    format!(
        "create domain birth as date; create domain moment as timestamptz; create domain instant as moment;
         create table p (id int primary key, dob birth, at timestamp, seen instant, n numeric, b boolean, c char(8), j jsonb, f float8);
         insert into p values {VALUES}; analyze"
    )
}

fn plan(keys: &Keys) -> String {
    let encrypted: Vec<String> =
        ENCRYPTED.iter().map(|name| format!("{name}: {{encrypt: {{blind_index: true}}}}")).collect();
    format!(
        "version: 1
name: ds
settings: {{soak: 1h}}
keys: {{provider: {{file: keys.yaml}}, active: {}, blind_index: {}}}
tables:
  - table: public.p
    compatibility: view
    columns: {{{}, f: {{rename: g, type: double precision, using: f * 2, back: g / 2}}}}
steps:
  - {{name: phi functions, when: prepare, up: {{file: phi.sql}}, down: {{file: phi.down.sql}}}}
",
        keys.active,
        keys.index,
        encrypted.join(", ")
    )
}

async fn staged(cluster: &Cluster, keys: &Keys, table: &str, plan: &str) -> (Client, Bluegreen) {
    let (client, program) = stage(cluster, table, plan).await;
    keys.write(&program);
    for (name, sql) in [
        ("phi.sql", include_str!("../../sql/project-h/phi.sql")),
        ("phi.down.sql", include_str!("../../sql/project-h/phi.down.sql")),
    ] {
        std::fs::write(program.folder().join(name), sql).unwrap();
    }
    (client, program)
}

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_a_client_do_not_change_what_the_view_writes() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = staged(&cluster, &keys, &table(), &plan(&keys)).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    keys.load(&client).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("set search_path = public_ds, public").await.unwrap();
    for (number, settings) in HOSTILE.iter().enumerate() {
        let from = 100 * (number + 1);
        client.batch_execute(settings).await.unwrap();
        // By INSERT, and by UPDATE of rows that had nothing.
        let written = format!(
            "insert into p select {from} + v.* from (values {VALUES}) v (id, dob, at, seen, n, b, c, j, f);
             insert into p (id) select {from} + 50 + n from generate_series(1, 7) n;
             update p set dob = v.dob, at = v.at, seen = v.seen, n = v.n, b = v.b, c = v.c, j = v.j, f = v.f
               from (values {VALUES}) v (id, dob, at, seen, n, b, c, j, f) where p.id = {from} + 50 + v.id"
        );
        let written = written.replace(
            &format!("{from} + v.*"),
            &format!("{from} + v.id, v.dob, v.at, v.seen, v.n, v.b, v.c, v.j, v.f"),
        );
        client.batch_execute(&written).await.unwrap();
    }
    let others = HOSTILE.len() as i64 * 14;
    for name in ENCRYPTED {
        let same = format!(
            "select count(*) from public.p a join public.p b on b.id <> a.id and b.id % 50 = a.id where a.id < 10
             and decrypt_phi(a.{name}, null) is not distinct from decrypt_phi(b.{name}, null)
             and a.{name}_blind_index is not distinct from b.{name}_blind_index"
        );
        assert_eq!(count(&client, &same).await, others, "{name}");
    }
    // Read under whichever settings, the values are those that were written.
    for settings in HOSTILE {
        client.batch_execute(settings).await.unwrap();
        let read = format!(
            "select count(*) from p join (values {VALUES}) v (id, dob, at, seen, n, b, c, j, f) on p.id % 50 = v.id
             where (p.dob, p.at, p.seen, p.n, p.b, p.c, p.j, p.f) is not distinct from (v.dob, v.at, v.seen, v.n, v.b, v.c::char(8), v.j, v.f)"
        );
        assert_eq!(count(&client, &read).await, others + 7, "{settings}");
    }
    // What the client does not see in its digits is a change, too.
    client
        .batch_execute("set extra_float_digits = -10; update p set f = 1.0000000001 where id = 1; reset extra_float_digits")
        .await
        .unwrap();
    assert_eq!(count(&client, "select count(*) from public.p where g = 2.0000000002").await, 1);
    client.batch_execute("update p set dob = '2001-05-02' where id = 1").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    client.batch_execute("set search_path = public").await.unwrap();
    let back = format!(
        "select count(*) from p join (values {VALUES}) v (id, dob, at, seen, n, b, c, j, f) on p.id % 50 = v.id
         where (p.dob, p.at, p.seen, p.n, p.b, p.c, p.j, p.f) is not distinct from (v.dob, v.at, v.seen, v.n, v.b, v.c::char(8), v.j, v.f)"
    );
    assert_eq!(count(&client, &back).await, others + 6);
    assert_eq!(count(&client, "select count(*) from p where id = 1 and dob = date '2001-05-02'").await, 1);
    assert_eq!(count(&client, "select count(*) from pg_namespace where nspname = 'public_ds'").await, 0);
}

/// Expressions of the plan whose result depends on DateStyle, TimeZone, and the digits of floating-point numbers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_of_the_plan_are_computed_as_in_the_copy() {
    const ROWS: &str = "(1, timestamptz '2024-01-05 10:00:00+00', date '2001-02-03', 0.1::float8 + 0.2, 'Ä'), (2, '0044-03-15 10:00:00+00 BC', '2024-12-31', 1e22, 'ß'), (3, null, null, null, null)";
    let table = format!(
        "create table p (id int primary key, at timestamptz, day date, f float8, name text collate \"C\");
         insert into p select n, timestamptz '2024-06-01 00:00:00+00' + n * interval '1 hour', date '2001-02-03' + n, n / 7.0, 'n' || n
           from generate_series(100, 200) n; insert into p values {ROWS}; analyze"
    );
    let plan = "version: 1
name: ds
settings: {soak: 1h}
tables:
  - table: public.p
    replica_identity: full
    compatibility: view
    columns:
      at: {rename: at_text, type: text, using: \"at::text\", back: \"at_text::timestamptz\"}
      day: {rename: day_text, type: text, using: \"day || '/' || name\", back: \"split_part(day_text, '/', 1)::date\"}
      f: {type: text, using: \"f::text\", back: \"f::float8\"}
";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, &table, plan).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("set search_path = public_ds, public").await.unwrap();
    for (number, settings) in HOSTILE.iter().enumerate() {
        let from = 1000 * (number + 1);
        let written = format!(
            "{settings}; set extra_float_digits = -5;
             insert into p select {from} + v.id, v.at, v.day, v.f, v.name from (values {ROWS}) v (id, at, day, f, name);
             insert into p (id) values ({from} + 11), ({from} + 12), ({from} + 13);
             update p set at = v.at, day = v.day, f = v.f, name = v.name from (values {ROWS}) v (id, at, day, f, name) where p.id = {from} + 10 + v.id;
             update p set name = name where id < 200; set extra_float_digits = 1"
        );
        client.batch_execute(&written).await.unwrap();
        let read = format!(
            "select count(*) from p join (values {ROWS}) v (id, at, day, f, name) on p.id % 10 = v.id and (p.id < 10 or p.id > 1000)
             where (p.at, p.day, p.f, p.name) is not distinct from (v.at, v.day, v.f, v.name)"
        );
        assert_eq!(count(&client, &read).await, 3 + 6 * (number as i64 + 1), "{settings}");
    }
    let same = "select count(*) from public.p a join public.p b on b.id > 1000 and b.id % 10 = a.id
        where a.id < 10 and (a.at_text, a.day_text, a.f) is not distinct from (b.at_text, b.day_text, b.f)";
    assert_eq!(count(&client, same).await, 24);
    client.batch_execute("reset all; set search_path = public").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "select count(*) from p").await, 104 + 24);
    assert_eq!(count(&client, "select count(*) from pg_namespace where nspname = 'public_ds'").await, 0);
}

/// Roles with privileges on columns only, and what is said of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_cannot_use_the_view_are_named() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let table = format!(
        "{}; create role app1; create role \"App 2\"; create role all_of_it; create role team; create role member in role team;
         grant select (id, f), update (f) on p to app1; grant select on p to \"App 2\"; grant update (f) on p to \"App 2\";
         grant select (id) on p to all_of_it; grant select on p to all_of_it; grant select on p to team; grant select (id) on p to member",
        table()
    );
    let (client, program) = staged(&cluster, &keys, &table, &plan(&keys)).await;
    let notes = || {
        let checked = program.run("check", &[]).expect_code(0);
        let notes = checked.events_of("finding").into_iter().filter_map(|note| {
            let what = note["what"].as_str()?.to_owned();
            what.contains("on columns of the table only").then_some(what)
        });
        notes.collect::<Vec<String>>()
    };
    let said = notes();
    // Views of version 14 read with the rights of their owner.
    if count(&client, "select current_setting('server_version_num')::bigint").await < 150_000 {
        assert!(said.is_empty(), "{said:#?}");
        return;
    }
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said.iter().any(|what| what.contains("app1 has SELECT, UPDATE on columns")), "{said:#?}");
    assert!(said.iter().any(|what| what.contains("\"App 2\" has UPDATE on columns")), "{said:#?}");
    assert!(said.iter().all(|what| what.contains("public_ds.p")), "{said:#?}");
    client
        .batch_execute("grant select, update on p to public; grant select (id) on p to public")
        .await
        .unwrap();
    assert_eq!(notes(), Vec::<String>::new());
}

/// The server would quote it to the client, and in its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_none_of_its_old_type_is_not_quoted() {
    let cluster = Cluster::start();
    let keys = Keys::new();
    let (client, program) = staged(&cluster, &keys, &table(), &plan(&keys)).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    keys.load(&client).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let written = format!("update public.p set dob = encrypt_phi($1, '{}') where id = 1", keys.active);
    client.execute(&written, &[&"CANARY of May"]).await.unwrap();
    for sql in [
        "select dob from public_ds.p where id = 1",
        "update public_ds.p set n = n where id = 1",
        "delete from public_ds.p where id = 1 returning dob",
    ] {
        let error = client.batch_execute(sql).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "22007", "{error:?}");
        assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
    }
    assert_eq!(count(&client, "select count(dob) from public_ds.p where id = 2").await, 1);
    // The statement that wrote it had it as a parameter, which is not logged here.
    assert!(!cluster.log().contains("CANARY"));
}
