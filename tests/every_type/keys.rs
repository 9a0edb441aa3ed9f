//! Keys of types whose equality is not that of their bytes, or whose operators are not PostgreSQL's own.

use super::twin::{Cycle, Stage};

/// A table whose key is of one type.
struct Keyed {
    name: &'static str,
    /// SQL that has to be there first.
    before: &'static str,
    data_type: &'static str,
    /// SQL for the key with number `N` (a digit), and for another form of the same key.
    key: &'static str,
    same: &'static str,
    /// What stands in the plan beside the table's name.
    plan: &'static str,
}

const fn keyed(name: &'static str, data_type: &'static str, key: &'static str, plan: &'static str) -> Keyed {
    Keyed { name, before: "", data_type, key, same: key, plan }
}

const HASH: &str = "partition_by: {hash: k, partitions: 3}";
/// The key is widened: the stream does not say in which partition a row was.
const WIDENED: &str =
    "partition_by: {range: at, bounds: [2026-01-01, 2026-01-03], default: true}\n    primary_key: [k, at]";

const KEYED: [Keyed; 17] = [
    keyed("texts", "text", "'key N'", HASH),
    Keyed {
        same: "N.00",
        ..keyed("numerics", "numeric", "N.0", "partition_by: {range: k, bounds: [0, 3, 6], default: true}")
    },
    Keyed { same: "N.00", ..keyed("numerics_widened", "numeric", "N.0", WIDENED) },
    keyed(
        "dates",
        "date",
        "case N when 0 then '-infinity'::date when 9 then 'infinity' else '2026-01-01'::date + N end",
        "partition_by: {range: k, every: 1 quarter}",
    ),
    keyed(
        "moments",
        "timestamptz",
        "case N when 9 then 'infinity'::timestamptz else '2026-01-01'::timestamptz + interval '1 us' * N end",
        "partition_by: {range: k, every: 1 quarter}",
    ),
    keyed("uuids", "uuid", "'0000000N-0000-0000-0000-000000000000'::uuid", WIDENED),
    keyed("bytes", "bytea", "'\\x00ff0N'::bytea", HASH),
    keyed(
        "addresses",
        "inet",
        "'10.0.0.N/24'::inet",
        "partition_by: {range: k, bounds: [10.0.0.0/24, 10.0.0.5/24, 10.0.0.255/24], default: true}",
    ),
    Keyed {
        before: "create type app.grade as enum ('g9', 'g8', 'g7', 'g6', 'g5', 'g4', 'g3', 'g2', 'g1', 'g0')",
        ..keyed(
            "enums",
            "app.grade",
            "'gN'::app.grade",
            "partition_by: {list: k, partitions: {low: [g0, g1, g2], high: [g7, g8]}, default: true}",
        )
    },
    Keyed { same: "'key N    '::bpchar", ..keyed("padded", "char(10)", "'key N'::bpchar", HASH) },
    Keyed { same: "'key N    '::bpchar", ..keyed("blanks", "bpchar", "'key N'::bpchar", WIDENED) },
    Keyed {
        before: "create collation app.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        same: "'KÉY N'",
        ..keyed("any_case", "text collate app.any_case", "'kéy N'", HASH)
    },
    Keyed {
        same: "'KÉY N'",
        ..keyed("any_case_widened", "varchar(20) collate app.any_case", "'kéy N'", WIDENED)
    },
    keyed(
        "collated",
        "text collate \"C\"",
        "'key N'",
        "partition_by: {range: k, bounds: [a, key 4, z], default: true}",
    ),
    keyed("names", "name", "'key N'::name", WIDENED),
    Keyed {
        same: "case N when 0 then '-0' else 'N' end::float8",
        ..keyed("floats", "float8", "'N'::float8", WIDENED)
    },
    // Too long for its row, but not for an index: it is stored out of line, and not sent again.
    Keyed {
        before: "create function app.long(n int) returns text immutable language sql as $$ \
                 select string_agg(md5(i::text), '') from generate_series(n * 100, n * 100 + 78) i $$",
        ..keyed("out_of_line", "text", "app.long(N)", "indexes: [create index long_n on out_of_line (n)]")
    },
];

impl Keyed {
    fn key(&self, number: usize) -> String {
        self.key.replace('N', &number.to_string())
    }

    fn same(&self, number: usize) -> String {
        self.same.replace('N', &number.to_string())
    }

    fn setup(&self) -> String {
        let name = self.name;
        let rows: Vec<String> =
            (0..10).map(|n| format!("({}, '2026-01-0{}', {n})", self.key(n), 1 + n % 5)).collect();
        format!(
            "{};\ncreate table app.{name} (k {}, at date not null, n int, big text, primary key (k));\n\
             alter table app.{name} alter big set storage external;\n\
             insert into app.{name} (k, at, n) values {};\nupdate app.{name} set big = repeat('b', 4000);\n",
            self.before,
            self.data_type,
            rows.join(", ")
        )
    }

    /// `big` is not sent again where it stays what it is.
    fn cycle(&self, table: usize, number: usize, free: usize) -> Cycle {
        let (key, same, other) = (self.key(number), self.same(number), self.key(free));
        let statements = vec![
            format!("update TABLE set n = n + 1 where k = {key}"),
            format!("update TABLE set k = {same} where k = {key}"),
            format!("update TABLE set n = n + 1, at = at + 1 where k = {same}"),
            format!("update TABLE set k = {other} where k = {key}"),
            format!("update TABLE set big = null where k = {other}"),
            format!("update TABLE set big = repeat('c', 5000) where k = {other}"),
            format!("update TABLE set k = {key}, at = at - 1 where k = {other}"),
            format!("delete from TABLE where k = {same}"),
            format!(
                "insert into TABLE (k, at, n, big) values ({same}, '2026-01-0{}', {number}, repeat('d', 6000))",
                1 + number % 5
            ),
            format!("update TABLE set k = {key} where k = {same}"),
        ];
        Cycle { table, statements }
    }
}

fn plan(keyed: &[Keyed], schema: &str) -> String {
    let table = |keyed: &Keyed| format!("  - table: {schema}.{}\n    {}\n", keyed.name, keyed.plan);
    format!(
        "version: 1\nname: keys\nsettings: {{workers: 2, chunk_size: 64KiB}}\ntables:\n{}",
        keyed.iter().map(table).collect::<String>()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_whose_equality_is_not_that_of_their_bytes() {
    let setup: String = KEYED.iter().map(Keyed::setup).collect();
    let names: Vec<String> = KEYED.iter().map(|keyed| format!("app.{}", keyed.name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::set(&format!("create schema app; {setup}"), &names, &plan(&KEYED, "app")).await;
    // Key 8 belongs to the writer of 3: it lends it the row that moves there. Its own row went first.
    stage.client.batch_execute("set search_path = app").await.unwrap();
    let mut cycles = Vec::new();
    for (table, keyed) in KEYED.iter().enumerate() {
        for schema in ["app", "twin"] {
            let free = format!(
                "delete from {schema}.{} where k in ({}, {})",
                keyed.name,
                keyed.key(7),
                keyed.key(9)
            );
            stage.client.batch_execute(&free).await.unwrap();
        }
        cycles.extend([(3, 7), (0, 9)].map(|(number, free)| keyed.cycle(table, number, free)));
    }
    stage.migrate(cycles).await;
}
