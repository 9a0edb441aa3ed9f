//! Who gets in, how well protected, and what a session of ours looks like from the inside.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use projh_bluegreen::pg::connect::{ConnectError, Session, Target};
use projh_bluegreen::replication::{ReplicationError, Walsender};

use crate::support::Cluster;

fn target(text: &str) -> Target {
    Target::resolve(Some(text), &|_| None).unwrap()
}

async fn sql(text: &str) -> Result<Session, ConnectError> {
    target(text).connect("it", &[]).await
}

async fn replication(text: &str) -> Result<Walsender, ConnectError> {
    Walsender::connect(&target(text), "it", &[]).await.map_err(|error| match error {
        ReplicationError::Connect(error) => error,
        other => panic!("{other}"),
    })
}

/// Both kinds of connection must come to the same end.
macro_rules! both_fail {
    ($text:expr, $pattern:pat) => {
        let text: &str = &$text;
        let error = sql(text).await.unwrap_err();
        assert!(matches!(error, $pattern), "{text}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
        let error = replication(text).await.unwrap_err();
        assert!(matches!(error, $pattern), "replication {text}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
    };
}

/// A server that takes SCRAM passwords only, over TLS for `tlsonly` and without for `plainonly`.
fn scram_server(directory: &Path) -> (Cluster, PathBuf) {
    let authority = certificates(directory);
    let cluster = Cluster::builder()
        .hba(
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\n\
             hostssl all tlsonly 127.0.0.1/32 scram-sha-256\n\
             hostnossl all plainonly 127.0.0.1/32 scram-sha-256\n\
             host all md5 127.0.0.1/32 md5\nhost all clear 127.0.0.1/32 password\n\
             host all scram 127.0.0.1/32 scram-sha-256\n",
        )
        .setting("ssl", "on")
        .setting("ssl_cert_file", directory.join("server.crt").to_str().unwrap())
        .setting("ssl_key_file", directory.join("server.key").to_str().unwrap())
        .start();
    for role in ["tlsonly", "plainonly", "clear", "scram"] {
        cluster.psql("postgres", &format!("create role {role} login replication password 'sesame'"));
    }
    cluster.psql(
        "postgres",
        "set password_encryption = 'md5'; create role md5 login replication password 'sesame'",
    );
    (cluster, authority)
}

/// An authority and a certificate of it for `localhost` in `directory`.
fn certificates(directory: &Path) -> PathBuf {
    let openssl = |arguments: &str| {
        let done =
            Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(directory.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    openssl("req -new -x509 -days 2 -nodes -subj /CN=authority -keyout ca.key -out ca.crt");
    openssl("req -new -x509 -days 2 -nodes -subj /CN=other -keyout other.key -out other.crt");
    openssl("req -new -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
    // The server runs under another account when the tests run as root.
    let owner = Command::new("chown").arg("postgres").arg(directory.join("server.key")).output().unwrap();
    let _ = owner.status;
    for (file, mode) in [("server.key", 0o600), (".", 0o755)] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(directory.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    directory.join("ca.crt")
}

#[tokio::test]
async fn passwords_are_given_in_every_way_and_bound_to_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, authority) = scram_server(directory.path());
    let (port, authority) = (cluster.port(), authority.display());
    let base = format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=postgres password=sesame");
    for rest in [
        "user=scram sslmode=disable".to_owned(),
        "user=scram sslmode=require channel_binding=require".to_owned(),
        format!("user=scram sslmode=verify-ca sslrootcert={authority}"),
        format!("user=scram sslmode=verify-full sslrootcert={authority} channel_binding=require"),
        "user=tlsonly sslmode=allow".to_owned(),
        "user=plainonly sslmode=prefer".to_owned(),
        "user=md5".to_owned(),
        "user=clear".to_owned(),
    ] {
        let text = format!("{base} {rest}");
        let session = sql(&text).await.unwrap_or_else(|error| panic!("{rest}: {error}"));
        let row =
            session.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await.unwrap();
        let plain = rest.contains("disable") || rest.contains("plainonly");
        assert_eq!(row.get::<_, bool>(0), !plain, "{rest}");
        replication(&text).await.unwrap_or_else(|error| panic!("replication {rest}: {error}"));
    }
}

#[tokio::test]
async fn a_refusal_says_what_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, authority) = scram_server(directory.path());
    let (port, authority) = (cluster.port(), authority.display());
    let other = directory.path().join("other.crt");
    let base = format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=postgres user=scram");
    let good = format!("{base} password=sesame");
    both_fail!(base, ConnectError::PasswordMissing { .. });
    both_fail!(format!("{base} password=sesame2"), ConnectError::Password { .. });
    both_fail!(format!("{good} user=plainonly sslmode=require"), ConnectError::Role { .. });
    both_fail!(format!("{good} user=nobody"), ConnectError::Role { .. });
    both_fail!(format!("{good} dbname=none"), ConnectError::Database { .. });
    both_fail!(format!("{good} sslmode=disable channel_binding=require"), ConnectError::NotBound { .. });
    both_fail!(
        format!("{good} sslmode=verify-ca sslrootcert={}", other.display()),
        ConnectError::Untrusted { .. }
    );
    both_fail!(format!("{good} sslrootcert=system"), ConnectError::Untrusted { .. });
    both_fail!(
        format!("{good} host=127.0.0.1 sslmode=verify-full sslrootcert={authority}"),
        ConnectError::WrongHost { .. }
    );
    cluster.psql("postgres", "alter role scram noreplication");
    let error = replication(&good).await.unwrap_err();
    assert!(matches!(error, ConnectError::Privilege { .. }), "{error:?}");

    let plain = Cluster::start();
    let text = plain.url("postgres");
    both_fail!(format!("{text}?sslmode=require"), ConnectError::TlsRefused { .. });
    drop(plain);
    both_fail!(text, ConnectError::Unreachable { .. });
    assert!(sql(&text).await.unwrap_err().is_transient());
}

#[tokio::test]
async fn a_session_is_the_same_whatever_the_role_and_the_database_say() {
    let cluster = Cluster::start();
    cluster.psql(
        "postgres",
        "alter role postgres set search_path = evil; alter role postgres set \"TimeZone\" = 'Asia/Kabul'; \
         alter role postgres set \"DateStyle\" = 'German'; alter role postgres set bytea_output = 'escape'; \
         alter role postgres set statement_timeout = '1s'; alter database postgres set extra_float_digits = 0; \
         alter role postgres set idle_in_transaction_session_timeout = '1s'",
    );
    let settings = [("lock_timeout", "1234ms"), ("application_name", "a b\\c")];
    let session = target(&cluster.url("postgres")).connect("it", &settings[..1]).await.unwrap();
    for (name, expected) in [
        ("row_security", "off"),
        ("search_path", "pg_catalog"),
        ("TimeZone", "UTC"),
        ("bytea_output", "hex"),
        ("statement_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("extra_float_digits", "1"),
        ("lock_timeout", "1234ms"),
        ("application_name", "it"),
    ] {
        let row = session.query_one("select current_setting($1)", &[&name]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), expected, "{name}");
    }
    let row = session.query_one("select date '2026-02-01'::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "2026-02-01");
    let session = target(&cluster.url("postgres")).connect("it", &[("my.blank", "a b\\c")]).await.unwrap();
    let row = session.query_one("select current_setting('my.blank')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "a b\\c");
    let version = session.query_one("show server_version_num", &[]).await.unwrap();
    assert_eq!(session.server_version_num().to_string(), version.get::<_, String>(0));
}

#[tokio::test]
async fn a_session_can_be_cancelled_ended_and_dropped() {
    let cluster = Cluster::start();
    let target = target(&cluster.url("postgres"));
    let session = target.connect("victim", &[]).await.unwrap();
    let canceller = session.canceller();
    let (slept, cancelled) = tokio::join!(session.batch_execute("select pg_sleep(30)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        canceller.cancel().await
    });
    cancelled.unwrap();
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");

    cluster.psql(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'",
    );
    while !session.is_closed() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(session.ended_by().unwrap().code(), "57P01");

    let session = target.connect("dropped", &[]).await.unwrap();
    session.batch_execute("select 1").await.unwrap();
    drop(session);
    let count = "select count(*) from pg_stat_activity where application_name = 'dropped'";
    for _ in 0..500 {
        if cluster.psql("postgres", count).trim() == "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a dropped session is still connected");
}
