//! `policies` and `triggers` of the plan, in force from the swap on; and row security and grants that hold for every client
//! at every instant of a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Cluster, stage};

const BLUE: &str = "
create role alice login; create role bob login; create role auditor login;
create table public.t (id bigint primary key, who text not null, note text);
insert into public.t select g, case when g <= 100 then 'alice' else 'bob' end, 'secret ' || g from generate_series(1, 200) g;
create table public.log (id bigint); grant insert on public.log to public;
create policy own on public.t using (who = current_user);
create policy seen on public.t for select to auditor using (id < 10);
alter table public.t enable row level security;
grant select (id, who), insert, delete on public.t to alice, bob; grant select on public.t to auditor;
create function public.logged() returns trigger language plpgsql as 'begin insert into public.log values (new.id); return null; end';";

const PLAN: &str = "
version: 1
name: policies
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {hash: id, partitions: 2}
    policies: |
      create policy even on t as restrictive using (id % 2 = 0);
      create policy seen on public.t for select to auditor using (id < 5);
      comment on policy even on t is 'of the plan';
    triggers:
      file: triggers.sql
";

const TRIGGERS: &str =
    "create trigger logged after insert on public.t for each row execute function public.logged();";

async fn count(client: &Client, sql: &str) -> i64 {
    client.query_one(&format!("select count(*) from {sql}"), &[]).await.unwrap().get(0)
}

/// Asks as `who` until it is told to stop: rows of others, columns and relations that it has no right to. Returns how
/// often, or what it got.
async fn probe(cluster_url: String, who: &'static str, stop: Arc<AtomicBool>) -> Result<u32, String> {
    let url = cluster_url.replace("postgres@", &format!("{who}@"));
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let others = match who {
        "auditor" => "select count(*) from public.t where id >= 10".to_owned(),
        _ => format!("select count(*) from public.t where who <> '{who}'"),
    };
    let relations = "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                     where c.relkind in ('r', 'p') and (n.nspname ~ '^projh_bg_' or c.relname ~ '^t_')";
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        let seen: i64 = client.query_one(&others, &[]).await.map_err(|error| format!("{error:?}"))?.get(0);
        if seen > 0 {
            return Err(format!("{who} sees {seen} rows of others"));
        }
        let mut forbidden: Vec<String> = Vec::new();
        for row in client.query(relations, &[]).await.map_err(|error| format!("{error:?}"))? {
            forbidden.push(format!("select * from {} limit 1", row.get::<_, String>(0)));
        }
        if who != "auditor" {
            forbidden.push("select note from public.t limit 1".to_owned());
        }
        for sql in forbidden {
            match client.batch_execute(&sql).await {
                Ok(()) => return Err(format!("{who} may {sql}")),
                Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {}
                // It was dropped since.
                Err(error)
                    if matches!(
                        error.code(),
                        Some(&SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME)
                    ) => {}
                Err(error) => return Err(format!("{sql}: {error:?}")),
            }
        }
        asked += 1;
    }
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_and_grants_hold_at_every_instant_and_those_of_the_plan_from_the_swap_on() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    std::fs::write(program.folder().join("triggers.sql"), TRIGGERS).unwrap();
    let checked = program.run("check", &[]).expect_code(0);
    let notes: Vec<&str> = checked
        .events_of("finding")
        .into_iter()
        .filter(|finding| finding["check"] == "policies")
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    assert_eq!(
        notes,
        [
            "policies do not hold for the owner, postgres, for superusers, and for roles with BYPASSRLS",
            "a policy of the plan is permissive, as is own: what either of them allows is allowed"
        ]
    );
    let url = cluster.url("postgres");
    let as_alice = url.replace("postgres@", "alice@");
    let (alice, connection) = tokio_postgres::connect(&as_alice, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let stop = Arc::new(AtomicBool::new(false));
    let probes =
        ["alice", "bob", "auditor"].map(|who| tokio::spawn(probe(url.clone(), who, Arc::clone(&stop))));

    let seen = async |rows: i64, logged: i64, id: i64| {
        assert_eq!(count(&alice, "public.t where who = 'alice' and id <= 100").await, rows);
        alice
            .batch_execute(&format!(
                "insert into public.t values ({id}, 'alice', ''); delete from public.t where id = {id}"
            ))
            .await
            .unwrap();
        assert_eq!(count(&client, "public.log").await, logged);
    };
    seen(100, 0, 1_000).await;
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    seen(100, 0, 1_001).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    seen(50, 1, 1_002).await;
    assert_eq!(count(&client, "pg_policy where polrelid = 'public.t'::regclass").await, 3);
    assert_eq!(count(&client, "pg_description where description = 'of the plan'").await, 1);
    program.run("rollback", &[]).expect_code(6);
    running.finish().expect_code(6);
    seen(100, 1, 1_003).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    seen(50, 2, 1_004).await;
    program.run("finish", &["--yes"]).expect_code(0);
    stop.store(true, Ordering::Relaxed);
    for probe in probes {
        let asked = probe.await.unwrap().unwrap();
        assert!(asked > 20, "{asked}");
    }
    // The last one that is left open: a policy of a table without row security.
    client.batch_execute("create table public.open (id int primary key); create trigger logged after insert on public.open for each row execute function public.logged()").await.unwrap();
    let open = "version: 1\nname: open\ntables:\n  - table: public.open\n    policies: create policy p on open using (true)\n";
    program.write_plan(open);
    let checked = program.run("check", &[]).expect_code(0);
    assert!(checked.stdout.contains("row security is not enabled: the plan's policies have no effect"));
    program.write_plan(&format!("{open}    triggers: {}", TRIGGERS.replace("public.t ", "open ")));
    let refused = program.run("check", &[]).expect_code(3);
    let what = refused.refusals()[0]["what"].as_str().unwrap().to_owned();
    assert_eq!(what, "the plan makes trigger logged, and the table has one of that name");
}
