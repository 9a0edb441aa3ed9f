//! Who is not let in, and what of a server cannot be trusted: told in words that say what to do.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

use crate::connections::certificates::scram_server;
use crate::support::waiting::PATIENCE;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";
const PLAN: &str =
    "version: 1\nname: barred\ntables:\n  - table: public.t\n    partition_by: {hash: id, partitions: 2}\n";

/// Variables beside those of a role that gets in, and what is said.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

fn each_is_told(cluster: &Cluster, cases: &[Case<'_>]) {
    for (variables, words) in cases {
        let base = [("PGUSER", "scram"), ("PGPASSWORD", "sesame"), ("PGSSLMODE", "prefer")];
        let program = base
            .iter()
            .chain(*variables)
            .fold(Bluegreen::new(cluster, DB).plan(PLAN), |program, (name, value)| program.env(name, value));
        for args in [&["check", "plan.yaml"][..], &["execute", "plan.yaml", "--yes"]] {
            let said = program.say(args).expect_code(1).expect_words(words);
            assert!(!said.stderr.contains("sesame"), "{}", said.stderr);
        }
    }
}

#[test]
fn who_is_not_let_in_is_told_why_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, authority) = scram_server(directory.path(), &[]);
    cluster.psql(DB, "create table t (id int primary key); create role clear_up login");
    cluster.create_db("closed");
    cluster.psql(DB, "revoke connect on database closed from public");
    let before = cluster.pg_dump(DB, &[]);
    let authority = authority.to_str().unwrap();
    let other = directory.path().join("other.crt").display().to_string();
    let by_name = ("PGHOST", "localhost");
    each_is_told(
        &cluster,
        &[
            (
                &[("PGPASSWORD", "wrong")],
                &["rejected the password of role `scram`, which was read from PGPASSWORD"],
            ),
            (
                &[("PGPASSWORD", "")],
                &["asks for the password of role `scram`", "set PGPASSWORD", "~/.pgpass"],
            ),
            (&[("PGUSER", "nobody")], &["does not let role `nobody` in", "no pg_hba.conf entry", "\\du"]),
            (&[("PGUSER", "clear_up")], &["does not let role `clear_up` in", "pg_hba.conf"]),
            (&[("PGDATABASE", "none")], &["has no database `none`", "psql -l"]),
            (&[("PGDATABASE", "closed")], &["role `scram`", "permission denied for database \"closed\""]),
            (
                &[("PGUSER", "plainonly"), ("PGSSLMODE", "require")],
                &["role `plainonly`", "no pg_hba.conf entry"],
            ),
            (
                &[("PGSSLMODE", "disable"), ("PGCHANNELBINDING", "require")],
                &["does not bind the login to TLS", "channel_binding=prefer"],
            ),
            (
                &[by_name, ("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", &other)],
                &["is not trusted", "it is not signed by a trusted certificate", "PGSSLROOTCERT"],
            ),
            (
                &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", authority)],
                &["is for another host", "subjectAltName", "verify-ca"],
            ),
        ],
    );
    let certificates: [(&str, &[&str]); 2] = [
        ("old.crt", &["X.509 version 1", "-extfile"]),
        ("expired.crt", &["is not trusted", "it has expired", "needs a new one"]),
    ];
    for (certificate, told) in certificates {
        let shown = directory.path().join(certificate).display().to_string();
        cluster.psql(DB, &format!("alter system set ssl_cert_file = '{shown}'"));
        cluster.psql(DB, "select pg_reload_conf()");
        let until = Instant::now() + PATIENCE;
        while cluster.psql(DB, "show ssl_cert_file").trim() != shown {
            assert!(Instant::now() < until, "the server does not show {certificate}");
        }
        let checked: &[_] = &[by_name, ("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", authority)];
        each_is_told(&cluster, &[(checked, told)]);
    }
    assert_eq!(cluster.pg_dump(DB, &[]), before);
}

#[test]
fn a_server_without_tls_or_without_room_says_so_and_databases_are_all_that_pg_hba_has_to_allow() {
    let hba =
        "host postgres postgres 127.0.0.1/32 trust\nhost postgres mover,full_up,sleeper 127.0.0.1/32 trust\n";
    let cluster = Cluster::builder().hba(hba).start();
    cluster.psql(
        DB,
        "create table t (id int primary key); create role mover login replication; alter table t owner to mover; grant pg_read_all_stats to mover;
         grant create on database postgres to mover; grant create on schema public to mover;
         create role full_up login replication connection limit 0; create role sleeper",
    );
    each_is_told(
        &cluster,
        &[
            (
                &[("PGUSER", "mover"), ("PGSSLMODE", "require")],
                &["does not offer TLS, and sslmode=require demands it", "sslmode=prefer"],
            ),
            (
                &[("PGUSER", "mover"), ("PGSSLMODE", "verify-full")],
                &["does not offer TLS, and sslmode=verify-full demands it"],
            ),
            (
                &[("PGUSER", "full_up")],
                &["has no connection left", "too many connections for role \"full_up\""],
            ),
            (&[("PGUSER", "sleeper")], &["does not let role `sleeper` in", "not permitted to log in"]),
            (&[("PGUSER", "other")], &["no pg_hba.conf entry for host"]),
        ],
    );
    let program = Bluegreen::new(&cluster, DB).plan(PLAN).env("PGUSER", "mover");
    for (limited, set, back) in [
        (
            "to database \"postgres\"",
            "alter database postgres connection limit 9",
            "alter database postgres connection limit -1",
        ),
        ("for role \"mover\"", "alter role mover connection limit 9", "alter role mover connection limit -1"),
    ] {
        cluster.psql(DB, set);
        let words = [
            limited,
            "a run with 4 workers needs up to 15",
            "lower settings.workers, or",
            "connection limit -1",
        ];
        program.say(&["check", "plan.yaml"]).expect_code(3).expect_words(&words);
        cluster.psql(DB, back);
    }
    // A logical stream logs in to its database: no entry for `replication` is needed.
    program.say(&["check", "plan.yaml"]).expect_code(0);
    program.say(&["execute", "plan.yaml", "--yes"]).expect_code(0);
}

#[test]
fn a_server_that_is_starting_is_not_taken_for_one_that_refuses() {
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let starting = std::thread::spawn(move || {
        let (mut client, _) = server.accept().unwrap();
        let mut startup = [0; 8];
        client.read_exact(&mut startup).unwrap();
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let length = u32::try_from(4 + fields.len()).unwrap().to_be_bytes();
        client.write_all(&[b"E", &length[..], fields].concat()).unwrap();
    });
    let program = Bluegreen::alone().plan(PLAN).env("PGHOST", "127.0.0.1").env("PGPORT", &port);
    let program = program.env("PGUSER", "u").env("PGSSLMODE", "disable");
    program.say(&["check", "plan.yaml"]).expect_code(1).expect_words(&[
        "accepts no connections now",
        "the database system is starting up",
        "try again when it has started",
    ]);
    starting.join().unwrap();
}
