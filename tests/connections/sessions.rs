//! What a session of ours looks like from the inside, and how it ends.

use std::time::Duration;

use projh_bluegreen::testing::pg::is_transient;

use super::target;
use crate::support::Cluster;
use crate::support::waiting::until;

#[tokio::test]
async fn a_session_is_the_same_whatever_the_role_and_the_database_say() {
    let cluster = Cluster::start();
    cluster.psql(
        "postgres",
        "alter role postgres set search_path = evil; alter role postgres set \"TimeZone\" = 'Asia/Kabul'; \
         alter role postgres set \"DateStyle\" = 'German'; alter role postgres set bytea_output = 'escape'; \
         alter role postgres set statement_timeout = '1s'; alter database postgres set extra_float_digits = 0; \
         alter role postgres set idle_in_transaction_session_timeout = '1s'; \
         alter role postgres set idle_session_timeout = '1s'; alter role postgres set lock_timeout = '1ms'; \
         alter role postgres set quote_all_identifiers = on; alter role postgres set array_nulls = off; \
         alter role postgres set standard_conforming_strings = off; \
         alter role postgres set default_tablespace = 'pg_default'",
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
        ("idle_session_timeout", "0"),
        ("quote_all_identifiers", "off"),
        ("array_nulls", "on"),
        ("standard_conforming_strings", "on"),
        ("default_tablespace", ""),
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
    let row = session.query_one("select current_setting('lock_timeout')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "0");
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
        let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
        until(sleeps, async || cluster.psql("postgres", sleeps).trim() == "1").await;
        canceller.cancel().await
    });
    cancelled.unwrap();
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");

    cluster.psql(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'",
    );
    until("the session is closed", async || session.is_closed()).await;
    assert_eq!(session.ended_by().unwrap().code(), "57P01");

    let session = target.connect("dropped", &[]).await.unwrap();
    session.batch_execute("select 1").await.unwrap();
    drop(session);
    let count = "select count(*) from pg_stat_activity where application_name = 'dropped'";
    until(count, async || cluster.psql("postgres", count).trim() == "0").await;
}

/// The server would not look until it has something to say, which may be hours away, with its locks and its snapshot.
#[tokio::test]
async fn what_runs_in_a_session_that_is_dropped_ends() {
    let cluster = Cluster::start();
    let target = target(&cluster.url("postgres"));
    let observer = target.connect("observer", &[]).await.unwrap();
    let session = target.connect("busy", &[]).await.unwrap();
    let asked = session.batch_execute("begin; create table public.t (); select pg_sleep(600)");
    tokio::time::timeout(Duration::from_millis(300), asked).await.unwrap_err();
    let busy = "select count(*) from pg_stat_activity where application_name = 'busy'";
    assert_eq!(observer.query_one(busy, &[]).await.unwrap().get::<_, i64>(0), 1);
    drop(session);
    until(busy, async || observer.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) == 0).await;
}

/// A server that goes down takes the exporting session first, now and then.
#[tokio::test]
async fn a_snapshot_whose_session_is_gone_is_asked_for_again() {
    let cluster = Cluster::start();
    let target = target(&cluster.url("postgres"));
    let session = target.connect("exports", &[]).await.unwrap();
    session.batch_execute("begin isolation level repeatable read").await.unwrap();
    let snapshot: String = session.query_one("select pg_export_snapshot()", &[]).await.unwrap().get(0);
    drop(session);
    let importer = target.connect("imports", &[]).await.unwrap();
    let import = format!("begin isolation level repeatable read; set transaction snapshot '{snapshot}'");
    let gone = async || match importer.batch_execute(&import).await {
        Ok(()) => importer.batch_execute("rollback").await.map(|()| None).unwrap(),
        Err(error) => Some(error),
    };
    until("the snapshot goes", async || gone().await.is_some_and(|error| is_transient(&error))).await;
    importer.batch_execute("rollback").await.unwrap();
    let other = importer.batch_execute("select make_interval(secs => 'nan')").await.unwrap_err();
    assert!(!is_transient(&other), "{other:?}");
}
