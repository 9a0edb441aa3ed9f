//! What has a table's name and is none, names that are not there, and partitions that cannot be.

use crate::support::{Bluegreen, Cluster};

const SCHEMA: &str = "
create extension file_fdw;
create server files foreign data wrapper file_fdw;
create schema app; create schema other;
create foreign table app.far (id int) server files options (filename '/dev/null');
create table app.parted (id int primary key) partition by range (id);
create table app.part partition of app.parted for values from (0) to (10);
create view app.shown as select 1 as id;
create materialized view app.kept as select 1 as id;
create sequence app.numbers;
create unlogged table app.quick (id int primary key);
create type app.pair as (a int, b int);
create extension hstore;
create table app.member (id int primary key);
alter extension hstore add table app.member;
create table app.\"Visits\" (id int primary key);
create table other.bills (id int primary key);
create table app.keyless (id int, at timestamptz not null);
create table app.nullable (a int unique);
create table app.twice (a int not null); insert into app.twice values (1), (1), (2);
create table app.unique_only (id int not null unique, at timestamptz not null);
create table app.things (
    id bigint primary key, at timestamptz, day date not null, name text not null, amount numeric not null,
    code uuid not null, flag boolean not null);
insert into app.things select n, now(), date '2025-01-01' + n, n, n, gen_random_uuid(), true from generate_series(0, 9) n;
";

/// What stands under `tables:`, and what is said of it; the first word is where.
const CASES: &[(&str, &[&str])] = &[
    ("table: app.far", &["app.far: it is a foreign table", "name a table"]),
    ("table: app.part", &["app.part: it is a partition of app.parted", "detach partition app.part"]),
    ("table: app.shown", &["app.shown: it is a view"]),
    ("table: app.kept", &["app.kept: it is a materialized view"]),
    ("table: app.numbers", &["app.numbers: it is a sequence"]),
    ("table: app.pair", &["app.pair: it is a composite type"]),
    ("table: app.things_pkey", &["app.things_pkey: it is an index"]),
    ("table: app.quick", &["app.quick: it is unlogged", "alter table app.quick set logged"]),
    (
        "table: app.member",
        &[
            "app.member: it belongs to an extension: hstore",
            "alter extension hstore drop table app.member; and add it again",
        ],
    ),
    ("table: pg_catalog.pg_class", &["pg_catalog.pg_class: it belongs to PostgreSQL itself"]),
    ("table: information_schema.sql_features", &["it belongs to PostgreSQL itself"]),
    ("table: pg_temp.visits", &["pg_temp.visits: a temporary table belongs to its session alone"]),
    ("table: projh_bluegreen.run", &["it belongs to this program's runs"]),
    (
        "table: things",
        &["public.things: there is no such table in database \"kinds\"", "did you mean app.things?"],
    ),
    ("table: app.bills", &["app.bills: there is no such table", "did you mean other.bills?"]),
    ("table: app.thngs", &["app.thngs: there is no such table", "did you mean app.things?"]),
    ("table: app.Visits", &["app.visits: there is no such table", "did you mean app.\"Visits\"?"]),
    ("table: app.nothing_like_it", &["there is no such table", "correct the name"]),
    (
        "table: app.keyless",
        &[
            "no key of app.keyless",
            "alter table app.keyless add primary key",
            "`replica_identity: full` in the plan",
            "add column id bigint generated always as identity primary key",
        ],
    ),
    (
        "table: app.nullable",
        &[
            "alter column a set not null, alter table app.nullable replica identity using index nullable_a_key",
        ],
    ),
    (
        "table: app.twice\n    primary_key: [a]\n    replica_identity: full",
        &["1 values of (\"a\"), the plan's primary key, have several rows each"],
    ),
    (
        "table: app.unique_only",
        &["no key of app.unique_only", "replica identity using index \"unique_only_id_key\""],
    ),
    (
        "table: app.things\n    partition_by: {range: dya, every: month}",
        &["no column (after the changes) \"dya\"", "did you mean \"day\"?"],
    ),
    (
        "table: app.things\n    partition_by: {range: day, every: month}",
        &["lacks the partition key \"day\"", "write in the plan: primary_key: [id, day]"],
    ),
    (
        "table: app.things\n    partition_by: {range: at, every: month}\n    primary_key: [id, at]",
        &["column \"at\" of the primary key can be NULL", "set not null"],
    ),
    (
        "table: app.things\n    partition_by: {range: name, every: month}\n    primary_key: [id, name]",
        &["column \"name\" has type text", "name a date or timestamp"],
    ),
    (
        "table: app.things\n    partition_by: {range: amount, every: 1 day}\n    primary_key: [id, amount]",
        &["column \"amount\" has type numeric"],
    ),
    (
        "table: app.things\n    partition_by: {range: code, bounds: [1, 2]}\n    primary_key: [id, code]",
        &["a bound does not fit the partition key: invalid input syntax for type uuid: \"1\""],
    ),
    (
        "table: app.things\n    partition_by: {range: name, bounds: [b, a]}\n    primary_key: [id, name]",
        &["empty range bound"],
    ),
    (
        "table: app.things\n    partition_by: {list: flag, partitions: {one: [true], two: ['t']}}\n    primary_key: [id, flag]",
        &["would overlap partition"],
    ),
    (
        "table: app.things\n    partition_by: {range: day, bounds: [2025-01-03, 2025-01-06], default: false}\n    primary_key: [id, day]",
        &["app.things: 7 rows fit into none of the partitions by \"day\"", "default: true"],
    ),
    (
        "table: app.things\n    primary_key: [id, nmae]",
        &["no column (after the changes) \"nmae\"", "did you mean \"name\"?"],
    ),
    ("table: app.things\n    columns: {flg: drop}", &["has no column \"flg\"", "did you mean \"flag\"?"]),
    (
        "table: app.things\n    indexes: [create index i on things (lower(nmae))]",
        &["column \"nmae\" does not exist", "did you mean \"name\"?"],
    ),
    (
        "table: app.things\n    indexes: [create index bills_pkey on things (id), create index keyless on things (id)]",
        &["already has a relation or type \"keyless\"", "another name"],
    ),
    ("table: app.things\n    add_columns: [more nosuchtype]", &["type \"nosuchtype\" does not exist"]),
    ("table: app.things\n    add_columns: [flag text]", &["two columns would be called \"flag\""]),
];

#[test]
fn what_cannot_be_migrated_is_told_by_name_and_nothing_is_changed() {
    let cluster = Cluster::start();
    let db = cluster.create_db("kinds");
    cluster.psql(db, SCHEMA);
    let before = cluster.pg_dump(db, &[]);
    let program = Bluegreen::new(&cluster, db);
    for (table, words) in CASES {
        program.write_plan(&format!("version: 1\nname: kinds\ntables:\n  - {table}\n"));
        let checked = program.say(&["check", "plan.yaml"]).expect_code(3).expect_words(words);
        assert_eq!(checked.stderr.matches("refused: ").count(), 1, "{table}:\n{}", checked.stderr);
        assert!(checked.stderr.contains("nothing was changed"), "{}", checked.stderr);
    }
    program.say(&["execute", "plan.yaml", "--yes"]).expect_code(3);
    assert_eq!(cluster.pg_dump(db, &[]), before);
    let left = "select slot_name from pg_replication_slots union all select nspname from pg_namespace where nspname ~ '^projh'";
    assert_eq!(cluster.psql(db, left).trim(), "");
}
