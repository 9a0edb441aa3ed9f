//! The program dies just before and just after every fact of its journal, and every effect outside of a transaction: the
//! next one goes on, and no write is lost.
#![cfg(feature = "failpoints")]

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::time::Duration;

use projh_bluegreen::testing::lifecycle::Fact;
use tokio_postgres::{Client, Config};

use crate::oracle::{Load, own};
use crate::support::waiting::eventually;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

/// On the way to the soak, in this order; facts that a run may do without are hit if it has them.
const THERE: [&str; 22] = [
    "started",
    "prepared",
    "slot_intended",
    "slot",
    "slot_created",
    // From the second round on, before it begins.
    "key_built",
    "round_began",
    "chunk_copied",
    "round_ended",
    "copy_finished",
    "caught_up",
    "index_built",
    "indexed",
    "way_back_intended",
    "way back made",
    "slot",
    "way_back_opened",
    "temporary slot",
    "applied",
    "verified",
    "swapped",
    "settled",
];
/// On the way back.
const BACK: [&str; 6] = ["started", "caught_up", "temporary slot", "verified", "swapped", "settled"];
/// Where nothing of the run is to be left.
const OUT: [&str; 2] = ["slot dropped", "rolled_back"];
const FINISH: [&str; 3] = ["way_back_closing", "slot dropped", "finished"];

/// Facts that a run has only if something goes wrong, or has to be done in parts.
const RARE: [&str; 10] = [
    "measured",
    "verification_voided",
    "way_broken",
    "way_mended",
    "way_back_lost",
    "given_up",
    "way_back_closing",
    "soaked",
    "step_settled",
    "partitions_dropped",
];
/// Those at which runs die in `stream_rules/runs.rs`, `steps.rs` and `in_place.rs`.
const ELSEWHERE: [&str; 5] = ["dirty_keys_read", "copy_restarted", "step_intended", "step_done", "in_place"];

/// A fact that is new needs a crash, too.
#[test]
fn there_is_a_crash_at_every_fact() {
    let unknown = serde_json::from_str::<Fact>(r#"{"fact": "?"}"#).unwrap_err().to_string();
    let facts: BTreeSet<&str> = unknown.split('`').skip(3).step_by(2).collect();
    let dies: BTreeSet<&str> =
        [&THERE[..], &BACK, &OUT, &FINISH, &RARE, &ELSEWHERE].concat().into_iter().collect();
    assert_eq!(facts.difference(&dies).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert!(facts.len() > 30, "{facts:?}");
}

struct Stage {
    cluster: Cluster,
    client: Client,
    plan: String,
    hit: Vec<String>,
}

impl Stage {
    fn program(&self, crash: Option<&str>) -> Bluegreen {
        let program = Bluegreen::new(&self.cluster, DB).plan(&self.plan);
        match crash {
            Some(point) => program.env("FAILPOINTS", &format!("{point}=return")),
            None => program,
        }
    }

    /// Executes the command with a crash at each of these points, before and after it. Returns whether one of them let it
    /// end.
    fn crash(&mut self, command: &str, args: &[&str], points: &[&str]) -> bool {
        for point in points {
            let is_effect =
                point.contains("slot") && !point.contains('_') || point.contains(' ') || *point == "applied";
            let points = if is_effect {
                vec![(*point).to_owned()]
            } else {
                vec![format!("before {point}"), format!("after {point}")]
            };
            for point in points {
                let finished = self.program(Some(&point)).run(command, args);
                match finished.code {
                    None => self.hit.push(point),
                    // It was not on its way any more.
                    Some(0 | 6) => return true,
                    Some(code) => {
                        panic!("{code} with a crash at {point}:\n{}\n{}", finished.stdout, finished.stderr)
                    }
                }
            }
        }
        false
    }

    async fn nothing_is_left(&self) {
        for what in ["pg_replication_slots", "pg_publication", "pg_namespace where nspname like 'projh_bg%'"]
        {
            let sql = format!("select count(*) from {what}");
            assert_eq!(self.client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 0, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_every_fact_loses_nothing_in_either_direction() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    own::create(&client, 1_000).await.unwrap();
    let plan = own::plan("crashes").replace("  workers: 2\n", "  workers: 1\n  soak: 1h\n");
    let config = Config::from_str(&cluster.url(DB)).unwrap();
    let load = Load::new(&config, own::tables()).clients(3).pause(Duration::from_millis(10));
    let load = load.start(&client).await.unwrap();
    load.answers(100).await;
    let mut stage = Stage { cluster, client, plan, hit: Vec::new() };

    let args = ["--yes", "--until", "settle"];
    if !stage.crash("execute", &args, &THERE) {
        stage.program(None).run("execute", &args).expect_code(0);
    }
    load.answers(100).await;
    if !stage.crash("rollback", &[], &BACK) {
        stage.program(None).run("rollback", &[]).expect_code(6);
    }
    load.answers(100).await;
    // There again, with crashes where the first way had none of its kind.
    if !stage.crash("execute", &args, &["verified", "swapped"]) {
        stage.program(None).run("execute", &args).expect_code(0);
    }
    load.answers(100).await;
    stage.program(None).run("rollback", &[]).expect_code(6);
    // The last crash comes once the run has ended.
    stage.crash("rollback", &["--drop-green"], &OUT);
    stage.program(None).run("rollback", &[]).expect_code(2);
    stage.nothing_is_left().await;

    stage.program(None).run("execute", &args).expect_code(0);
    stage.crash("finish", &["--yes"], &FINISH);
    stage.program(None).run("finish", &["--yes"]).expect_code(2);
    stage.nothing_is_left().await;
    load.answers(100).await;
    load.stop().await.check(&stage.client).await.unwrap().expect_clean();
    println!("{} crashes: {}", stage.hit.len(), stage.hit.join(", "));
    for needed in [
        "before swapped",
        "after swapped",
        "after prepared",
        "slot",
        "after way_back_opened",
        "after settled",
    ] {
        assert!(stage.hit.iter().any(|hit| hit == needed), "{needed} was not hit: {:?}", stage.hit);
    }
    assert!(stage.hit.len() > 50, "{:?}", stage.hit);
}

/// A rollback that was cut short after its swap: what is left of it is done before green is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_dies_after_its_swap_is_completed() {
    const BLUE: &str = "
        create table owners (id int primary key); insert into owners select generate_series(1, 10);
        create table t (id bigint primary key, at date not null, owner int references owners);
        insert into t select g, date '2026-01-01' + g % 50, 1 + g % 10 from generate_series(1, 200) g;";
    const PLAN: &str = "
version: 1
name: short
settings: {workers: 1, soak: 1h}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
    primary_key: [id, at]
";
    for again in ["rollback", "execute"] {
        let cluster = Cluster::start();
        let client = cluster.client(DB).await;
        client.batch_execute(BLUE).await.unwrap();
        let stage = Stage { cluster, client, plan: PLAN.to_owned(), hit: Vec::new() };
        stage.program(None).run("execute", &["--yes", "--until", "settle"]).expect_code(0);
        let died = stage.program(Some("after swapped")).run("rollback", &[]);
        assert_eq!(died.code, None, "{}", died.stdout);
        if again == "execute" {
            stage.program(None).run("execute", &["--yes", "--until", "settle"]).expect_code(0);
        }
        // Given again it completes what the first one has done, and drops nothing.
        for _ in 0..2 {
            stage.program(None).run("rollback", &[]).expect_code(6);
            let slots = "select count(*) from pg_replication_slots";
            assert_eq!(stage.client.query_one(slots, &[]).await.unwrap().get::<_, i64>(0), 2, "{again}");
        }
        stage.program(None).run("rollback", &["--drop-green"]).expect_code(6);
        let valid = "select convalidated from pg_constraint where conrelid = 't'::regclass and contype = 'f'";
        assert!(stage.client.query_one(valid, &[]).await.unwrap().get::<_, bool>(0), "{again}");
        stage.nothing_is_left().await;
    }
}

/// A duplicate of its key is what blue cannot take.
const KEYED: &str = "
create table t (id bigint primary key, at date not null);
insert into t select g, date '2026-01-01' + g % 50 from generate_series(1, 200) g;
analyze t;";

async fn keyed(soak: &str) -> Stage {
    let plan = format!(
        "
version: 1
name: keyed
settings: {{workers: 1, soak: {soak}}}
tables:
  - table: public.t
    partition_by: {{range: at, bounds: [2026-01-01, 2026-02-01], default: true}}
    primary_key: [id, at]
gates:
  - {{name: quick, compare: {{sql: 'select count(*) from public.t'}}, expect: max <= 1000 * before}}
"
    );
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    client.batch_execute(KEYED).await.unwrap();
    Stage { cluster, client, plan, hit: Vec::new() }
}

impl Stage {
    /// It dies just before the fact, and the next time just after it.
    fn dies_around(&self, command: &str, args: &[&str], fact: &str) {
        for when in ["before", "after"] {
            let died = self.program(Some(&format!("{when} {fact}"))).run(command, args);
            assert_eq!(died.code, None, "{when} {fact}: {}", died.stdout);
        }
    }

    async fn drop_slots(&self) {
        let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots";
        self.client.query(sql, &[]).await.unwrap();
    }
}

/// Facts of runs in which not all goes well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_a_fact_about_something_that_went_wrong_changes_nothing_about_it() {
    let (swaps, soaks) = (["--yes", "--until", "settle"], ["--yes"]);
    let stage = keyed("1h").await;
    stage.dies_around("execute", &swaps, "measured");
    // Rewritten while it is verified, and swapped only once it is verified again.
    for when in ["before", "after"] {
        let verified = "select count(*) from projh_bluegreen.fact where fact->>'fact' = 'verified'";
        let before: i64 = stage.client.query_one(verified, &[]).await.unwrap().get(0);
        let points = format!("after verified=1*sleep(4000);{when} verification_voided=return");
        let program = stage.program(None).env("FAILPOINTS", &points);
        let running = program.spawn("execute", &swaps);
        eventually(&stage.client, &format!("select ({verified}) > {before}")).await;
        stage.client.batch_execute("vacuum full t").await.unwrap();
        assert_eq!(running.finish().code, None, "{when}");
    }
    stage.program(None).run("execute", &swaps).expect_code(0);

    stage.client.batch_execute("insert into t values (7, '2026-03-01')").await.unwrap();
    stage.dies_around("execute", &soaks, "way_broken");
    stage.program(None).run("execute", &soaks).expect_code(1).expect_words(&["blue no longer follows it"]);
    stage.client.batch_execute("delete from t where id = 7 and at = '2026-03-01'").await.unwrap();
    stage.dies_around("execute", &soaks, "way_mended");
    stage.client.batch_execute("insert into t values (201, '2026-03-01')").await.unwrap();
    stage.program(None).run("rollback", &[]).expect_code(6);
    let rows = "select count(*) from t";
    assert_eq!(stage.client.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 201);

    stage.program(None).run("execute", &swaps).expect_code(0);
    stage.drop_slots().await;
    stage.dies_around("execute", &soaks, "way_back_lost");
    stage.program(None).run("execute", &soaks).expect_code(0);
    stage.program(None).run("finish", &["--yes"]).expect_code(0);
    stage.nothing_is_left().await;

    let stage = keyed("1h").await;
    stage.program(None).run("execute", &["--until", "verify"]).expect_code(0);
    stage.drop_slots().await;
    stage.dies_around("execute", &swaps, "given_up");
    stage.program(None).run("execute", &swaps).expect_code(3).expect_words(&["was given up"]);
    stage.program(None).run("rollback", &[]).expect_code(6);
    stage.nothing_is_left().await;
}

/// What follows a swap, there and back, and a rollback that takes more than one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_between_two_steps_of_settle_or_of_a_rollback_is_gone_on_from() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    let blue = "create table owners (id int primary key); insert into owners select generate_series(1, 10);
                alter table t add column owner int default 1 references owners;";
    client.batch_execute(&format!("{KEYED}{blue}")).await.unwrap();
    let bounds: Vec<String> = (1..=60).map(|year| format!("{}-01-01", 2000 + year)).collect();
    let plan = format!(
        "
version: 1
name: stepwise
settings: {{workers: 1, soak: 1h}}
tables:
  - table: public.t
    partition_by: {{range: at, bounds: [{}], default: true}}
    primary_key: [id, at]
",
        bounds.join(", ")
    );
    let stage = Stage { cluster, client, plan, hit: Vec::new() };
    let swaps = ["--yes", "--until", "settle"];
    stage.dies_around("execute", &swaps, "step_settled");
    stage.program(None).run("execute", &swaps).expect_code(0);
    stage.client.batch_execute("insert into t values (201, '2026-03-01', 10)").await.unwrap();
    stage.program(None).run("rollback", &[]).expect_code(6);
    stage.dies_around("rollback", &["--drop-green"], "partitions_dropped");
    stage.program(None).run("execute", &swaps).expect_code(3).expect_words(&["rollback"]);
    stage.program(None).run("rollback", &["--drop-green"]).expect_code(6);
    stage.nothing_is_left().await;
    let valid = "select convalidated and (select count(*) from t) = 201
                   from pg_constraint where conrelid = 't'::regclass and contype = 'f'";
    assert!(stage.client.query_one(valid, &[]).await.unwrap().get::<_, bool>(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_whose_end_is_cut_short_is_over() {
    let stage = keyed("2s").await;
    stage.program(None).run("execute", &["--yes", "--until", "settle"]).expect_code(0);
    stage.client.batch_execute("insert into t values (201, '2026-03-01')").await.unwrap();
    stage.dies_around("execute", &["--yes"], "way_back_closing");
    assert_eq!(stage.program(Some("slot dropped")).run("execute", &["--yes"]).code, None);
    stage.dies_around("execute", &["--yes"], "soaked");
    stage.program(None).run("execute", &["--yes"]).expect_code(0);
    stage.program(None).run("rollback", &[]).expect_code(2).expect_words(&["its way back is closed"]);
    stage.program(None).run("finish", &["--yes"]).expect_code(0);
    stage.nothing_is_left().await;
}
