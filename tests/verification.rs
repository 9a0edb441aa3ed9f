//! The verification is able to fail: whatever differs between blue and green is found, named by a
//! digest of its key, and nothing is swapped.

use projh_bluegreen::testing::journal;
use projh_bluegreen::testing::lane::compare::{Compared, Comparison, Sides};
use projh_bluegreen::testing::lane::{Ends, Lane};
use projh_bluegreen::testing::pg::connect::Target;
use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, home, stage};

const DB: &str = "postgres";

const BLUE: &str = r"
create table public.t (
    id bigint, part text, at date not null default '2026-01-10', n numeric, f float8, i interval, note text, bits bytea, big text,
    primary key (id, part));
alter table public.t alter big set storage external;
insert into public.t (id, part, at, n, f, i, note, bits, big)
select g, 'p ' || g % 3, date '2026-01-01' + g % 100, 1.0, 0.0, '1 mon', 'note ' || g, decode(md5(g::text), 'hex'), repeat(md5(g::text), 100)
  from generate_series(1, 300) g;
analyze public.t;";

const PLAN: &str = "
version: 1
name: verified
settings: {workers: 2}
tables:
  - table: public.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01, 2026-03-01], default: true}
    primary_key: [id, part, at]
";

struct Stage {
    _cluster: Cluster,
    client: Client,
    program: Bluegreen,
    green: String,
}

impl Stage {
    async fn set(until: &str) -> Self {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, BLUE, PLAN).await;
        program.execute(&["--yes", "--until", until]).expect_code(0);
        let green = format!("{}.t", home(&client, "green").await);
        Self { _cluster: cluster, client, program, green }
    }

    async fn green(&self, sql: &str) {
        let sql = sql.replace("GREEN", &self.green);
        self.client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Executes to the swap, which must not come; the differences, each with the id of the row that the
    /// digest finds by the formula that the user is told.
    async fn differences(&self) -> Vec<(String, i64)> {
        let finished = self.program.execute(&["--yes"]).expect_code(4);
        assert!(finished.events_of("swapped").is_empty());
        assert!(finished.stdout.contains("projh-bluegreen find"), "{}", finished.stdout);
        let mut found = Vec::new();
        for difference in finished.events_of("difference") {
            assert_eq!(difference["table"], "public.t");
            let (kind, digest) =
                (difference["kind"].as_str().unwrap(), difference["key_digest"].as_str().unwrap());
            found.push((kind.to_owned(), self.find(kind, digest).await));
        }
        found.sort();
        let plain = "select relkind = 'r' from pg_class where oid = 'public.t'::regclass";
        assert!(self.client.query_one(plain, &[]).await.unwrap().get::<_, bool>(0), "something was swapped");
        found
    }

    /// The id of the row that the command finds by its digest, on the sides that have it.
    async fn find(&self, kind: &str, digest: &str) -> i64 {
        let told = self.program.run("find", &["public.t", digest]).expect_code(0);
        let rows = told.events_of("row_found");
        let sides: Vec<&str> = rows.iter().map(|row| row["side"].as_str().unwrap()).collect();
        let expected: &[&str] = match kind {
            "missing" => &["blue"],
            "extra" => &["green"],
            _ => &["blue", "green"],
        };
        assert_eq!(sides, expected, "{kind}");
        let mut ids = Vec::new();
        for row in rows {
            let found = self.client.query(row["sql"].as_str().unwrap(), &[]).await.unwrap();
            assert_eq!(found.len(), 1, "{row}");
            ids.push(found[0].get::<_, i64>("id"));
        }
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        ids[0]
    }

    async fn swaps(&self) {
        let finished = self.program.execute(&["--yes"]).expect_code(0);
        assert_eq!(finished.events_of("swapped").len(), 1);
        let divided = "select relkind = 'p' from pg_class where oid = 'public.t'::regclass";
        assert!(self.client.query_one(divided, &[]).await.unwrap().get::<_, bool>(0));
    }
}

/// Each damage to green, and what repairs it.
const DAMAGES: [(&str, &str, &str, i64); 9] = [
    (
        "update GREEN set note = 'Note 5' where id = 5",
        "update GREEN set note = 'note 5' where id = 5",
        "different",
        5,
    ),
    (
        "update GREEN set bits = set_bit(bits, 77, 1 - get_bit(bits, 77)) where id = 6",
        "update GREEN set bits = set_bit(bits, 77, 1 - get_bit(bits, 77)) where id = 6",
        "different",
        6,
    ),
    (
        "create table kept as table GREEN; delete from GREEN where id = 7",
        "insert into GREEN select * from kept where id = 7",
        "missing",
        7,
    ),
    (
        "insert into GREEN select 1007, part, at, n, f, i, note, bits, big from GREEN where id = 8",
        "delete from GREEN where id = 1007",
        "extra",
        1007,
    ),
    ("update GREEN set n = 1.00 where id = 9", "update GREEN set n = 1.0 where id = 9", "different", 9),
    ("update GREEN set f = '-0' where id = 10", "update GREEN set f = 0 where id = 10", "different", 10),
    (
        "update GREEN set i = '30 days' where id = 11",
        "update GREEN set i = '1 mon' where id = 11",
        "different",
        11,
    ),
    (
        "update GREEN set big = null where id = 12",
        "update GREEN set big = (select big from public.t where id = 12) where id = 12",
        "different",
        12,
    ),
    (
        "update GREEN set big = overlay(big placing '!' from 3000) where id = 13",
        "update GREEN set big = (select big from public.t where id = 13) where id = 13",
        "different",
        13,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damage_is_found_named_and_repaired() {
    let stage = Stage::set("index").await;
    // Each alone: nothing hides behind another.
    for (damage, repair, kind, id) in DAMAGES {
        stage.green(damage).await;
        assert_eq!(stage.differences().await, [(kind.to_owned(), id)], "{damage}");
        stage.green(repair).await;
    }
    stage.green("drop table kept").await;
    // All at once.
    for (damage, ..) in DAMAGES {
        stage.green(damage).await;
    }
    let mut all: Vec<(String, i64)> =
        DAMAGES.iter().map(|(.., kind, id)| ((*kind).to_owned(), *id)).collect();
    all.sort();
    assert_eq!(stage.differences().await, all);
    for (_, repair, ..) in DAMAGES {
        stage.green(repair).await;
    }
    stage.swaps().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_after_a_verification_is_found_by_the_next_session() {
    let stage = Stage::set("verify").await;
    stage.green("update GREEN set f = '-0' where id = 10").await;
    stage.client.batch_execute("update public.t set note = 'x' where id = 20").await.unwrap();
    assert_eq!(stage.differences().await, [("different".to_owned(), 10)]);
    assert_eq!(stage.differences().await, [("different".to_owned(), 10)]);
    stage.green("update GREEN set f = 0 where id = 10").await;
    stage.swaps().await;
}

/// A type, a value, and another one that a user can tell from it; PostgreSQL calls some of them equal.
const TYPES: [(&str, &str, &str); 55] = [
    ("smallint", "1", "2"),
    ("integer", "1", "-1"),
    ("bigint", "1", "4294967297"),
    // The server's own hash functions take these for one value: they fold 64 bits into 32.
    ("bigint", "1", "4294967296"),
    ("bigint", "-1", "4294967295"),
    ("timestamp", "'2026-03-01 10:00:00.123456'", "'2026-03-01 11:11:35.090753'"),
    ("timestamptz", "'2026-03-01 10:00:00.123456+00'", "'2026-03-01 11:11:35.090753+00'"),
    ("timestamptz", "'1990-03-01 10:00:00.5+00'", "'1990-03-01 08:48:25.532705+00'"),
    ("timestamptz", "'infinity'", "'-infinity'"),
    ("timestamp", "'2026-05-17 08:00:00'", "'1973-08-16 16:14:30.383616'"),
    ("timestamptz", "'2026-05-17 08:00:00+00'", "'1973-08-16 16:14:30.383616+00'"),
    ("timestamp", "'4714-11-24 00:00:00 BC'", "'4714-11-24 00:00:00.000001 BC'"),
    ("numeric", "5", "-5"),
    ("timestamp", "'2000-01-01 00:00:00.000001'", "'2000-01-01 01:11:34.967296'"),
    ("timestamptz", "'2000-01-01 00:00:00.000001+00'", "'2000-01-01 01:11:34.967296+00'"),
    ("time", "'00:00:00.000001'", "'01:11:34.967296'"),
    ("money", "'0.01'", "'42949672.96'"),
    ("pg_lsn", "'0/1'", "'1/0'"),
    ("boolean", "true", "false"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "'NaN'", "'Infinity'"),
    ("real", "'0'", "'-0'"),
    ("double precision", "'0'", "'-0'"),
    ("text", "'a'", "'a '"),
    ("varchar(9)", "'a'", "'A'"),
    ("character(9)", "'a'", "'b'"),
    ("name", "'a'", "'b'"),
    ("text collate insensitive", "'a'", "'A'"),
    ("loose", "'a'", "'A'"),
    ("\"char\"", "'a'", "'b'"),
    ("bytea", "'\\x00'", "'\\x0000'"),
    ("date", "'2026-01-01'", "'infinity'"),
    ("time", "'01:00'", "'01:00:00.000001'"),
    ("timetz", "'01:00+01'", "'00:00+00'"),
    ("timestamp", "'2026-01-01'", "'2026-01-01 00:00:00.000001'"),
    ("timestamptz", "'2026-01-01'", "'-infinity'"),
    ("interval", "'1 mon'", "'30 days'"),
    ("interval", "'1 day'", "'24 hours'"),
    ("uuid", "'00000000-0000-0000-0000-000000000000'", "'00000000-0000-0000-0000-000000000001'"),
    ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
    ("jsonb", "'1.0'", "'1.00'"),
    ("xml", "'<a/>'", "'<a></a>'"),
    ("text[]", "'{a}'", "'[0:0]={a}'"),
    ("numeric[]", "'{1.0}'", "'{1.00}'"),
    ("integer[]", "'{1,2}'", "'{{1,2}}'"),
    ("int4range", "'[1,2)'", "'[1,3)'"),
    ("numrange", "'[1.0,2]'", "'[1.00,2]'"),
    ("inet", "'10.0.0.1/8'", "'10.0.0.1/9'"),
    ("macaddr", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    ("point", "'(0,0)'", "'(0,-0)'"),
    ("circle", "'<(0,0),1>'", "'<(1,0),1>'"),
    ("mood", "'good'", "'bad'"),
    ("pair", "row(1.0, 'a')", "row(1.00, 'a')"),
    ("bit varying", "B'1'", "B'10'"),
    ("tsvector", "'a'", "'a:1'"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_hash_tells_apart_what_a_user_can_in_every_type() {
    every_type("").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_hash_tells_apart_what_a_user_can_in_every_type_that_is_never_null() {
    every_type(" not null").await;
}

async fn every_type(constraint: &str) {
    let is_nullable = constraint.is_empty();
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    let types = "create collation insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 create domain loose as text collate insensitive; create type mood as enum ('good', 'bad'); create type pair as (n numeric, t text);";
    let columns: Vec<String> =
        TYPES.iter().enumerate().map(|(at, (of, ..))| format!("c{at} {of}{constraint}")).collect();
    let values = TYPES.iter().map(|(_, value, _)| *value).collect::<Vec<_>>().join(", ");
    let wide = format!(
        "{types} create table wide (id int primary key, {}); insert into wide values (1, {values}); {}",
        columns.join(", "),
        if is_nullable {
            "insert into wide (id) values (2)".to_owned()
        } else {
            format!("insert into wide values (2, {values})")
        },
    );
    client.batch_execute(&wide).await.unwrap();
    let plan =
        "{version: 1, name: wide, tables: [{table: public.wide, partition_by: {hash: id, partitions: 2}}]}";
    let program = Bluegreen::new(&cluster, DB).plan(plan);
    program.execute(&["--until", "index"]).expect_code(0);
    let target = Target::resolve(Some(&cluster.url(DB)), &|_| None).unwrap();
    let prepared = journal::list(&client).await.unwrap().remove(0).progress.prepared.unwrap();
    let workers = [target.connect("test", &[]).await.unwrap()];
    let lane = Lane::load(&workers[0], 0, &Ends::of(&prepared.lanes[0])).await.unwrap();
    let comparison = Comparison::of(&workers[0], &lane).await.unwrap();
    assert_eq!(comparison.columns(), TYPES.len() + 1);

    let holder = cluster.client(DB).await;
    let compare = async || {
        holder.batch_execute("begin isolation level repeatable read").await.unwrap();
        let snapshot: String = holder.query_one("select pg_export_snapshot()", &[]).await.unwrap().get(0);
        let sides = Sides { source: &snapshot, target: &snapshot, run: "00000000" };
        let Compared { rows, differences, .. } =
            comparison.full(&target, &sides, &workers, &|_| ()).await.unwrap();
        holder.batch_execute("commit").await.unwrap();
        assert_eq!(rows, 2);
        assert_eq!(differences.count, differences.shown.len() as u64);
        differences.shown
    };
    assert_eq!(compare().await, []);
    for (at, (of, value, other)) in TYPES.iter().enumerate() {
        let damages = [(1, *other, *value), (1, "null", *value), (2, *value, "null")];
        for (id, damage, repair) in &damages[..if is_nullable { 3 } else { 1 }] {
            let update = |to: &str| format!("update {} set c{at} = {to} where id = {id}", lane.target);
            client.batch_execute(&update(damage)).await.unwrap();
            let found = compare().await;
            assert_eq!(found.len(), 1, "{of}: {repair} and {damage}");
            assert_eq!(found[0].columns, [format!("c{at}")], "{of}");
            client.batch_execute(&update(repair)).await.unwrap();
        }
    }
    assert_eq!(compare().await, []);
}

/// The server's own hash of a timestamp folds its halves into 32 bits. Values that it takes for one, with the upper
/// halves at which something changes: two halves beside 2000 and on either side of it, the first and the last that the
/// type has, and what is moved where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timestamps_of_one_folded_hash_are_told_apart() {
    const TIMES: &str = "
        create table times (id int generated always as identity primary key, at timestamp not null, tz timestamptz not null);
        insert into times (at, tz)
        select at, at at time zone 'UTC' from (
            select timestamp '2000-01-01' + make_interval(days => (us / 86400000000)::int, secs => (us % 86400000000) / 1e6)
            from unnest('{0, 1, 2, -1, -2, -3, 16777215, -16777216, 17792193, 17792194, 49316669, 49316670,
                          -49316670, -49316671, 67108863, 67108864, 2147483482}'::bigint[]) as upper,
                 unnest('{0, 1, 305419896, 2147483647, 2147483648, 3221225472, 3221225473, 4294967295}'::bigint[]) as folded,
                 lateral (select (upper << 32) + (folded # case when upper < 0 then ~upper else upper end)) as t (us)
            where us >= -211813488000000000
            union values (timestamp 'infinity'), ('-infinity'), ('4714-11-24 00:00:00 BC'), ('294276-12-31 23:59:59.999999')
        ) as s (at)";
    let cluster = Cluster::start();
    let (client, program) = stage(
        &cluster,
        TIMES,
        "{version: 1, name: times, tables: [{table: public.times, partition_by: {hash: id, partitions: 2}}]}",
    )
    .await;
    program.execute(&["--until", "index"]).expect_code(0);
    let prepared = journal::list(&client).await.unwrap().remove(0).progress.prepared.unwrap();
    let lane = Lane::load(&client, 0, &Ends::of(&prepared.lanes[0])).await.unwrap();
    let comparison = Comparison::of(&client, &lane).await.unwrap();
    let folded = "select count(*) > 100, count(distinct timestamp_hash_extended(at, 0)) <= 8 + 2 from times";
    let folded = client.query_one(folded, &[]).await.unwrap();
    assert_eq!((folded.get(0), folded.get(1)), (true, true));
    let ids: Vec<i32> =
        client.query("select id from times", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    for column in ["at", "tz"] {
        let mut seen = std::collections::BTreeMap::new();
        for id in &ids {
            // One row as it would be hashed if the other columns were those of the first row.
            let rows = format!(
                "(select f.id, {} from times as f, times as t where f.id = {} and t.id = {id})",
                if column == "at" { "t.at, f.tz" } else { "f.at, t.tz" },
                ids[0],
            );
            let sql =
                comparison.sum_sql(false, "times", "true").replace("ONLY times", &format!("{rows} as times"));
            let hash: i64 = client.query_one(&sql, &[&comparison.seed()]).await.unwrap().get(2);
            if let Some(other) = seen.insert(hash, id) {
                panic!("{column}: rows {other} and {id} have one hash");
            }
        }
        assert_eq!(seen.len(), ids.len());
    }
}
