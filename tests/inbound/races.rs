//! Two clients at the same key of a registry, under READ COMMITTED and REPEATABLE READ, while blue is live and while green
//! is: the second one waits or is rejected as with a foreign key of its own table, and nothing is left without its row.

use tokio_postgres::Client;

use crate::support::waiting::until;
use crate::support::{Cluster, stage};

use super::{DB, count};

const SCHEMA: &str = "
create table parent (id int primary key, day int not null, n int not null default 0);
create table child (id int primary key, p int not null constraint of_parent references parent on delete cascade on update cascade);
create table strict (p int not null constraint of_parent references parent);
insert into parent select g, g % 7 from generate_series(1, 50) g; analyze;";

const PLAN: &str = "
version: 1
name: races
settings: {workers: 1, soak: 1h}
tables:
  - table: public.parent
    partition_by: {range: day, bounds: [0, 3, 7]}
    primary_key: [id, day]
    inbound_foreign_keys: registry
";

/// What a first client has done and not committed; what a second one asks for then; whether that waits; the SQLSTATEs with
/// which it may be answered under READ COMMITTED, and under REPEATABLE READ with a snapshot older than the first.
type Race = (&'static str, &'static str, bool, [&'static str; 1], [&'static str; 2]);

const RACES: [Race; 7] = [
    (
        "delete from parent where id = 1",
        "insert into child values (1, 1)",
        true,
        ["23503"],
        ["23503", "40001"],
    ),
    ("insert into child values (2, 2)", "delete from parent where id = 2", true, ["ok"], ["40001", "40001"]),
    ("insert into strict values (3)", "delete from parent where id = 3", true, ["23503"], ["23503", "40001"]),
    (
        "insert into parent values (1001, 1)",
        "insert into parent values (1001, 5)",
        true,
        ["23505"],
        ["23505", "40001"],
    ),
    ("delete from parent where id = 4", "insert into parent values (4, 6)", true, ["ok"], ["ok", "40001"]),
    (
        "update parent set day = 6 - day where id = 5",
        "insert into child values (5, 5)",
        false,
        ["ok"],
        ["ok", "ok"],
    ),
    (
        "update parent set day = 6 - day, n = 1 where id = 6",
        "insert into strict values (6)",
        false,
        ["ok"],
        ["ok", "ok"],
    ),
];

async fn code_of(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.code().unwrap_or_else(|| panic!("{sql}: {error}")).code().to_owned(),
    }
}

async fn race(cluster: &Cluster, watcher: &Client, race: &Race, repeatable: bool, live: &str) {
    let (held, asked, waits, committed, of_snapshot) = race;
    let allowed: &[&str] = if repeatable { of_snapshot } else { committed };
    let (first, second) = (cluster.client(DB).await, cluster.client(DB).await);
    let isolation = if repeatable { "repeatable read" } else { "read committed" };
    second
        .batch_execute(&format!("begin isolation level {isolation}; select from parent limit 1"))
        .await
        .unwrap();
    first.batch_execute(&format!("begin; {held}")).await.unwrap();
    let pid: i32 = second.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    let answer = tokio::spawn({
        let asked = (*asked).to_owned();
        async move {
            let code = code_of(&second, &asked).await;
            second.batch_execute("commit").await.map(|()| code)
        }
    });
    let waiting = format!("pg_locks where pid = {pid} and not granted");
    let what = format!("{asked} waits for {held}, or is answered");
    until(&what, async || answer.is_finished() || count(watcher, &waiting).await > 0).await;
    assert_eq!(!answer.is_finished(), *waits, "{live}, {isolation}: {asked} after {held}");
    first.batch_execute("commit").await.unwrap();
    let code = answer.await.unwrap().unwrap();
    assert!(allowed.contains(&code.as_str()), "{live}, {isolation}: {asked} after {held}: {code}");
    for table in ["child", "strict"] {
        let orphans = format!("{table} c where not exists (select from parent where id = c.p)");
        assert_eq!(count(watcher, &orphans).await, 0, "{live}, {isolation}: {asked} after {held}");
    }
    let lost = "(select id from parent except all select id from parent_keys) x";
    let stale = "(select id from parent_keys except select id from parent) x";
    assert_eq!(
        (count(watcher, lost).await, count(watcher, stale).await),
        (0, 0),
        "{live}: {asked} after {held}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_without_its_row_whoever_is_first() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let again = "delete from child; delete from strict; delete from parent where id > 1000; \
                 insert into parent select g, g % 7 from generate_series(1, 50) g where not exists (select from parent where id = g); update parent set day = id % 7";
    for (live, phase) in [("blue", "verify"), ("green", "swap")] {
        program.execute(&["--yes", "--until", phase]).expect_code(0);
        for repeatable in [false, true] {
            for of in &RACES {
                race(&cluster, &client, of, repeatable, live).await;
            }
            client.batch_execute(again).await.unwrap_or_else(|error| panic!("{live}: {error:?}"));
        }
    }
}
