//! Values that rows exchange: count, sum and xor, each of the last two alone, see every exchange, also those that
//! sums of PostgreSQL's own row hash do not see.

use projh_bluegreen::testing::journal;
use projh_bluegreen::testing::lane::coalesce::Key;
use projh_bluegreen::testing::lane::compare::{Comparison, Differences, Sides};
use projh_bluegreen::testing::lane::{Ends, Lane};
use projh_bluegreen::testing::pg::connect::{Session, Target};
use projh_bluegreen::testing::replication::pgoutput::Value;
use tokio_postgres::Client;

use crate::support::{Cluster, stage};

const DB: &str = "postgres";

struct Stage {
    cluster: Cluster,
    client: Client,
    target: Target,
    session: Session,
    lane: Lane,
    comparison: Comparison,
}

impl Stage {
    /// A run as far as its indexes.
    async fn set(table: &str) -> Self {
        let cluster = Cluster::start();
        let plan =
            "{version: 1, name: exchanges, tables: [{table: public.t, columns: {note: {type: varchar}}}]}";
        let (client, program) = stage(&cluster, table, plan).await;
        program.execute(&["--until", "index"]).expect_code(0);
        let target = Target::resolve(Some(&cluster.url(DB)), &|_| None).unwrap();
        let prepared = journal::list(&client).await.unwrap().remove(0).progress.prepared.unwrap();
        let session = target.connect("test", &[]).await.unwrap();
        let lane = Lane::load(&session, 0, &Ends::of(&prepared.lanes[0])).await.unwrap();
        let comparison = Comparison::of(&session, &lane).await.unwrap();
        Self { cluster, client, target, session, lane, comparison }
    }

    async fn green(&self, sql: &str) {
        self.client.batch_execute(&sql.replace("GREEN", &self.lane.target.to_string())).await.unwrap();
    }

    async fn compare(&self) -> Differences {
        let holder = self.cluster.client(DB).await;
        holder.batch_execute("begin isolation level repeatable read").await.unwrap();
        let snapshot: String = holder.query_one("select pg_export_snapshot()", &[]).await.unwrap().get(0);
        let sides = Sides { source: &snapshot, target: &snapshot, run: "00000000" };
        let workers = std::slice::from_ref(&self.session);
        self.comparison.full(&self.target, &sides, workers, &|_| ()).await.unwrap().differences
    }

    /// Sum and xor of green's rows.
    async fn sums(&self) -> (String, i64) {
        let sql = self.comparison.sum_sql(false, &self.lane.target.to_string(), "true");
        let row = self.client.query_one(&sql, &[&self.comparison.seed()]).await.unwrap();
        (row.get(1), row.get(2))
    }
}

/// Count, sum and xor of PostgreSQL's own row hash.
async fn plain(client: &Client, relation: &str) -> (i64, String, i64) {
    let sql = format!(
        "select count(*), sum(h)::text, bit_xor(h) from (select hash_record_extended(row(id, note), 0) as h from {relation}) s"
    );
    let row = client.query_one(&sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_the_servers_row_hash_does_not_see_is_found() {
    let stage = Stage::set(
        "create table t (id bigint primary key, note text); insert into t select g, 'n' || g from generate_series(1, 60000) g",
    )
    .await;
    assert_eq!(stage.compare().await.count, 0);
    stage.green("update GREEN set note = 'n' || (265 + 28221 - id) where id in (265, 28221)").await;
    let green = stage.lane.target.to_string();
    assert_eq!(plain(&stage.client, "t").await, plain(&stage.client, &green).await, "they do not collide");
    let found = stage.compare().await;
    assert_eq!((found.count, found.columns()), (2, vec![("note".to_owned(), 2)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sum_and_xor_each_see_every_exchange() {
    see_every_exchange("bigint", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_of_columns_that_are_never_null() {
    see_every_exchange("bigint", "not null").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_of_rows_of_which_nothing_is_hashed_by_itself() {
    see_every_exchange("inet", "").await;
}

/// The key's type; whether the other columns may be NULL.
async fn see_every_exchange(key: &str, constraint: &str) {
    let id = if key == "inet" { "'::'::inet + g" } else { "g" };
    let stage = Stage::set(&format!(
        "create table t (id {key} primary key, note text {constraint}, more text {constraint}, most text {constraint}, n bigint {constraint}, at timestamptz {constraint}, day timestamp {constraint});
         insert into t select {id}, 'n' || g, 'm' || g, 'k' || g, g, timestamptz '2026-01-01' + g * interval '1 hour', timestamp '2026-01-01' + g * interval '1 hour' from generate_series(1, 300) g"
    ))
    .await;
    let equal = stage.sums().await;
    let change =
        "from GREEN o where g.id in (A, B, C) and o.id = case g.id when A then B when B then C else A end";
    let exchanges = [
        // Two rows (C is A), three rows, one column and several of them.
        ("update GREEN g set note = o.note", change.replace('C', "A"), 2),
        ("update GREEN g set n = o.n", change.replace('C', "A"), 2),
        ("update GREEN g set at = o.at", change.replace('C', "A"), 2),
        ("update GREEN g set day = o.day", change.to_owned(), 3),
        ("update GREEN g set note = o.note", change.to_owned(), 3),
        ("update GREEN g set note = o.note, more = o.more, n = o.n", change.to_owned(), 3),
        // Columns of one row.
        ("update GREEN g set note = more, more = note", "where id = A".to_owned(), 1),
        ("update GREEN g set note = more, more = most, most = note", "where id = A".to_owned(), 1),
    ];
    for round in 1..=10 {
        for (set, which, rows) in &exchanges {
            let key = |n: i32| if key == "inet" { format!("('::'::inet + {n})") } else { n.to_string() };
            let which = which.replace("A", &key(round)).replace('B', &key(100 + round));
            let sql = format!("{set} {}", which.replace('C', &key(200 + round)));
            stage.green(&format!("create table kept as table GREEN; {sql}")).await;
            let now = stage.sums().await;
            assert!(now.0 != equal.0 && now.1 != equal.1, "{sql}: {now:?}, {equal:?}");
            if round == 1 {
                assert_eq!(stage.compare().await.count, *rows, "{sql}");
            }
            stage.green("truncate GREEN; insert into GREEN select * from kept; drop table kept").await;
        }
    }
    assert_eq!(stage.sums().await, equal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_compared_over_one_connection() {
    let stage = Stage::set(
        "create table t (id bigint primary key, note text); insert into t select g, 'n' || g from generate_series(1, 15000) g",
    )
    .await;
    let key = |id: i64| Key::new([&Value::Binary(id.to_be_bytes().to_vec().into())]).unwrap();
    let keys: Vec<Key> = (1..=15_000).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    let by_key = stage.comparison.by_key(&stage.session, &stage.session).await.unwrap();
    let compare = async || {
        let compared = tokio::time::timeout(std::time::Duration::from_secs(60), by_key.compare(&keys)).await;
        compared.expect("the two sides wait for each other").unwrap()
    };
    assert_eq!(compare().await, Differences::default());
    stage.green("update GREEN set note = 'other' where id = 14999; delete from GREEN where id = 3").await;
    let found = compare().await;
    assert_eq!((found.count, found.columns()), (2, vec![("note".to_owned(), 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_that_fails_leaves_no_session_in_a_transaction() {
    let stage =
        Stage::set("create table t (id bigint primary key, note text); insert into t values (1, 'n')").await;
    let holder = stage.cluster.client(DB).await;
    holder.batch_execute("begin isolation level repeatable read").await.unwrap();
    let snapshot: String = holder.query_one("select pg_export_snapshot()", &[]).await.unwrap().get(0);
    let workers = [
        stage.target.connect("worker", &[]).await.unwrap(),
        stage.target.connect("worker", &[]).await.unwrap(),
    ];
    // One of them cannot begin, and the other one has begun by then.
    let sides = Sides { source: &snapshot, target: "00000000-00000000-1", run: "00000000" };
    for _ in 0..20 {
        stage.comparison.full(&stage.target, &sides, &workers, &|_| ()).await.unwrap_err();
        let open =
            "select count(*) from pg_stat_activity where application_name = 'worker' and state <> 'idle'";
        assert_eq!(stage.client.query_one(open, &[]).await.unwrap().get::<_, i64>(0), 0);
    }
    let sides = Sides { source: &snapshot, target: &snapshot, run: "00000000" };
    let compared = stage.comparison.full(&stage.target, &sides, &workers, &|_| ()).await.unwrap();
    assert_eq!((compared.rows, compared.differences), (1, Differences::default()));
}
