//! A column of each built-in type, and of arrays of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::twin::{Cycle, DB, Stage};
use crate::support::Cluster;

/// A type, and texts of values of it that its equality, its output or its storage treats in a way of its own.
pub const SAMPLES: [(&str, &[&str]); 67] = [
    ("bit", &["1", "0"]),
    ("bool", &["t", "f"]),
    ("box", &["(1,2),(3,4)", "(NaN,0),(Infinity,-0)"]),
    ("bpchar", &["a", "a ", "  ", ""]),
    ("bytea", &["\\x00ff", "", "\\xdeadbeef"]),
    ("char", &["x", "\\377", ""]),
    ("cid", &["0", "4294967295"]),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32", "10.0.0.0/9"]),
    ("circle", &["<(0,0),1>", "<(-0,NaN),Infinity>"]),
    ("date", &["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31", "2026-02-28"]),
    ("float4", &["NaN", "-0", "0", "1e-45", "-Infinity", "0.1"]),
    ("float8", &["NaN", "-0", "0", "5e-324", "Infinity", "0.30000000000000004"]),
    ("inet", &["10.0.0.1", "10.0.0.1/24", "::1", "::ffff:1.2.3.4/96"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "2147483647"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("interval", &["1 mon", "30 days", "720:00:00", "-178000000 years", "1 mon -1 day 00:00:00.000001"]),
    ("json", &["{\"a\":1,\"a\": 2 }", "[1.0, 1.00]", "null", "{ \"z\":\t1e400}"]),
    ("jsonb", &["{\"a\": 1.0}", "{\"a\": 1.00}", "null", "[[], {}, \"\\\\u00e4\"]"]),
    ("jsonpath", &["$.a[*] ? (@ > 1.0)", "strict $.\"a b\""]),
    ("line", &["{1,2,3}", "{0,-1,-0}"]),
    ("lseg", &["[(1,2),(3,4)]", "[(-0,NaN),(0,0)]"]),
    ("macaddr", &["08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00"]),
    ("money", &["-92233720368547758.08", "0.01"]),
    ("name", &["a", "", "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüä"]),
    (
        "numeric",
        &["NaN", "Infinity", "-Infinity", "1.0", "1.00", "0.00", "-0.0000000000000000000000001", "1e1000"],
    ),
    ("oid", &["0", "4294967295"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(NaN,-0))"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    ("pg_snapshot", &["10:20:10,14,15", "1:1:"]),
    ("point", &["(NaN,-0)", "(Infinity,5e-324)"]),
    ("polygon", &["((0,0),(1,1),(2,0))", "((-0,0))"]),
    ("refcursor", &["my cursor", ""]),
    ("regclass", &["pg_class", "-"]),
    ("regcollation", &["\"C\"", "pg_catalog.\"default\""]),
    ("regconfig", &["english", "simple"]),
    ("regdictionary", &["simple", "english_stem"]),
    ("regnamespace", &["pg_catalog", "public"]),
    ("regoper", &["||/", "0"]),
    ("regoperator", &["+(integer,integer)", "-(NONE,integer)"]),
    ("regproc", &["now", "-"]),
    ("regprocedure", &["abs(numeric)", "lower(text)"]),
    ("regrole", &["postgres", "-"]),
    ("regtype", &["integer[]", "timestamp with time zone"]),
    ("text", &["", " ", "a\u{301}", "ä", "\u{10ffff}", "line\nbreak\\N"]),
    ("tid", &["(0,0)", "(4294967295,65535)"]),
    ("time", &["24:00", "00:00", "23:59:59.999999"]),
    ("timestamp", &["infinity", "-infinity", "4713-01-01 BC", "294276-12-31 23:59:59.999999"]),
    ("timestamptz", &["infinity", "-infinity", "2026-03-29 02:30:00.000001+01", "0001-01-01 BC"]),
    ("timetz", &["24:00+15:59", "00:00-15:59", "12:00+02", "11:00+01"]),
    ("tsquery", &["'a b' & !c:*AB", "a <3> (b | c)", ""]),
    ("tsvector", &["'a':1A,2B 'b c':3", "", "a b a"]),
    ("txid_snapshot", &["10:20:10,14,15", "1:1:"]),
    ("uuid", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("varbit", &["", "101", "0000000000000000000000000000000000000000000000000000000000000000001"]),
    ("varchar", &["", " ", "ß"]),
    ("xid", &["0", "4294967295"]),
    ("xid8", &["0", "18446744073709551615"]),
    (
        "xml",
        &[
            "<a/>",
            "text <b x=\"1\"/>",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a>ä</a>",
            "<?xml version=\"1.1\"?><a/>",
        ],
    ),
    ("daterange", &["empty", "(,)", "[2026-01-01,infinity)", "(infinity,infinity]"]),
    ("int4range", &["empty", "(1,10]", "[,5)"]),
    ("int8range", &["empty", "[1,1]", "(,)"]),
    ("numrange", &["empty", "[1.0,1.00]", "(1.00,NaN)"]),
    ("tsrange", &["empty", "[-infinity,infinity]", "(,2026-01-01)"]),
    ("tstzrange", &["empty", "[2026-01-01 00:00+01,)"]),
    ("int4multirange", &["{}", "{[1,2),[5,)}"]),
];

/// The rest of the multiranges: their samples are the ranges'.
const MULTIRANGES: [(&str, &str); 5] = [
    ("datemultirange", "daterange"),
    ("int8multirange", "int8range"),
    ("nummultirange", "numrange"),
    ("tsmultirange", "tsrange"),
    ("tstzmultirange", "tstzrange"),
];

/// Types that a check refuses; see `refused`.
pub const REFUSED: [&str; 10] = [
    "aclitem",
    "gtsvector",
    "int2vector",
    "oidvector",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_ndistinct",
    "pg_node_tree",
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column: its name, its type, and SQL for the values that it is given.
struct Column {
    name: String,
    data_type: String,
    values: Vec<String>,
}

impl Column {
    fn value(&self, variant: usize) -> &str {
        &self.values[variant % self.values.len()]
    }
}

/// `"char"` is not `char`, and `bit` alone would be of length one.
fn type_name(name: &str) -> String {
    format!("pg_catalog.\"{name}\"")
}

/// Some minor releases cannot read an empty tsquery in the binary form in which they send it.
fn reads_empty_tsquery() -> bool {
    let cluster = Cluster::start();
    let file = cluster.data().join("empty_tsquery");
    let sql = format!(
        "create table probe (q tsquery); do $$ begin
         execute $q$copy (select ''::tsquery) to '{file}' (format binary)$q$;
         execute $q$copy probe from '{file}' (format binary)$q$;
         exception when internal_error then null; end $$; select count(*) from probe",
        file = file.display()
    );
    cluster.psql(DB, &sql).trim() == "1"
}

fn columns() -> Vec<Column> {
    let multiranges = MULTIRANGES.iter().map(|(multirange, range)| {
        let samples = SAMPLES.iter().find(|(name, _)| name == range).unwrap().1;
        let of = |sample: &&str| if **sample == *"empty" { "{}".to_owned() } else { format!("{{{sample}}}") };
        (*multirange, samples.iter().map(of).collect::<Vec<_>>())
    });
    let plain =
        SAMPLES.iter().map(|(name, samples)| (*name, samples.iter().map(ToString::to_string).collect()));
    let has_empty = reads_empty_tsquery();
    let readable = |name: &str, sample: &String| has_empty || name != "tsquery" || !sample.is_empty();
    plain
        .chain(multiranges)
        .map(|(name, samples)| {
            (name, samples.into_iter().filter(|sample| readable(name, sample)).collect::<Vec<_>>())
        })
        .flat_map(|(name, samples)| of_type(name, &samples))
        .collect()
}

/// One column of the type, and one of arrays of it: with NULL, of two dimensions, from another lower bound, empty.
fn of_type(name: &str, samples: &[String]) -> [Column; 2] {
    let data_type = type_name(name);
    let values: Vec<String> = samples.iter().map(|text| format!("{}::{data_type}", literal(text))).collect();
    let (first, last) = (&values[0], &values[values.len() - 1]);
    let arrays = vec![
        format!("array[{first}, null, {last}]"),
        format!("array[[{first}, {last}], [null, {first}]]"),
        format!("array_fill({last}, array[2, 2, 1], array[-3, 0, 7])"),
        format!("'{{}}'::{data_type}[]"),
    ];
    [
        Column { name: format!("\"{name}\""), data_type: data_type.clone(), values },
        Column { name: format!("\"{name}[]\""), data_type: format!("{data_type}[]"), values: arrays },
    ]
}

/// What there is more of than any column has values.
const VARIANTS: usize = 8;

fn list<'a>(columns: &'a [Column], show: impl Fn(&'a Column) -> String) -> String {
    columns.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn insert(columns: &[Column], id: usize, variant: usize) -> String {
    format!(
        "insert into TABLE (id, at, touched, {}) values ({id}, '2026-01-{:02}', 0, {})",
        list(columns, |column| column.name.clone()),
        1 + id % 28,
        list(columns, |column| column.value(variant).to_owned()),
    )
}

/// Every column gets every value of its type, becomes NULL and gets one again, alone and with all others; the row
/// gets another key, is deleted, and comes again.
fn cycle(columns: &[Column], id: usize) -> Cycle {
    let mut statements = Vec::new();
    for variant in 0..VARIANTS {
        let all = list(columns, |column| format!("{} = {}", column.name, column.value(variant)));
        statements.push(format!("update TABLE set {all} where id = {id}"));
        statements.push(format!("update TABLE set touched = touched + 1 where id = {id}"));
        let some: Vec<&Column> = columns.iter().skip(variant).step_by(VARIANTS).collect();
        let nulls =
            some.iter().map(|column| format!("{} = null", column.name)).collect::<Vec<_>>().join(", ");
        statements.push(format!("update TABLE set {nulls} where id = {id}"));
    }
    let nulls = list(columns, |column| format!("{} = null", column.name));
    statements.push(format!("update TABLE set {nulls}, id = id + 1000000 where id = {id}"));
    statements.push(format!("delete from TABLE where id = {}", id + 1_000_000));
    statements.push(insert(columns, id, id));
    Cycle { table: 0, statements }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_built_in_type_keeps_its_values() {
    let columns = columns();
    let mut setup = format!(
        "create schema app; create table app.t (id bigint, at date, touched int, {}, primary key (id, at));",
        list(&columns, |column| format!("{} {}", column.name, column.data_type)),
    );
    for id in 0..60 {
        let _ = write!(setup, "{};", insert(&columns, id, id).replace("TABLE", "app.t"));
    }
    let plan = "
version: 1
name: types
settings: {workers: 2, chunk_size: 64KiB}
tables:
  - table: app.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-01-10, 2026-01-20], default: true}
";
    let stage = Stage::set(&setup, &["app.t"], plan).await;
    let cycles = [3, 17, 40].map(|id| cycle(&columns, id));
    stage.migrate(cycles.into()).await;
}

/// A newer server has a type that nobody has thought about here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_built_in_type_is_forgotten() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    // Arrays have their type's samples; a row type of the catalog is no built-in type.
    let sql = "select typname::text from pg_type where typnamespace = 'pg_catalog'::regnamespace
               and typtype in ('b', 'r', 'm')
               and not exists (select from pg_type e where e.typarray = pg_type.oid)";
    let there: BTreeSet<String> =
        client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let sampled = SAMPLES.iter().map(|(name, _)| *name).chain(MULTIRANGES.iter().map(|(name, _)| *name));
    let known: BTreeSet<String> = sampled.chain(REFUSED).map(str::to_owned).collect();
    let unknown: Vec<&String> = there.difference(&known).collect();
    assert!(unknown.is_empty(), "neither sampled nor refused: {unknown:?}");
    assert!(known.contains("xml") && there.contains("xml"));
}
