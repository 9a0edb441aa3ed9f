//! Who gets in, how well protected, and why others do not.

use projh_bluegreen::testing::pg::connect::ConnectError;

use super::certificates::scram_server;
use super::{replication, sql};
use crate::support::Cluster;

#[tokio::test]
async fn passwords_are_given_in_every_way_and_bound_to_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, authority) = scram_server(directory.path(), &[]);
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
    let (cluster, authority) = scram_server(directory.path(), &[]);
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
