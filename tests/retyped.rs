//! Columns that become another type: nothing is cut in silence, and a key that changes its form is
//! still the same key.

use crate::support::{Bluegreen, Cluster, stage};

const DB: &str = "postgres";

fn plan(columns: &str) -> String {
    format!("version: 1\nname: retyped\ntables:\n  - table: public.t\n    columns:\n      {columns}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_fit_the_new_type_is_an_error_and_stays_what_it_is() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, n text); insert into t select g, 'secret value' from generate_series(1, 10) g";
    let (client, program) = stage(&cluster, table, &plan("n: {type: varchar(5)}")).await;
    let finished = program.execute(&["--yes"]).expect_code(3);
    assert!(!finished.stdout.contains("secret") && !finished.stderr.contains("secret"));
    let counted = "10 values of column n do not fit into varchar(5)";
    assert!(finished.stdout.contains(counted), "{}", finished.stdout);
    let whole = client.query_one("select count(*) from t where n = 'secret value'", &[]).await.unwrap();
    assert_eq!(whole.get::<_, i64>(0), 10);
}

/// Every cast to a domain is explicit, and such a cast to a type with a length truncates.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_would_truncate_is_refused() {
    let table = "create domain short as varchar(3); create domain shorter as short check (value <> ''); create domain free as varchar;
                 create table t (id int primary key, n text); insert into t select g, 'abcdef' from generate_series(1, 10) g";
    for (change, code) in [
        ("type: public.short", 3),
        ("type: public.shorter", 3),
        ("type: public.short, using: n, one_way: true", 3),
        ("type: public.free", 0),
    ] {
        let cluster = Cluster::start();
        let (_client, program) = stage(&cluster, table, &plan(&format!("n: {{{change}}}"))).await;
        let checked = program.run("check", &[]).expect_code(code);
        let says = "made of character varying(3), and a cast to it truncates longer values";
        assert_eq!(checked.stdout.contains(says), code == 3, "{change}: {}", checked.stdout);
    }
}

/// On the way back the same cast is made to the type that the column had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_domain_that_would_truncate_on_the_way_back_is_refused() {
    let cluster = Cluster::start();
    let table = "create domain code as varchar(4); create domain coded as code check (value <> ''); create domain codes as varchar(4)[];
        create domain free as varchar;
        create table t (id int primary key, a code, b coded, c code[], d codes, e free);
        insert into t select g, 'four', 'four', array['four'], array['four'], 'four' from generate_series(1, 10) g;
        create view of_b as select id, b from t";
    let (client, program) = stage(&cluster, table, &plan("e: {type: text}")).await;
    let checked = |change: &str, code: i32| {
        program.write_plan(&plan(change));
        program.run("check", &[]).expect_code(code)
    };
    for change in [
        "a: {type: text}",
        "a: {type: text, rename: z}",
        "a: {type: text, using: a, back: a}",
        "a: {type: text, back: 'left(a, 9)'}",
        "b: {type: text}",
        "c: {type: 'text[]'}",
        "d: {type: 'text[]'}",
    ] {
        let says = [
            "cannot be converted back to public.cod",
            "is made of character varying(4)",
            "would cut what",
            "one_way: true",
        ];
        checked(change, 3).expect_words(&says);
    }
    checked("a: {using: \"a || 'r'\", one_way: true}", 3).expect_words(&["cannot become public.code"]);
    for change in ["e: {type: text}", "a: {rename: z}", "a: {type: public.code, rename: z}"] {
        checked(change, 0);
    }
    // A view cannot show as the domain what no cast leads back to.
    checked("b: {type: text, one_way: true}", 3).expect_words(&["view public.of_b"]);

    let one_way = plan("a: {type: text, one_way: true}").replace("tables:", "settings: {soak: 1h}\ntables:");
    program.write_plan(&one_way);
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("update t set a = 'fiver' where id = 1").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    let kept = client.query_one("select count(*) from t where a = 'four'", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 10, "the old values, whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_whose_key_takes_another_form_are_compared_under_writes() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, n int not null); insert into t select g, 0 from generate_series(1, 3000) g";
    let (client, program) = stage(&cluster, table, &plan("id: {type: 'numeric(12,2)'}")).await;
    let execute = tokio::task::spawn_blocking(move || program.execute(&["--yes"]));
    let mut written = 0_i64;
    while !execute.is_finished() {
        let key = fastrand::i32(1..=3000);
        written += client
            .execute(&format!("update t set n = n + 1 where id = {key}"), &[])
            .await
            .map(i64::try_from)
            .unwrap()
            .unwrap();
    }
    execute.await.unwrap().expect_code(0);
    let row =
        client.query_one("select sum(n), count(*), pg_typeof(max(id))::text from t", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (written, 3000));
    assert_eq!(row.get::<_, String>(2), "numeric");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_between_the_verification_and_the_swap_is_not_swapped_away() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, n int not null); insert into t select g, 0 from generate_series(1, 100) g";
    let (client, program) = stage(&cluster, table, &plan("n: {rename: m}")).await;
    client.batch_execute("begin; lock table t in access share mode").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("swap_postponed");
    client.batch_execute("alter table t alter n type int using n + 1; commit").await.unwrap();
    running.finish().expect_code(4);
    let whole = client.query_one("select count(*) from t where n = 1", &[]).await.unwrap();
    assert_eq!(whole.get::<_, i64>(0), 100);
}

#[test]
fn a_default_goes_the_way_of_the_values() {
    let cluster = Cluster::start();
    let table = "create type state as enum ('new', 'open');
        create table t (id bigserial primary key, at timestamp not null default '2025-01-01 12:00',
            status varchar(10) not null default 'new', extra text default '{\"a\": 1}', amount int not null default 7,
            minutes interval not null default '90 min');
        insert into t (status) values ('open')";
    cluster.psql(DB, table);
    let columns = "status: {type: public.state, using: 'status::text::public.state', back: 'status::text'}
      extra: {type: jsonb}
      amount: {type: 'numeric(10,2)'}
      minutes: {type: integer, using: 'extract(epoch from minutes)::int / 60', back: 'make_interval(mins => minutes)'}
      at: {type: timestamptz, using: \"at at time zone 'Europe/Berlin'\", back: \"at at time zone 'Europe/Berlin'\"}
      id: {type: integer}";
    let program = Bluegreen::new(&cluster, DB).plan(&plan(columns));
    program.execute(&["--yes"]).expect_code(0);
    let row = cluster.psql(
        DB,
        "set timezone = 'UTC'; insert into t default values returning id, status, extra, amount, minutes, at",
    );
    assert_eq!(row.trim(), "2|new|{\"a\": 1}|7.00|90|2025-01-01 11:00:00+00");
    // The column is still a serial.
    let owned = cluster.psql(DB, "select pg_get_serial_sequence('t', 'id')");
    assert_eq!(owned.trim(), "public.t_id_seq");
}

#[test]
fn a_default_that_cannot_go_through_using_is_asked_for() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, factor int not null, price int not null default 3)";
    cluster.psql(DB, table);
    let columns = "price: {type: bigint, using: 'price * factor', one_way: true}";
    let program = Bluegreen::new(&cluster, DB).plan(&plan(columns));
    let refused = program.run("check", &[]).expect_code(3);
    refused.expect_words(&["the default of column", "cannot be converted by `using`", "default: ..."]);
    program.write_plan(&plan("price: {type: bigint, using: 'price * factor', one_way: true, default: '30'}"));
    program.execute(&["--yes"]).expect_code(0);
    let price = cluster.psql(DB, "insert into t (id, factor) values (1, 2) returning price");
    assert_eq!(price.trim(), "30");
}

/// `check` counts such values; clients may write more of them until the swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_would_not_come_back_is_found_before_the_swap_whenever_it_was_written() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, v text not null, n numeric(9, 2), d timestamp, b bigint, w int);
        insert into t select g, repeat('x', g % 5), g, date '2026-01-01' + g, g, g from generate_series(1, 100) g";
    let columns = "v: {type: integer, using: length(v), back: \"repeat('x', v)\"}\n      n: {type: integer}\n      \
                   d: {type: date}\n      b: {type: integer}";
    let plan = plan(columns).replace("name: retyped\n", "name: retyped\nsettings: {soak: 1h}\n");
    let (client, program) = stage(&cluster, table, &plan).await;
    let put_right = "update t set v = 'xxx', n = 1, d = '2026-01-01' where id > 1000";
    let all = "select string_agg(t::text, ',' order by id) from t";
    let all = async || client.query_one(all, &[]).await.unwrap().get::<_, String>(0);
    // Before everything is compared; and between that and the swap.
    for (until, id) in [("index", 1001), ("verify", 1002)] {
        program.execute(&["--yes", "--until", until]).expect_code(0);
        let lossy = format!("insert into t values ({id}, 'abc', 1.5, '2026-01-01 12:00', 1, 1)");
        client.batch_execute(&lossy).await.unwrap();
        let words = ["back of v (1)", "back of n (1)", "back of d (1)", "one_way: true"];
        let found = program.execute(&["--yes"]).expect_code(4).expect_words(&words);
        assert!(!found.stdout.contains("abc") && !found.stdout.contains("back of b"), "{}", found.stdout);
        client.batch_execute(put_right).await.unwrap();
    }
    let before = all().await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    client.batch_execute("update t set w = 77").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    client.batch_execute("update t set w = case when id > 1000 then 1 else id end").await.unwrap();
    assert_eq!(all().await, before);
}

/// What a plan accepts to lose is lost in the rollback, and no reason not to swap again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rollback_gives_up_is_given_up_in_green_too_and_it_swaps_again() {
    let cluster = Cluster::start();
    let table = "create table t (id int primary key, v text default 'd', ts timestamptz default '2026-01-01 00:00:00.25Z', w int, u text default 'u');
        insert into t select g, repeat('x', g % 5), now(), g, 'lower' from generate_series(1, 100) g";
    let columns = "v: {type: integer, using: length(v), one_way: true}\n      ts: {type: timestamptz(0), one_way: true}\n      \
                   u: {using: upper(u), back: lower(u)}";
    let plan = plan(columns).replace("name: retyped\n", "name: retyped\nsettings: {soak: 1h}\n");
    let (client, program) = stage(&cluster, table, &plan).await;
    for cycle in 1..3 {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        let written = format!(
            "insert into t (id, v, w) values (1000 + {cycle}, 9, 1); update t set v = 17, w = -{cycle} where id = 100; \
             update t set ts = '2030-01-01' where id = 99; update t set u = 'Mixed' where id = 98"
        );
        client.batch_execute(&written).await.unwrap();
        program.run("rollback", &[]).expect_code(6);
        // What blue has of it, and what a client writes to such a row since.
        let has = "select concat_ws(',', (select v from t where id = 100), (select w from t where id = 100), \
                   (select ts from t where id = 1001) = '2026-01-01 00:00:00.25Z')";
        let has: String = client.query_one(has, &[]).await.unwrap().get(0);
        assert_eq!(has, format!(",-{cycle},t"));
        client.batch_execute("update t set v = 'four' where id = 1001").await.unwrap();
    }
    // Rows 98, 99, 100 and 1002; 1001 has what blue's client has written.
    let again = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    again.expect_words(&["4 rows of public.t have blue's values again"]);
    let sql = "select string_agg(concat_ws(':', id, v, ts = '2026-01-01', w), ' ' order by id) || max(u) filter (where id = 98) \
               from t where id > 99 or id = 98";
    let now: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(now, "98:3:f:98 100:0:f:-2 1001:4:t:1 1002:1:t:1MIXED");
    program.run("rollback", &["--drop-green"]).expect_code(6);
}
