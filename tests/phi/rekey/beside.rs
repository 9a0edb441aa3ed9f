//! `phi rekey` beside clients that write under the old key, or hold rows, and beside triggers that write.

use super::{Stage, TABLE, plan, sealed};
use crate::support::Cluster;
use crate::support::bluegreen::Running;
use crate::support::waiting::{eventually, until};
use projh_bluegreen::testing::phi::{Format, Identity};

impl Stage {
    /// `id` has a value under the old key, as SQL.
    fn old(&self, id: i64) -> String {
        let value = sealed(&mut self.sealer(Format::Pgp, 1), &super::ssn(id), &Identity::default());
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("'\\x{hex}'")
    }

    /// Puts values under the old key into rows without their triggers.
    async fn set_old(&self, id: i64) {
        let sql = format!(
            "alter table app.people disable trigger user; update app.people set ssn = {} where id = {id};
             alter table app.people enable trigger user",
            self.old(id)
        );
        self.client.batch_execute(&sql).await.unwrap();
    }
}

/// `phi rekey`, which waits after its first batch until `app.go` has a row.
async fn waiting_after_a_batch(stage: &Stage) -> Running {
    stage.client.batch_execute("create table app.go ()").await.unwrap();
    let until_go =
        ", throttle: {query: select exists (select from app.audit) and not exists (select from app.go)}";
    stage.program.write_plan(&plan(stage.keys[0].0, until_go));
    stage.program.spawn_plain(&["phi", "rekey", "plan.yaml", "--json"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_is_said_only_of_all() {
    assert!(TABLE.contains("app.audit"));
    let cluster = Cluster::start();
    let stage = Stage::set(&cluster).await;
    let (ssns, notes) = (stage.count("ssn").await, stage.count("note").await);
    let client = &stage.client;

    // After its first batch it waits, and a client writes a row of that batch under the old key.
    let running = waiting_after_a_batch(&stage).await;
    eventually(client, "select exists (select from app.audit)").await;
    let write = format!(
        "update app.people set ssn = {} where id = 3; insert into app.go default values",
        stage.old(3)
    );
    client.batch_execute(&write).await.unwrap();
    running.finish().expect_code(0);
    assert_eq!(stage.under_new().await, [ssns, notes]);

    // Somebody keeps writing: each row of two that is written has the other one written under the old key.
    let pong = format!(
        "create function app.pong() returns trigger language plpgsql as $$ begin
           if pg_trigger_depth() = 1 and new.id in (1, 2) then
             update app.people set ssn = case id when 1 then {}::bytea else {} end where id = 3 - new.id;
           end if; return null; end $$;
         create trigger pong after update on app.people for each row execute function app.pong()",
        stage.old(1),
        stage.old(2)
    );
    client.batch_execute(&pong).await.unwrap();
    stage.set_old(1).await;
    let left = stage.rekey(&[]).expect_code(4);
    let last = *left.events_of("rekeyed").last().unwrap();
    assert_eq!((&last["left"], &last["done"]), (&1.into(), &true.into()));
    let state = left.events_of("end")[0]["state"].as_str().unwrap();
    assert!(state.contains("1 are left that others keep writing under another key"), "{state}");
    assert_eq!(stage.under_new().await, [ssns - 1, notes]);
    stage
        .program
        .say(&["phi", "rekey", "plan.yaml"])
        .expect_code(4)
        .expect_words(&["others keep writing them under another key"]);

    // A trigger puts the old value back once it is written, at once or at the end of the transaction.
    let back = "drop trigger pong on app.people;
        create function app.back() returns trigger language plpgsql as $$ begin
          if pg_trigger_depth() = 1 then update app.people set ssn = old.ssn where id = old.id; end if; return null; end $$";
    client.batch_execute(back).await.unwrap();
    for trigger in ["trigger back after update", "constraint trigger back after update"] {
        let when = if trigger.starts_with("constraint") { "deferrable initially deferred" } else { "" };
        let create =
            format!("create {trigger} on app.people {when} for each row execute function app.back()");
        client.batch_execute(&create).await.unwrap();
        stage.set_old(1).await;
        let kept = stage.rekey(&[]).expect_code(4);
        assert!(kept.error().contains("a trigger or a rule changes it"), "{}", kept.error());
        client.batch_execute("drop trigger back on app.people").await.unwrap();
    }
    stage.set_old(1).await;
    stage.rekey(&[]).expect_code(0);
    assert_eq!(stage.under_new().await, [ssns, notes]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_becomes_the_victim_of_a_deadlock() {
    let cluster = Cluster::start();
    let stage = Stage::set(&cluster).await;
    let (ssns, notes) = (stage.count("ssn").await, stage.count("note").await);
    // Unqualified names of triggers are found where a step would find them.
    let seen = "create table public.seen (id bigint); grant all on public.seen to public;
        create function app.seen() returns trigger language plpgsql as 'begin insert into seen values (new.id); return null; end';
        create trigger seen after update on app.people for each row execute function app.seen()";
    stage.client.batch_execute(seen).await.unwrap();

    // The client has a row in the middle of the first batch, and then wants those before it.
    let other = cluster.client("postgres").await;
    other.batch_execute("set deadlock_timeout = '10ms'; begin").await.unwrap();
    other.batch_execute("update app.people set n = n where region = 'region 0' and id = 30").await.unwrap();
    let running = stage.program.spawn_plain(&["phi", "rekey", "plan.yaml", "--json"]);
    let waits_or_went_on = "select exists (select from app.audit) or exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and query like 'UPDATE%people%')";
    eventually(&stage.client, waits_or_went_on).await;
    other.batch_execute("update app.people set n = n where region = 'region 0' and id < 30").await.unwrap();
    other.batch_execute("commit").await.unwrap();
    running.finish().expect_code(0);
    assert_eq!(stage.under_new().await, [ssns, notes]);
    eventually(&stage.client, "select exists (select from public.seen)").await;

    stage.client.batch_execute("alter table public.seen rename to not_seen").await.unwrap();
    stage.set_old(1).await;
    let error = stage.rekey(&[]).expect_code(1);
    for word in ["alter function", "search_path", "seen"] {
        assert!(error.error().contains(word), "{}", error.error());
    }
    until("the value is as it was", async || stage.under_new().await == [ssns - 1, notes]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_lost_is_opened_again() {
    let cluster = Cluster::start();
    let stage = Stage::set(&cluster).await;
    let (ssns, notes) = (stage.count("ssn").await, stage.count("note").await);
    let before = stage.under_new().await;
    let client = &stage.client;

    // After its first batch it waits, and loses its session.
    let running = waiting_after_a_batch(&stage).await;
    running.wait_for("throttled");
    let end = "with ended as (select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'projh-bluegreen phi')
               select count(*) > 0 from ended";
    eventually(client, end).await;
    let retry = running.wait_for("retry");
    assert!(retry["seconds"].as_f64().unwrap() > 0.0, "{retry}");
    client.batch_execute("insert into app.go default values").await.unwrap();
    let done = running.finish().expect_code(0);
    let last = *done.events_of("rekeyed").last().unwrap();
    // In both sessions together.
    assert_eq!((&last["values"], &last["left"]), (&(ssns - before[0] + notes).into(), &0.into()), "{last}");
    assert_eq!(stage.under_new().await, [ssns, notes]);
}
