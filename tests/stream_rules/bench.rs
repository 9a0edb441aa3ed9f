//! A run whose copy is over, and its feed in the test's hands.

use projh_bluegreen::testing::journal::Journal;
use projh_bluegreen::testing::lane::copy::{self, Round};
use projh_bluegreen::testing::lane::feed::{Feed, FeedError};
use projh_bluegreen::testing::lane::point::Point;
use projh_bluegreen::testing::lane::{Ends, Lane};
use projh_bluegreen::testing::lifecycle::Prepared;
use projh_bluegreen::testing::pg::connect::Target;
use projh_bluegreen::testing::pg::{Colour, Lsn};
use tokio_postgres::Client;

use crate::support::feeding::{self, From};
use crate::support::waiting::eventually;
use crate::support::{Cluster, stage};

pub const DB: &str = "postgres";

/// 40 rows; `big` is stored out of line, so an update of another column does not send it.
pub const BLUE: &str = "
create table public.t (
    id int primary key, at date not null default '2026-01-10', email text, n int not null default 0,
    big text not null, unique (email, at));
alter table public.t alter big set storage external;
insert into public.t (id, email, big) select g, 'e' || g, repeat(md5(g::text), 100) from generate_series(1, 40) g;
analyze public.t;";

/// The key is widened by the partition key: the stream does not know in which partition a row was.
pub const PLAN: &str = "
version: 1
name: rules
settings: {workers: 1, chunk_size: 64KiB}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, at]
";

pub struct Bench {
    pub cluster: Cluster,
    pub client: Client,
    pub target: Target,
    pub journal: Journal,
    pub prepared: Prepared,
    pub lane: Lane,
    feed: Option<Feed>,
}

impl Bench {
    /// [`BLUE`] and [`PLAN`], after the copy.
    pub async fn set() -> Self {
        Self::of(Cluster::start(), BLUE, PLAN, "copy").await
    }

    /// Any server, table and plan, after the given phase.
    pub async fn of(cluster: Cluster, blue: &str, plan: &str, until: &str) -> Self {
        let (client, program) = stage(&cluster, blue, plan).await;
        program.execute(&["--until", until]).expect_code(0);
        let (target, journal) = feeding::take_over(&cluster, &client).await;
        let prepared = journal.progress().prepared.clone().unwrap();
        let lane = Lane::load(journal.session(), 0, &Ends::of(&prepared.lanes[0])).await.unwrap();
        Self { cluster, client, target, journal, prepared, lane, feed: None }
    }

    /// Starts the feed where the journal says; it holds still. An earlier one ends, as by a crash.
    pub async fn start(&mut self, lenient: bool) {
        self.try_start(lenient).await.unwrap();
    }

    /// The same, if it can be.
    pub async fn try_start(&mut self, lenient: bool) -> Result<(), FeedError> {
        self.crash().await;
        let applied = self.journal.applied(Colour::Blue).await.unwrap().unwrap();
        let from = From { slot: self.prepared.slot.as_str(), applied, lenient };
        self.feed = Some(feeding::try_start(&self.target, &self.journal, &self.lane, from).await?);
        Ok(())
    }

    /// A feed that runs, and to which every row has to be there.
    pub async fn strict() -> Self {
        let mut bench = Self::set().await;
        bench.start(false).await;
        bench.feed().free();
        bench
    }

    /// The feed ends without a word, and the server has noticed.
    pub async fn crash(&mut self) {
        self.feed = None;
        let slot = self.prepared.slot.as_str();
        let free = format!(
            "select not exists (select from pg_replication_slots where slot_name = '{slot}' and active)"
        );
        eventually(&self.client, &free).await;
    }

    /// The slot anew, from here on; for a stream in which there is something that stops every feed.
    pub async fn forget_stream(&mut self) {
        self.crash().await;
        let slot = self.prepared.slot.as_str().to_owned();
        self.client.execute("select pg_drop_replication_slot($1::text::name)", &[&slot]).await.unwrap();
        let point = Point::make(&self.target, self.journal.run(), &slot, false, &|_| {}).await.unwrap().0;
        let sql = "update projh_bluegreen.stream set applied_lsn = $1";
        self.client.execute(sql, &[&point.lsn]).await.unwrap();
    }

    pub fn feed(&self) -> &Feed {
        self.feed.as_ref().unwrap()
    }

    /// Everything written so far is in green, or the feed has stopped.
    pub async fn try_drain(&self) -> Result<(), FeedError> {
        feeding::drain(self.feed()).await
    }

    /// One source transaction, and it is applied.
    pub async fn apply(&self, sql: &str) {
        self.sql(sql).await;
        self.try_drain().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub async fn sql(&self, sql: &str) {
        let sql = sql.replace("GREEN", &self.lane.target.to_string());
        self.client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let sql = sql.replace("GREEN", &self.lane.target.to_string());
        self.client.query_one(&sql, &[]).await.unwrap().get(0)
    }

    pub async fn lsn(&self, sql: &str) -> Lsn {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub async fn now(&self) -> Lsn {
        self.lsn("select pg_current_wal_insert_lsn()").await
    }

    pub async fn confirmed(&self) -> Lsn {
        let sql = "select confirmed_flush_lsn from pg_replication_slots where slot_name like 'projh_bg_%'";
        self.lsn(sql).await
    }

    /// Green has exactly blue's rows, but for these keys of blue.
    pub async fn expect_same_but(&self, missing: &[i32]) {
        let blue = format!("{} r where id <> all ($1)", self.lane.source);
        let green = format!("{} r where $1::int[] is not null", self.lane.target);
        let rows = |of: &str| format!("select to_jsonb(r)::text from {of}");
        for (one, other) in [(&blue, &green), (&green, &blue)] {
            let sql = format!("select count(*) from ({} except all {}) d", rows(one), rows(other));
            let differing: i64 = self.client.query_one(&sql, &[&missing]).await.unwrap().get(0);
            assert_eq!(differing, 0, "rows of {one} that are not in {other}");
        }
    }

    pub async fn expect_same(&self) {
        self.expect_same_but(&[]).await;
    }

    /// A round at a snapshot, in which rows may be there already.
    pub async fn round(&self, snapshot: &str) -> Round {
        let file = copy::file(&self.client, &self.lane.source).await.unwrap();
        Round { snapshot: snapshot.to_owned(), skip_present: true, files: vec![file] }
    }

    /// The keys that have to be read again.
    pub async fn dirty(&self) -> Vec<i32> {
        let sql = format!("select id from {} order by id", self.lane.dirty_table());
        self.client.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// Another session that holds green against the feed until it is dropped.
    pub async fn block_green(&self) -> Client {
        let blocker = self.cluster.client(DB).await;
        let sql = format!("begin; lock table {} in share mode", self.lane.target);
        blocker.batch_execute(&sql).await.unwrap();
        blocker
    }

    /// The feed has begun to apply something, and waits for a lock.
    pub async fn is_blocked(&self) {
        let sql = "select exists (select from pg_stat_activity where application_name like '% apply' and wait_event_type = 'Lock')";
        eventually(&self.client, sql).await;
    }
}
