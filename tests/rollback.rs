//! The way back before the swap: what is dropped, what is not, and what a rollback that is cut short leaves.

use tokio_postgres::Client;

use crate::support::waiting::waits_for_a_lock;
use crate::support::{Bluegreen, Cluster, Finished, stage};

const DB: &str = "postgres";
/// More partitions than one transaction drops.
const MANY: &str = "version: 1\nname: many\ntables:\n  - table: public.many\n    partition_by: {hash: id, partitions: 120}\n";
const FEW: &str =
    "version: 1\nname: few\ntables:\n  - table: public.many\n    partition_by: {hash: id, partitions: 2}\n";

struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

impl Stage {
    /// A run that is prepared.
    async fn prepared(plan: &str) -> Self {
        let cluster = Cluster::start();
        let table = "create table public.many (id bigint primary key)";
        let (client, program) = stage(&cluster, table, plan).await;
        program.execute(&["--until", "prepare"]).expect_code(0);
        Self { cluster, client, program }
    }

    fn roll_back(&self, code: i32) -> Finished {
        self.program.run("rollback", &[]).expect_code(code)
    }

    async fn tables(&self) -> Vec<String> {
        let sql = "select relname::text from pg_class where relnamespace = 'public'::regnamespace \
                   and relkind in ('r', 'p') order by relname";
        self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// The leaf that is dropped last.
    async fn last_leaf(&self) -> String {
        let sql = "select max(inhrelid)::regclass::text from pg_inherits";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

/// One partition was dropped by hand, and its name is somebody else's now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_only_has_a_partitions_name_stays() {
    let stage = Stage::prepared(MANY).await;
    let names = stage.tables().await;
    assert_eq!(names.len(), 121, "partitions are where they stay from the beginning");
    let taken = &names[60];
    let sql = format!("drop table public.{taken}; create table public.{taken} (not_ours text)");
    stage.client.batch_execute(&sql).await.unwrap();
    stage.roll_back(6);
    assert_eq!(stage.tables().await, ["many", taken]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_made_of_green_is_named_and_stays_until_it_is_dropped() {
    for plan in [FEW, MANY] {
        let stage = Stage::prepared(plan).await;
        let before = stage.tables().await;
        let leaf = stage.last_leaf().await;
        for (made, what, dropped) in [
            (format!("view public.theirs as select * from {leaf}"), "view public.theirs", "view public.theirs"),
            (format!("cast ({leaf} as json) with inout"), "cast from", &format!("cast ({leaf} as json)")),
            (
                "table public.theirs (id int); create constraint trigger theirs after insert on public.theirs \
                 from LEAF for each row execute function suppress_redundant_updates_trigger()"
                    .replace("LEAF", &leaf),
                "trigger theirs on",
                "table public.theirs",
            ),
        ] {
            stage.client.batch_execute(&format!("create {made}")).await.unwrap();
            let refused = stage.roll_back(3);
            let finding = refused.events_of("finding")[0].clone();
            assert!(finding["what"].as_str().unwrap().contains(what), "{finding}");
            let mut tables = stage.tables().await;
            tables.retain(|name| name != "theirs");
            assert_eq!(tables, before);
            stage.client.batch_execute(&format!("drop {dropped}")).await.unwrap();
        }
        stage.roll_back(6);
        assert_eq!(stage.tables().await, ["many"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_cut_short_can_only_be_gone_on_with() {
    let stage = Stage::prepared(MANY).await;
    let other = stage.cluster.client(DB).await;
    let leaf = stage.last_leaf().await;
    other.batch_execute(&format!("begin; lock table {leaf} in access share mode")).await.unwrap();
    let running = stage.program.spawn("rollback", &[]);
    waits_for_a_lock(&stage.client).await;
    running.kill9();
    assert_eq!(stage.tables().await.len(), 21, "the first hundred are gone");
    drop(other);

    for arguments in [&["--yes"][..], &["--dry-run"]] {
        let refused = stage.program.execute(arguments).expect_code(3);
        let end = refused.events_of("end")[0].clone();
        assert!(end["state"].as_str().unwrap().contains("being rolled back"), "{end}");
        assert!(end["next"].as_str().unwrap().starts_with("projh-bluegreen rollback"), "{end}");
    }
    let status = stage.program.run("status", &[]).expect_code(0);
    let status = status.events_of("status")[0].clone();
    assert!(status["state"].as_str().unwrap().contains("being rolled back"), "{status}");
    stage.roll_back(6);
    assert_eq!(stage.tables().await, ["many"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_preview_says_what_a_portion_is() {
    let stage = Stage::prepared(MANY).await;
    let preview = stage.program.execute(&["--dry-run"]).expect_code(0);
    let steps = preview.events_of("preview_step");
    let drops = steps.iter().filter(|step| step["sql"].as_str().unwrap().contains("'DROP TABLE"));
    let words: Vec<&str> = drops.map(|step| step["what"].as_str().unwrap()).collect();
    assert_eq!(words, ["drop some of green's partitions"; 3]);
}
