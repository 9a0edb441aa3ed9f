//! A certificate authority for a test, and a server that shows its certificate.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Cluster;
use crate::support::cluster::Builder;

/// A server that takes SCRAM passwords only, over TLS for `tlsonly` and without for `plainonly`, and a
/// certificate of `cert`. With these settings, too.
pub fn scram_server(directory: &Path, settings: &[(&str, &str)]) -> (Cluster, PathBuf) {
    let authority = certificates(directory);
    let builder = Cluster::builder()
        .hba(
            "local all scram scram-sha-256\nlocal all all trust\nhost all postgres 127.0.0.1/32 trust\n\
             hostssl all tlsonly 127.0.0.1/32 scram-sha-256\n\
             hostnossl all plainonly 127.0.0.1/32 scram-sha-256\n\
             host all md5 127.0.0.1/32 md5\nhost all clear 127.0.0.1/32 password\n\
             host all scram 127.0.0.1/32 scram-sha-256\nhost all scram ::1/128 scram-sha-256\n\
             hostssl all cert 127.0.0.1/32 cert\n",
        )
        .setting("ssl", "on")
        .setting("ssl_cert_file", directory.join("server.crt").to_str().unwrap())
        .setting("ssl_key_file", directory.join("server.key").to_str().unwrap())
        .setting("ssl_ca_file", authority.to_str().unwrap());
    let set = |builder: Builder, (name, value): &(&str, &str)| builder.setting(name, value);
    let cluster = settings.iter().fold(builder, set).start();
    for role in ["tlsonly", "plainonly", "clear", "scram", "cert"] {
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
    // Of version 1, for want of extensions.
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out old.crt");
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days -1 -extfile names -out expired.crt",
    );
    openssl("req -new -nodes -subj /CN=cert -keyout client.key -out client.csr");
    openssl("x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out client.crt");
    // The server runs under another account when the tests run as root.
    let owner = Command::new("chown").arg("postgres").arg(directory.join("server.key")).output().unwrap();
    let _ = owner.status;
    for (file, mode) in [("server.key", 0o600), ("client.key", 0o600), (".", 0o755)] {
        std::fs::set_permissions(directory.join(file), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    directory.join("ca.crt")
}
