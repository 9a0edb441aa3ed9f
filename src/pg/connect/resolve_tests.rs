use std::os::unix::fs::PermissionsExt;

use super::*;

fn resolve(url: Option<&str>, variables: &[(&str, &str)]) -> Result<Target, ConnectError> {
    let env =
        |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Target::resolve(url, &env)
}

fn password(target: &Target) -> Option<&str> {
    target.endpoints[0].password.as_ref().map(Secret::expose)
}

#[test]
fn the_explicit_string_wins_over_database_url_and_the_variables() {
    let variables =
        [("DATABASE_URL", "postgres://b@b/b"), ("PGHOST", "c"), ("PGUSER", "c"), ("PGPORT", "6000")];
    assert_eq!(resolve(Some("postgres://a@a/a"), &variables).unwrap().label(), "a:6000/a");
    assert_eq!(resolve(None, &variables).unwrap().label(), "b:6000/b");
    assert_eq!(resolve(None, &variables[1..]).unwrap().label(), "c:6000/c");
}

#[test]
fn the_database_defaults_to_the_user_and_the_user_to_the_account() {
    let target = resolve(Some("host=h user=ann"), &[]).unwrap();
    assert_eq!((target.user(), target.database()), ("ann", "ann"));
    let target = resolve(Some("host=h"), &[]).unwrap();
    assert!(!target.user().is_empty());
    assert_eq!(target.user(), target.database());
}

#[test]
fn hosts_may_be_sockets_ipv6_and_lists() {
    let target = resolve(None, &[("PGHOST", "/run/pg"), ("PGPORT", "6000"), ("PGUSER", "u")]).unwrap();
    assert_eq!(target.label(), "/run/pg:6000/u");
    assert_eq!(target.endpoints[0].socket_path().unwrap().to_str(), Some("/run/pg/.s.PGSQL.6000"));
    assert_eq!(resolve(Some("postgres://u@[::1]:7000/d"), &[]).unwrap().label(), "[::1]:7000/d");
    let target = resolve(Some("host=a,b port=1,2 user=u target_session_attrs=read-write"), &[]).unwrap();
    assert_eq!(target.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
    assert_eq!(target.wanted, Wanted::ReadWrite);
    assert!(resolve(Some("host=a,b,c port=1,2 user=u"), &[]).is_err());
}

#[test]
fn libpq_modes_that_tokio_postgres_does_not_know_are_ours() {
    let target = resolve(Some("postgres://u@h/d?sslmode=verify-full&channel_binding=require"), &[]).unwrap();
    assert_eq!(target.tls.mode, SslMode::VerifyFull);
    assert_eq!(target.channel_binding, ChannelBinding::Require);
    let target = resolve(Some("host=h user=u"), &[("PGSSLMODE", "verify-ca")]).unwrap();
    assert_eq!(target.tls.mode, SslMode::VerifyCa);
    let target = resolve(Some("host=h user=u sslrootcert=system"), &[]).unwrap();
    assert_eq!(target.tls.mode, SslMode::VerifyFull);
    assert!(resolve(Some("host=h user=u sslrootcert=system sslmode=require"), &[]).is_err());
}

#[test]
fn bad_values_are_told_with_their_place_and_the_remedy() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        ("host=h", &[("PGPORT", "x")], &["PGPORT", "`x`", "65535"]),
        ("postgres://h:0/d", &[], &["port in the connection string", "`0`"]),
        ("host=h", &[("PGSSLMODE", "verify")], &["PGSSLMODE", "`verify`", "verify-full"]),
        ("host=h conect_timeout=1", &[], &["the connection string", "`conect_timeout`"]),
        ("host=h", &[("PGCONNECT_TIMEOUT", "soon")], &["PGCONNECT_TIMEOUT", "`soon`"]),
        ("host=h sslmode=verify-ca sslrootcert=/nowhere", &[], &["sslrootcert in", "/nowhere"]),
        ("host=h hostaddr=nine", &[], &["hostaddr in", "`nine`"]),
    ];
    for (url, variables, words) in cases {
        let error = resolve(Some(url), variables).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error} lacks {word}");
        }
    }
}

#[test]
fn no_password_is_ever_shown() {
    let target = resolve(Some("postgres://u:sesame@h/d"), &[]).unwrap();
    assert_eq!(password(&target), Some("sesame"));
    let shown = format!("{target} {target:?} {:#?} {}", target, target.label());
    assert!(!shown.contains("sesame"), "{shown}");
    let error = resolve(Some("postgres://u:sesame@h/d?sslmode=x"), &[]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sesame"));
}

#[test]
fn a_service_stands_between_the_string_and_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services");
    std::fs::write(&file, "[two]\nhost=service\nport=6001\ndbname=d\nuser=u\npassword=p\n").unwrap();
    let file = file.to_str().unwrap();
    let variables = [("PGSERVICE", "two"), ("PGSERVICEFILE", file), ("PGHOST", "env"), ("PGPORT", "1")];
    let target = resolve(None, &variables).unwrap();
    assert_eq!(target.label(), "service:6001/d");
    assert_eq!(password(&target), Some("p"));
    assert_eq!(resolve(Some("host=own"), &variables).unwrap().label(), "own:6001/d");
    assert!(resolve(Some("service=three"), &variables).is_err());
}

#[test]
fn the_password_file_is_asked_last_and_told_when_it_is_ignored() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    std::fs::write(&file, "h:5432:d:u:from file\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let home = home.path().to_str().unwrap();
    let target = resolve(Some("postgres://u@h/d"), &[("HOME", home)]).unwrap();
    assert_eq!(password(&target), Some("from file"));
    let target = resolve(Some("postgres://u@h/d"), &[("HOME", home), ("PGPASSWORD", "env")]).unwrap();
    assert_eq!(password(&target), Some("env"));
    assert_eq!(password(&resolve(Some("postgres://u@other/d"), &[("HOME", home)]).unwrap()), None);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let target = resolve(Some("postgres://u@h/d"), &[("HOME", home)]).unwrap();
    assert_eq!(password(&target), None);
    assert!(target.password_note.contains("chmod 600"), "{}", target.password_note);
}

#[test]
fn a_timeout_of_zero_waits_for_ever() {
    assert_eq!(resolve(Some("host=h"), &[("PGCONNECT_TIMEOUT", "0")]).unwrap().connect_timeout, None);
    assert_eq!(resolve(Some("host=h"), &[]).unwrap().connect_timeout, Some(CONNECT_TIMEOUT));
}
