//! A PgBouncer in the way is recognised and named, whatever it pretends; what only forwards is no pooler.

use crate::support::{Bluegreen, Cluster, Forwarder, Pooler};

const PLAN: &str =
    "version: 1\nname: pooled\ntables:\n  - table: public.t\n    partition_by: {hash: id, partitions: 2}\n";

/// The pooling mode, what its configuration says of `options`, and how it is known then.
const POOLERS: [(&str, &str, &str); 4] = [
    ("transaction", "", "unsupported startup parameter"),
    ("session", "", "unsupported startup parameter"),
    ("transaction", "ignore_startup_parameters = options", "the login announced process"),
    ("session", "ignore_startup_parameters = options", "the login announced process"),
];

#[test]
fn a_pooler_is_named_and_a_forwarded_port_is_none() {
    let cluster = Cluster::start();
    let db = cluster.create_db("pooled");
    cluster.psql(db, "create table t (id int primary key); insert into t select generate_series(1, 100)");
    let before = cluster.pg_dump(db, &[]);
    let program = |port: u16| Bluegreen::new(&cluster, db).plan(PLAN).env("PGPORT", &port.to_string());
    for (mode, lines, known_by) in POOLERS {
        let pooler = Pooler::start(&cluster, mode, lines);
        let words = ["pooler such as PgBouncer", "connect to the server directly", known_by];
        let program = program(pooler.port());
        for args in [&["check", "plan.yaml"][..], &["execute", "plan.yaml", "--yes"], &["status"]] {
            program.say(args).expect_code(3).expect_words(&words);
        }
    }
    assert_eq!(cluster.pg_dump(db, &[]), before);
    // Another address, another port, a socket: the way does not matter.
    let forwarder = Forwarder::to(cluster.port());
    let directory = cluster.socket_directory().to_str().unwrap().to_owned();
    program(cluster.port()).env("PGHOST", &directory).say(&["check", "plan.yaml"]).expect_code(0);
    let forwarded = program(forwarder.port());
    forwarded.say(&["check", "plan.yaml"]).expect_code(0);
    forwarded.say(&["execute", "plan.yaml", "--yes"]).expect_code(0);
}
