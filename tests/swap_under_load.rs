//! The promise: while clients write, tables become partitioned ones; no statement fails, no write is
//! lost or doubled, and nobody waits for long.

use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::{Client, Config};

use crate::oracle::{Load, own};
use crate::support::{Bluegreen, Cluster, home};

const DB: &str = "postgres";
const TABLES: [&str; 3] = ["by_uuid", "by_identity", "by_tenant"];
/// The rows of `own::create` that no client touches; blue and green have them in common for ever.
const UNTOUCHED: [&str; 3] = ["id < '00000001-0000-0000-0000-000000000000'", "owner = 0", "tenant < 10"];

struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

impl Stage {
    async fn set(rows: u32) -> Self {
        let cluster = Cluster::start();
        let client = cluster.client(DB).await;
        own::create(&client, rows).await.unwrap();
        let program = Bluegreen::new(&cluster, DB).plan(&own::plan("under-load"));
        Self { cluster, client, program }
    }

    fn load(&self) -> Load {
        let config = Config::from_str(&self.cluster.url(DB)).unwrap();
        Load::new(&config, own::tables()).clients(6).pause(Duration::from_millis(3))
    }

    /// The program to its end; the clients are on other threads.
    fn execute(&self, args: &[&str]) {
        self.program.execute(args).expect_code(0);
    }

    async fn assert_all_partitioned(&self) {
        let sql = "select relname::text from pg_class where relkind = 'p' and relnamespace = 'oracle'::regnamespace";
        let mut names: Vec<String> =
            self.client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
        names.sort();
        assert_eq!(names, ["by_identity", "by_tenant", "by_uuid"]);
    }

    /// Rows of one side that the other has not, as text: `except` itself takes 1.0 for 1.00.
    async fn assert_same_rows(&self, table: &str, condition: &str) {
        let columns =
            "select string_agg(quote_ident(attname) || '::text', ', ' order by attnum) from pg_attribute
                       where attrelid = $1::text::regclass and attnum > 0 and not attisdropped";
        let (blue, green) =
            (format!("{}.{table}", home(&self.client, "blue").await), format!("oracle.{table}"));
        let columns: String = self.client.query_one(columns, &[&blue]).await.unwrap().get(0);
        let rows = |of: &str| format!("(select {columns} from {of} where {condition})");
        for (one, other) in [(&blue, &green), (&green, &blue)] {
            let sql = format!("select count(*) from ({} except all {}) d", rows(one), rows(other));
            let missing: i64 = self.client.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(missing, 0, "rows of {one} that are not in {other}");
        }
        let sql = format!("select count(*) from {blue} where {condition}");
        assert!(self.client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) > 0, "{table} is empty");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_write_all_the_way_through_notice_nothing() {
    let stage = Stage::set(20_000).await;
    let running = stage.load().start(&stage.client).await.unwrap();
    running.answers(1_000).await;
    stage.execute(&["--yes"]);
    running.answers(1_000).await;
    let outcome = running.stop().await;

    outcome.check(&stage.client).await.unwrap().expect_clean();
    stage.assert_all_partitioned().await;
    for (table, untouched) in TABLES.iter().zip(UNTOUCHED) {
        stage.assert_same_rows(table, untouched).await;
    }
    println!("{} statements, longest stall {:?}", outcome.statements(), outcome.longest_stall());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_and_green_hold_the_same_rows_when_nobody_wrote_after_the_swap() {
    let stage = Stage::set(5_000).await;
    let running = stage.load().start(&stage.client).await.unwrap();
    running.answers(1_000).await;
    stage.execute(&["--yes", "--until", "verify"]);
    // Between the verification and the swap: what the catch-up and the comparison under the lock are for.
    running.answers(1_000).await;
    let outcome = running.stop().await;
    stage.execute(&["--yes"]);

    outcome.check(&stage.client).await.unwrap().expect_clean();
    stage.assert_all_partitioned().await;
    for table in TABLES {
        stage.assert_same_rows(table, "true").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_clients_find_tables_that_they_can_go_on_with() {
    let stage = Stage::set(1_000).await;
    stage.execute(&["--yes"]);
    let running = stage.load().start(&stage.client).await.unwrap();
    running.answers(2_000).await;
    let outcome = running.stop().await;
    outcome.check(&stage.client).await.unwrap().expect_clean();
    stage.assert_all_partitioned().await;
}
