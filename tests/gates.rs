//! Gates: asked before the swap and all through the soak, where one that fails rolls back by itself.

use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, closed_window, stage};

const BLUE: &str = "
create table public.t (id bigint primary key, at date not null, note text);
insert into public.t select g, date '2026-01-01' + g % 55, 'note ' || g from generate_series(1, 200) g;
create table public.health (ok boolean not null); insert into public.health values (true);
create table public.pace (sleep float8 not null); insert into public.pace values (0.01);
analyze public.t;";

fn plan(gates: &str) -> String {
    format!(
        "
version: 1
name: gated
settings: {{workers: 1, soak: 1h}}
tables:
  - table: public.t
    partition_by: {{range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}}
    primary_key: [id, at]
gates:
{gates}
"
    )
}

const HEALTH: &str = "  - {name: health, sql: select ok from public.health, interval: 200ms, failures: 2}";

async fn set(gates: &str) -> (Cluster, Client, Bluegreen) {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan(gates)).await;
    (cluster, client, program)
}

async fn is_partitioned(client: &Client) -> bool {
    let sql = "select exists (select from pg_partitioned_table where partrelid = 'public.t'::regclass)";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_cannot_be_asked_is_refused_by_check() {
    let (_cluster, client, program) = set(HEALTH).await;
    for (gate, why) in [
        ("  - {name: health, sql: select from public.nothing}", "relation \"public.nothing\" does not exist"),
        ("  - {name: health, sql: select 1}", "its first column is not boolean"),
        ("  - {name: health, sql: select pg_sleep(9) is null, timeout: 200ms}", "no answer within 0.2 s"),
        ("  - {name: health, sql: delete from public.health returning true}", "read-only transaction"),
        (
            "  - {name: health, command: [/no/such/program]}",
            "no program /no/such/program that can be executed",
        ),
        ("  - {name: health, command: [no-such-program]}", "no program no-such-program that can be executed"),
        ("  - {name: health, command: [/etc/passwd]}", "no program /etc/passwd that can be executed"),
        (
            "  - {name: health, compare: {sql: select $1::int, values: select 1 where false}, expect: max <= before}",
            "`values` has no row",
        ),
        (
            "  - {name: health, compare: {sql: select $1::int, values: \"select 'x'\"}, expect: max <= before}",
            "SQLSTATE 22P02",
        ),
    ] {
        program.write_plan(&plan(gate));
        let refused = program.run("check", &[]).expect_code(3);
        let what = refused.finding("gates")["what"].as_str().unwrap().to_owned();
        assert!(what.contains("gate `health` cannot be asked") && what.contains(why), "{gate}: {what}");
    }
    // An answer is none of its business.
    client.batch_execute("update public.health set ok = false").await.unwrap();
    program.write_plan(&plan(&format!("{HEALTH}\n  - {{name: told, command: [sh, -c, 'exit 3']}}")));
    let noted = program.run("check", &[]).expect_code(0);
    let finding = noted.finding("gates");
    assert_eq!(
        (&finding["severity"], &finding["what"]),
        (&"note".into(), &"gate `health` does not pass now: it is not true".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_does_not_pass_before_the_swap_prevents_it() {
    for (gate, why) in [
        (HEALTH, "it is not true"),
        ("  - {name: health, sql: select ok from public.health where false}", "it has no row"),
        ("  - {name: health, command: [sh, -c, 'echo secret; exit 3']}", "sh ended with exit status: 3"),
    ] {
        let (_cluster, client, program) = set(gate).await;
        client.batch_execute("update public.health set ok = false").await.unwrap();
        let refused = program.execute(&["--yes"]).expect_code(5);
        let error = refused.error();
        assert!(error.contains("gate `health` does not pass") && error.contains(why), "{gate}: {error}");
        assert!(!refused.stdout.contains("secret") && !is_partitioned(&client).await, "{gate}");
        if gate == HEALTH {
            client.batch_execute("update public.health set ok = true").await.unwrap();
            program.execute(&["--yes", "--until", "settle"]).expect_code(0);
            assert!(is_partitioned(&client).await);
        }
    }
}

/// A gate that passed before the swap waited for its window is asked again after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_is_asked_again_after_the_swap_has_waited() {
    let (_cluster, client, program) = set(HEALTH).await;
    let closed = format!("soak: 1h, swap: {{{}}}", closed_window());
    program.write_plan(&plan(HEALTH).replace("soak: 1h", &closed));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for_notice("the swap waits for its window");
    client.batch_execute("update public.health set ok = false").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    program.run("set", &["swap.window=none"]).expect_code(0);
    let refused = running.finish().expect_code(5);
    assert!(refused.error().contains("gate `health` does not pass"), "{}", refused.error());
    assert!(!is_partitioned(&client).await);
}

/// Comparing all rows again and again does not keep gates from being asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_are_asked_while_rows_are_compared() {
    let (_cluster, client, program) = set(&HEALTH.replace("200ms, failures: 2", "2s, failures: 2")).await;
    program
        .write_plan(&plan(HEALTH).replace("200ms", "2s").replace("soak: 1h", "soak: 1h, verify_every: 1s"));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("update public.health set ok = false").await.unwrap();
    running.wait_until(|event| event["type"] == "phase_started" && event["phase"] == "swap").unwrap();
    running.finish().expect_code(6);
    assert!(!is_partitioned(&client).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_fails_in_the_soak_rolls_back_and_loses_no_write() {
    let gates = format!(
        "{HEALTH}
  - {{name: command, command: [sh, -c, 'exit 0'], interval: 200ms}}
  - name: no slower
    compare: {{sql: 'select pg_sleep(sleep), $1::int from public.pace', values: 'values (1), (2)', samples: 3}}
    expect: p95 <= 20 * before
    interval: 200ms
    failures: 2"
    );
    for (fault, name, why) in [
        ("update public.health set ok = false", "health", "it is not true"),
        ("update public.pace set sleep = 1.5", "no slower", "p95 is"),
        ("drop table public.health", "health", "does not exist"),
    ] {
        let (_cluster, client, program) = set(&gates).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        assert!(is_partitioned(&client).await);
        client.batch_execute("insert into public.t values (900, '2026-01-15', 'of green')").await.unwrap();
        client.batch_execute(fault).await.unwrap();
        let finished = running.finish().expect_code(6);
        let failed = finished.events_of("gate").into_iter().rfind(|event| !event["why"].is_null()).unwrap();
        assert_eq!(failed["gate"], name, "{fault}: {}", finished.stdout);
        assert!(failed["why"].as_str().unwrap().contains(why), "{failed}");
        assert_eq!(failed["failures"], 2, "{failed}");
        assert!(!is_partitioned(&client).await);
        let kept: i64 = client
            .query_one("select count(*) from public.t where note = 'of green'", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(kept, 1, "{fault}");
    }
}

/// It would roll back what nobody has found fault with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_compares_and_is_added_after_the_swap_is_refused() {
    let (_cluster, client, program) = set(HEALTH).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let added =
        "  - {name: no slower, compare: {sql: select $1::int, values: select 1}, expect: max <= 2 * before}";
    program.write_plan(&plan(&format!("{HEALTH}\n{added}")));
    program
        .execute(&["--yes"])
        .expect_code(2)
        .expect_words(&["no slower", "was not measured before the swap"]);
    assert!(is_partitioned(&client).await);
    program.write_plan(&plan(HEALTH));
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    running.terminate();
    running.finish().expect_code(7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_fails_now_and_then_rolls_nothing_back() {
    let (_cluster, client, program) =
        set("  - {name: health, sql: select ok from public.health, interval: 300ms, failures: 20}").await;
    let mut running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("update public.health set ok = false").await.unwrap();
    running.wait_until(|event| event["type"] == "gate" && event["failures"] == 2).unwrap();
    client.batch_execute("update public.health set ok = true").await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    // Those of before are not in a row with the next one.
    client.batch_execute("update public.health set ok = false").await.unwrap();
    let is_first = |part: &&str| part.starts_with([',', '}']);
    while running.said().split(r#""failures":1"#).skip(1).filter(is_first).count() < 2 {
        assert!(running.is_running(), "{}", running.said());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    running.terminate();
    running.finish().expect_code(7);
    assert!(is_partitioned(&client).await);
}

/// A gate has decided: that its rollback found no moment, or that the program was killed, changes nothing about that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gate_has_decided_is_done_by_whoever_executes_the_run_next() {
    for kills in [false, true] {
        let cluster = Cluster::start();
        let swap = "soak: 1h, swap: {attempts: 2, lock_timeout: 50ms}";
        let gated = plan(HEALTH).replace("soak: 1h", swap);
        let (client, program) = stage(&cluster, BLUE, &gated).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        let blocker = cluster.client("postgres").await;
        blocker.batch_execute("begin; lock table public.t in access share mode").await.unwrap();
        client.batch_execute("update public.health set ok = false").await.unwrap();
        if kills {
            running.wait_for("swap_postponed");
            running.kill9();
        } else {
            running.finish().expect_code(5);
        }
        assert!(is_partitioned(&client).await);
        // It passes again, and that comes too late.
        client.batch_execute("update public.health set ok = true").await.unwrap();
        program.execute(&["--yes"]).expect_code(5);
        program.run("status", &[]).expect_words(&["gate health has decided to roll the run back"]);
        drop(blocker);
        let back = program.execute(&["--yes"]).expect_code(6);
        assert!(back.events_of("soaking").is_empty(), "{}", back.stdout);
        let asked = back.events_of("asked")[0].clone();
        assert_eq!((&asked["ask"], &asked["who"]), (&"rollback".into(), &"gate health".into()));
        assert!(!is_partitioned(&client).await);
        // That was it: the next one swaps again.
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert!(is_partitioned(&client).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gate_has_decided_is_void_once_somebody_rolled_back_or_took_the_gate_out_of_the_plan() {
    let (_cluster, client, program) = set(HEALTH).await;
    for is_rolled_back in [true, false] {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        let sql = "insert into projh_bluegreen.request (run, what, asked_by) select run, 'rollback', 'gate health' from projh_bluegreen.run";
        client.batch_execute(sql).await.unwrap();
        if is_rolled_back {
            program.run("rollback", &[]).expect_code(6);
            continue;
        }
        program.write_plan(&plan("  - {name: another, sql: select true}"));
        let soaking = program.spawn("execute", &["--yes"]);
        soaking.wait_for("soaking");
        soaking.terminate();
        soaking.finish().expect_code(7);
        assert!(is_partitioned(&client).await);
    }
}

/// The processes with this word in their command line.
fn processes(word: &str) -> usize {
    let lines = std::fs::read_dir("/proc").unwrap().flatten();
    lines
        .filter(|one| {
            std::fs::read_to_string(one.path().join("cmdline")).is_ok_and(|line| line.contains(word))
        })
        .count()
}

/// Hooks get a line at the end of each phase, and hold up nothing, whatever they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_told_and_hold_up_nothing() {
    let (_cluster, _client, program) = set(HEALTH).await;
    let told = program.folder().join("told");
    let hooks =
        format!("hooks:\n  - [sh, -c, 'cat >> {}']\n  - [/no/such/program]\n  - ['false']\n", told.display());
    // One that never ends is killed, with what it has started.
    let endless = "  - [sh, -c, 'sleep 86123 & sleep 86123']\n";
    program.write_plan(&format!("{}{hooks}{endless}", plan(HEALTH)));
    let said = program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    for (text, times) in [
        ("hook 4, sh, did not end within 10 s, and was killed with all that it started", 1),
        ("hook 2, /no/such/program, could not be started", 1),
        ("hook 3, false, ended with exit status: 1", 1),
        ("hook 1, ", 0),
    ] {
        assert_eq!(
            said.stdout.matches(text).count() + said.stderr.matches(text).count(),
            times,
            "{text}: {}",
            said.stdout
        );
    }
    assert_eq!(processes("86123"), 0);
    program.write_plan(&format!("{}{hooks}", plan(HEALTH)));
    program.run("rollback", &[]).expect_code(6);
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    crate::support::waiting::until("the hooks are told", async || {
        lines().matches("\"type\":\"end\"").count() == 2
    })
    .await;
    for wanted in ["\"phase\":\"verify\"", "\"type\":\"swapped\"", "\"phase\":\"settle\"", "\"code\":6"] {
        assert!(lines().contains(wanted), "{wanted}: {}", lines());
    }
    assert!(
        lines().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()),
        "{}",
        lines()
    );
}
