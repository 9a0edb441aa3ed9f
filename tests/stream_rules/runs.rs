//! Whole runs of the program, killed and resumed, with blue changed by hand in between.

use tokio_postgres::Client;

use super::bench::{BLUE, DB, PLAN};
use crate::support::waiting::{eventually, waits_for_a_lock};
use crate::support::{Bluegreen, Cluster, Finished, home, stage};

/// So that a copy takes many chunks, and rounds of one chunk each. One row in ten is large.
const MORE: &str = "
insert into public.t (id, at, email, big)
select g, case when g < 3000 then date '2026-01-10' else '2026-02-10' end, 'e' || g,
       repeat(md5(g::text), case when g % 10 = 0 then 100 else 2 end)
  from generate_series(1001, 5000) g;
analyze public.t;";

struct Stage {
    cluster: Cluster,
    client: Client,
    program: Bluegreen,
}

impl Stage {
    async fn set(blue: &str, until: &str) -> Self {
        let cluster = Cluster::start();
        let plan = PLAN.replace("workers: 1", "workers: 1, max_snapshot_age: 10ms");
        let (client, program) = stage(&cluster, blue, &plan).await;
        program.execute(&["--until", until]).expect_code(0);
        Self { cluster, client, program }
    }

    /// Killed within its copy: the rows of January are there, the first chunk with one of February waits
    /// for a lock.
    async fn killed_in_its_copy() -> Self {
        let stage = Self::set(&format!("{BLUE}{MORE}"), "prepare").await;
        let blocker = stage.block("public.t_p2").await;
        let running = stage.program.spawn("execute", &["--until", "copy"]);
        waits_for_a_lock(&stage.client).await;
        running.kill9();
        drop(blocker);
        let gone = "select not exists (select from pg_stat_activity where application_name like 'projh-bluegreen % copy')";
        eventually(&stage.client, gone).await;
        let copied: i64 = stage.one(&format!("select count(*) from {}", stage.green().await)).await;
        assert!((1..3000).contains(&copied), "{copied} rows were copied");
        stage
    }

    async fn one<T: for<'a> postgres_types::FromSql<'a>>(&self, sql: &str) -> T {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    async fn sql(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    async fn green(&self) -> String {
        format!("{}.t", home(&self.client, "green").await)
    }

    /// Another session that keeps one of green's relations from being written.
    async fn block(&self, relation: &str) -> Client {
        let blocker = self.cluster.client(DB).await;
        let sql = format!("begin; lock table {relation} in share mode");
        blocker.batch_execute(&sql).await.unwrap();
        blocker
    }

    async fn is_plain(&self) -> bool {
        self.one(
            "select not exists (select from pg_class where oid = to_regclass('public.t') and relkind <> 'r')",
        )
        .await
    }

    /// To the swap; then blue and green hold the same.
    async fn swaps(&self) -> Finished {
        let finished = self.program.execute(&["--yes"]).expect_code(0);
        assert!(!self.is_plain().await);
        let blue = format!("{}.t", home(&self.client, "blue").await);
        let rows = |of: &str| format!("select to_jsonb(r)::text from {of} r");
        let (blue, green) = (rows(&blue), rows("public.t"));
        let sql = format!(
            "select count(*) from (({blue} except all {green}) union all ({green} except all {blue})) d"
        );
        assert_eq!(self.one::<i64>(&sql).await, 0);
        finished
    }

    /// Dies just before the fact, and the next time just after it.
    #[cfg(feature = "failpoints")]
    fn dies_around(mut self, fact: &str) -> Self {
        for when in ["before", "after"] {
            self.program = self.program.env("FAILPOINTS", &format!("{when} {fact}=return"));
            let died = self.program.execute(&["--until", "copy"]);
            assert_eq!(died.code, None, "{when} {fact}: {}", died.stdout);
        }
        self.program = self.program.env("FAILPOINTS", "");
        self
    }

    /// The run stops without a swap; its error.
    async fn stops(&self) -> String {
        let finished = self.program.execute(&["--yes"]).expect_code(1);
        assert!(self.is_plain().await && finished.events_of("swapped").is_empty());
        finished.error().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_between_rounds_is_neither_lost_nor_doubled() {
    let stage = Stage::killed_in_its_copy().await;
    // Of copied rows and of missing ones: large values not sent, keys, moves, values handed over.
    stage.sql("update t set n = n + 1 where id % 20 = 0").await;
    stage.sql("update t set id = id + 10000 where id % 7 = 0").await;
    stage.sql("update t set at = '2026-02-20' where id % 11 = 0; update t set at = '2026-01-20' where id % 13 = 0").await;
    stage.sql("delete from t where id % 17 = 0").await;
    stage.sql("update t set email = null where id = 4001; update t set email = 'e4001' where id = 4003; update t set email = 'e4003' where id = 2001").await;
    stage.sql("insert into t (id, email, big) select g, 'n' || g, repeat('n', 3000) from generate_series(6000, 6100) g").await;
    let finished = stage.swaps().await;
    let rounds = finished.events_of("round").len();
    assert!(rounds > 3, "{rounds} rounds");
    assert!(finished.events_of("retry").is_empty(), "{}", finished.stdout);
    let read: i64 = stage.one("select sum((fact->>'keys')::bigint)::bigint from projh_bluegreen.fact where fact->>'fact' = 'dirty_keys_read'").await;
    assert!(read > 10, "{read} dirty keys");
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_read_again_are_so_after_a_crash() {
    let stage = Stage::killed_in_its_copy().await;
    // Large values that are not sent, of rows that are not copied.
    stage.sql("update t set n = n + 1 where id % 20 = 0").await;
    let stage = stage.dies_around("dirty_keys_read");
    stage.sql("update t set n = n + 1 where id % 30 = 0").await;
    stage.swaps().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_begins_again_does_so_after_a_crash() {
    let stage = Stage::killed_in_its_copy().await;
    stage.sql("delete from t where id < 2500 and id % 3 > 0").await;
    stage.sql("vacuum full t").await;
    let stage = stage.dies_around("copy_restarted");
    stage.sql("update t set n = n + 1 where id % 30 = 0").await;
    let finished = stage.swaps().await;
    assert!(finished.events_of("begun_again").is_empty(), "{}", finished.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewrite_of_blue_begins_its_copy_again() {
    let stage = Stage::killed_in_its_copy().await;
    stage.sql("delete from t where id < 2500 and id % 3 > 0").await;
    stage.sql("vacuum full t").await;
    let finished = stage.swaps().await;
    assert_eq!(finished.events_of("begun_again")[0]["phase"], "copy", "{}", finished.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_of_blue_begins_its_copy_again() {
    let stage = Stage::killed_in_its_copy().await;
    stage.sql("truncate t; insert into t (id, email, big) select g, 'e' || g, '' from generate_series(1, 2000) g").await;
    let finished = stage.swaps().await;
    assert_eq!(finished.events_of("begun_again")[0]["phase"], "copy", "{}", finished.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_applies_it_goes_on_where_it_was() {
    let mut stage = Stage::set(BLUE, "copy").await;
    let changes = "update t set n = n + 1; insert into t (id, big) select max(id) + 1, '' from t; delete from t where id = (select min(id) from t)";
    for _ in 0..3 {
        let blocker = stage.block(&stage.green().await).await;
        stage.sql(changes).await;
        let running = stage.program.spawn("execute", &["--until", "verify"]);
        waits_for_a_lock(&stage.client).await;
        running.kill9();
        drop(blocker);
    }
    stage.program.execute(&["--until", "verify"]).expect_code(0);
    // A server that crashes forgets acknowledgements; the journal does not.
    let confirmed = "select confirmed_flush_lsn < (select applied_lsn from projh_bluegreen.stream) from pg_replication_slots";
    for _ in 0..10 {
        stage.sql(changes).await;
        stage.program.execute(&["--until", "verify"]).expect_code(0);
        stage.cluster.kill9();
        stage.cluster.restart();
        stage.client = stage.cluster.client(DB).await;
        if stage.one(confirmed).await {
            break;
        }
    }
    assert!(stage.one::<bool>(confirmed).await, "the slot remembers everything");
    stage.swaps().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_stops_the_run_with_a_word_on_where() {
    let stage = Stage::set(BLUE, "copy").await;
    let green = stage.green().await;
    stage.sql(&format!("create table kept as table {green}; delete from {green} where id = 7")).await;
    stage.sql("update t set n = 1 where id in (6, 7, 8)").await;
    let error = stage.stops().await;
    let says = "public.t does not match the stream: 2 of 3 rows to replace or delete were found";
    assert!(error.contains(says), "{error}");
    stage.sql(&format!("insert into {green} select * from kept where id = 7")).await;

    stage.sql(&format!("insert into {green} (id, big) values (77, 'secret')")).await;
    stage.sql("insert into t (id, big) values (77, 'secret')").await;
    let error = stage.stops().await;
    assert!(error.contains("public.t") && error.contains("23505") && !error.contains("secret"), "{error}");
    stage.sql(&format!("delete from {green} where id = 77")).await;
    stage.swaps().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_that_the_stream_does_not_tell_of_stops_the_run() {
    let stage = Stage::set(BLUE, "copy").await;
    // No row is written, so the stream has nothing to say.
    for (ddl, back, what) in [
        (
            "alter table t add column extra int default 5",
            "alter table t drop column extra",
            "column extra is new",
        ),
        (
            "alter table t alter n set default 7",
            "alter table t alter n set default 0",
            "column n was changed",
        ),
        (
            "alter table t rename column n to m",
            "alter table t rename column m to n",
            "column n was dropped; column m is new",
        ),
        ("grant select on t to public", "revoke select on t from public", "the table itself"),
        (
            "alter table t rename to other",
            "alter table other rename to t",
            "no table is called public.t any more",
        ),
    ] {
        stage.sql(ddl).await;
        let error = stage.stops().await;
        assert!(error.contains("public.t was changed by DDL since the run began: "), "{ddl}: {error}");
        // PostgreSQL 18 has constraints of the columns' NOT NULL, too.
        assert!(what.split("; ").all(|change| error.contains(change)), "{ddl}: {error}");
        stage.sql(back).await;
    }
    // With everything undone the run goes on, also beyond its verification.
    stage.program.execute(&["--until", "verify"]).expect_code(0);
    stage.sql("alter table t add column extra int default 5").await;
    assert!(stage.stops().await.contains("public.t was changed by DDL"));
    stage.sql("alter table t drop column extra").await;
    stage.swaps().await;
}

/// What is unique may be computed: an exchange of what it is computed of is an exchange of unique values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_unique_indexes_are_computed_of_can_be_exchanged() {
    let uniques = [
        "alter table t add low text generated always as (lower(email)) stored; create unique index on t (low)",
        "alter table t add low text generated always as (lower(email)) stored, add unique (low, n)",
        "alter table t add low text generated always as (lower(email)) stored; create unique index on t (upper(low))",
        "alter table t add low text generated always as (lower(email)) stored; create unique index on t (n) where low <> ''",
        "create unique index on t (lower(email))",
        "create unique index on t (n) include (email)",
    ];
    for unique in uniques {
        let cluster = Cluster::start();
        let table = "create table t (id int primary key, email text not null, n int not null);
                     insert into t select g, 'E' || g, g from generate_series(1, 50) g";
        let plan = "{version: 1, name: exchanged, tables: [{table: public.t}]}";
        let (client, program) = stage(&cluster, &format!("{table}; {unique}"), plan).await;
        program.execute(&["--until", "index"]).expect_code(0);
        let exchange = "begin; update t set email = 'tmp', n = 0 where id = 1; update t set email = 'E1', n = 1 where id = 2;
                        update t set email = 'E2', n = 2 where id = 1; commit";
        client.batch_execute(exchange).await.unwrap();
        let finished = program.execute(&["--yes"]);
        assert_eq!(finished.code, Some(0), "{unique}: {}", finished.stdout);
    }
}

/// Rows are known in the stream by another key than the primary one, whose values they may exchange.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_keys_can_be_exchanged_where_the_stream_has_another_key() {
    let cluster = Cluster::start();
    let setup = "create table t (id int primary key, ref int not null unique);
                 alter table t replica identity using index t_ref_key;
                 insert into t select g, g from generate_series(1, 50) g";
    let plan = "{version: 1, name: exchanged, tables: [{table: public.t}]}";
    let (client, program) = stage(&cluster, setup, plan).await;
    program.execute(&["--until", "index"]).expect_code(0);
    let exchange = "begin; update t set id = 0 where ref = 1; update t set id = 1 where ref = 2;
                    update t set id = 2 where ref = 1; commit";
    client.batch_execute(exchange).await.unwrap();
    program.execute(&["--yes"]).expect_code(0);

    // Neither is green's own primary key what the stream knows rows by.
    let cluster = Cluster::start();
    let setup =
        "create table t (id int primary key, ref int not null unique, a int not null, b int not null);
                 alter table t replica identity using index t_ref_key;
                 insert into t select g, g, g, g from generate_series(1, 50) g";
    let plan = "{version: 1, name: exchanged, tables: [{table: public.t, primary_key: [a, b]}]}";
    let (client, program) = stage(&cluster, setup, plan).await;
    program.execute(&["--until", "index"]).expect_code(0);
    let exchange = "begin; update t set a = 0 where ref = 1; update t set a = 1, b = 1 where ref = 2;
                    update t set a = 2, b = 2 where ref = 1; commit";
    client.batch_execute(exchange).await.unwrap();
    program.execute(&["--yes"]).expect_code(0);
}

/// The index that the stream finds rows by is there before the stream is applied, whichever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_of_the_streams_key_is_built_with_the_copy() {
    let identities = [
        ("create unique index by_ref on t (ref); alter table t replica identity using index by_ref", ""),
        ("alter table t add constraint by_ref unique (ref), replica identity using index by_ref", ""),
        (
            "alter table t drop constraint t_pkey; create unique index by_ref on t (ref)",
            ", replica_identity: full",
        ),
    ];
    for (identity, full) in identities {
        let cluster = Cluster::start();
        let table = "create table t (id int primary key, ref int not null, n int not null); insert into t select g, g, 0 from generate_series(1, 100) g";
        let plan = format!("{{version: 1, name: keyed, tables: [{{table: public.t{full}}}]}}");
        let (client, program) = stage(&cluster, &format!("{table}; {identity}"), &plan).await;
        program.execute(&["--until", "copy"]).expect_code(0);
        let sql = "select count(*) from pg_indexes where schemaname ~ '_green$' and indexname = 'by_ref'";
        assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 1, "{identity}");
        client
            .batch_execute("update t set n = 1, ref = -ref where id < 50; delete from t where id > 90")
            .await
            .unwrap();
        program.execute(&["--yes"]).expect_code(0);
    }
}
