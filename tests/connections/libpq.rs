//! What psql finds its way with, we do too: variables, files, sockets, addresses, certificates; and a
//! replication connection finds the same way as one for SQL.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use projh_bluegreen::testing::pg::connect::{ConnectError, Target};
use projh_bluegreen::testing::replication::{ReplicationError, Walsender};

use super::certificates::scram_server;
use crate::support::Cluster;
use crate::support::waiting::until;

/// Variables, and who we are then: the role, and whether the connection is encrypted.
type Way = (Vec<(&'static str, String)>, &'static str, bool);

fn resolve(variables: &[(&str, String)]) -> Result<Target, ConnectError> {
    Target::resolve(None, &|name| {
        variables.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    })
}

fn write(path: &Path, text: &str, mode: u32) -> String {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

/// Whether both kinds of connection get in, as this role and with this protection.
async fn leads_in(cluster: &Cluster, (variables, role, encrypted): &Way) {
    let target = resolve(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    let session =
        target.connect("it sql", &[]).await.unwrap_or_else(|error| panic!("{variables:?}: {error}"));
    let walsender = Walsender::connect(&target, "it replication", &[]).await;
    let walsender = walsender.unwrap_or_else(|error| panic!("replication {variables:?}: {error}"));
    let sql = "select string_agg(concat_ws(' ', backend_type, usename, ssl), ', ' order by backend_type)
               from pg_stat_activity join pg_stat_ssl using (pid) where application_name like 'it %'";
    let ssl = if *encrypted { "t" } else { "f" };
    let expected = format!("client backend {role} {ssl}, walsender {role} {ssl}");
    assert_eq!(cluster.psql("postgres", sql).trim(), expected, "{variables:?}");
    walsender.close().await;
    drop(session);
    until("both are gone", async || cluster.psql("postgres", sql).trim().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_that_libpq_knows_leads_in() {
    let directory = tempfile::tempdir().unwrap();
    let sockets = directory.path().join("sockets");
    std::fs::create_dir(&sockets).unwrap();
    std::fs::set_permissions(&sockets, std::fs::Permissions::from_mode(0o777)).unwrap();
    let nameless = format!("@projh-it-{}", std::process::id());
    let has_ipv6 = TcpListener::bind(("::1", 0)).is_ok();
    if !has_ipv6 {
        println!("not run: this machine has no ::1");
    }
    let places = format!("{}, {nameless}", sockets.display());
    let listen = if has_ipv6 { "127.0.0.1, ::1" } else { "127.0.0.1" };
    let settings = [("unix_socket_directories", places.as_str()), ("listen_addresses", listen)];
    let (cluster, authority) = scram_server(directory.path(), &settings);
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (port, authority) = (cluster.port().to_string(), authority.display().to_string());
    let text = |text: &str| text.to_owned();
    let passfile = write(&directory.path().join("passwords"), &format!("*:{port}:*:scram:sesame\n"), 0o600);
    let home = directory.path().join("home");
    std::fs::create_dir(&home).unwrap();
    write(&home.join(".pgpass"), &format!("127.0.0.1:{port}:postgres:scram:sesame\n"), 0o600);
    let service = format!(
        "[ours]\nhost=localhost\nhostaddr=127.0.0.1\nport={port}\nuser=scram\npassword=sesame\ndbname=postgres\n\
         sslmode=verify-full\nsslrootcert={authority}\n"
    );
    let services = write(&directory.path().join("services"), &service, 0o644);
    let base = || {
        vec![
            ("PGHOST", text("127.0.0.1")),
            ("PGPORT", port.clone()),
            ("PGUSER", text("scram")),
            ("PGPASSWORD", text("sesame")),
            ("PGDATABASE", text("postgres")),
        ]
    };
    let with = |more: &[(&'static str, &str)]| {
        let mut variables = base();
        variables.extend(more.iter().map(|(name, value)| (*name, text(value))));
        variables
    };
    let by_name =
        [("PGHOST", "localhost"), ("PGHOSTADDR", "127.0.0.1"), ("PGSSLROOTCERT", authority.as_str())];
    let ports = format!("1,{port}");
    let mut ways: Vec<Way> = vec![
        (with(&[]), "scram", true),
        (
            vec![(
                "DATABASE_URL",
                format!("postgres://scram:sesame@127.0.0.1:{port}/postgres?sslmode=disable"),
            )],
            "scram",
            false,
        ),
        (with(&[("PGSSLMODE", "disable")]), "scram", false),
        (with(&[("PGSSLMODE", "allow")]), "scram", false),
        (with(&[("PGSSLMODE", "prefer")]), "scram", true),
        (with(&[("PGSSLMODE", "require")]), "scram", true),
        (with(&[&by_name[..], &[("PGSSLMODE", "verify-ca")]].concat()), "scram", true),
        (with(&[&by_name[..], &[("PGSSLMODE", "verify-full")]].concat()), "scram", true),
        (with(&[("PGSSLMODE", "require"), ("PGCHANNELBINDING", "require")]), "scram", true),
        (with(&[("PGPASSWORD", ""), ("PGPASSFILE", &passfile)]), "scram", true),
        (with(&[("PGPASSWORD", ""), ("HOME", &home.display().to_string())]), "scram", true),
        (vec![("PGSERVICE", text("ours")), ("PGSERVICEFILE", services)], "scram", true),
        (
            with(&[
                ("PGUSER", "cert"),
                ("PGPASSWORD", ""),
                ("PGSSLCERT", &at("client.crt")),
                ("PGSSLKEY", &at("client.key")),
            ]),
            "cert",
            true,
        ),
        (with(&[("PGHOST", &sockets.display().to_string())]), "scram", false),
        (with(&[("PGHOST", &nameless)]), "scram", false),
        (with(&[("PGHOST", "127.0.0.1,127.0.0.1"), ("PGPORT", &ports)]), "scram", true),
        (
            with(&[("PGOPTIONS", "-c my.own=7"), ("PGAPPNAME", "mine"), ("PGCONNECT_TIMEOUT", "9")]),
            "scram",
            true,
        ),
    ];
    if has_ipv6 {
        ways.push((with(&[("PGHOST", "::1")]), "scram", true));
        let url = format!("postgres://scram:sesame@[::1]:{port}/postgres");
        ways.push((vec![("DATABASE_URL", url)], "scram", true));
    }
    for way in &ways {
        leads_in(&cluster, way).await;
    }
    let session = resolve(&with(&[("PGOPTIONS", "-c my.own=7")])).unwrap().connect("it", &[]).await.unwrap();
    let own = session.query_one("select current_setting('my.own')", &[]).await.unwrap();
    assert_eq!(own.get::<_, String>(0), "7");

    // What is as open as a postcard is not used.
    write(Path::new(&passfile), "*:*:*:*:sesame\n", 0o640);
    let error = resolve(&with(&[("PGPASSWORD", ""), ("PGPASSFILE", &passfile)]))
        .unwrap()
        .connect("it", &[])
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&format!("chmod 600 {passfile}")), "{error}");
    let key = at("client.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let cert = with(&[
        ("PGUSER", "cert"),
        ("PGSSLMODE", "require"),
        ("PGSSLCERT", &at("client.crt")),
        ("PGSSLKEY", &key),
    ]);
    let error = resolve(&cert).unwrap().connect("it", &[]).await.unwrap_err();
    assert!(error.to_string().contains(&format!("chmod 600 {key}")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_one_that_takes_writes_is_found() {
    let reads = Cluster::builder().setting("default_transaction_read_only", "on").start();
    let writes = Cluster::start();
    let ports = format!("{},{}", reads.port(), writes.port());
    let reached = async |wanted: &str| {
        let text = format!(
            "host=127.0.0.1,127.0.0.1 port={ports} user=postgres dbname=postgres target_session_attrs={wanted}"
        );
        let target = Target::resolve(Some(&text), &|_| None).unwrap();
        let session = target.connect("it", &[]).await.unwrap();
        Walsender::connect(&target, "it replication", &[]).await.unwrap().close().await;
        u16::try_from(session.query_one("select inet_server_port()", &[]).await.unwrap().get::<_, i32>(0))
            .unwrap()
    };
    assert_eq!(reached("read-write").await, writes.port());
    assert_eq!(reached("primary").await, reads.port());
    assert_eq!(reached("any").await, reads.port());
    let only = format!("host=127.0.0.1 port={} user=postgres target_session_attrs=read-write", reads.port());
    let error = Target::resolve(Some(&only), &|_| None).unwrap().connect("it", &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Standby { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_not_waited_for_longer_than_asked() {
    // Takes connections, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = format!("host=127.0.0.1 port={port} user=u connect_timeout=2 sslmode=disable");
    let target = Target::resolve(Some(&text), &|_| None).unwrap();
    let (sql, replication) = tokio::join!(target.connect("it", &[]), Walsender::connect(&target, "it", &[]));
    assert!(matches!(sql, Err(ConnectError::Timeout { .. })), "{sql:?}");
    let is_timeout = matches!(replication, Err(ReplicationError::Connect(ConnectError::Timeout { .. })));
    assert!(is_timeout, "{replication:?}");
}
