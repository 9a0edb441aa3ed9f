//! A view that does not fit the new table is refused by name before anything is changed; one that is changed during a
//! run stops it.

use crate::support::bluegreen::tells;
use crate::support::waiting::eventually;
use crate::support::{Cluster, each_stops_a_run, stage};

const SCHEMA: &str = "
create role owner; create role mover login replication in role owner; grant pg_read_all_stats to mover;
grant create on database postgres to mover;
create role reporter; create schema app authorization owner; create schema reports; grant usage, create on schema app to mover;
create table app.t (id int primary key, at date not null, hours numeric(9,2) not null, note varchar(10), old text);
insert into app.t select g, date '2026-01-01' + g % 50, g, 'n' || g, '' from generate_series(1, 100) g;
alter table app.t owner to owner;
create view app.fits as select id, at from app.t;
alter view app.fits owner to owner;
";

const PLAN: &str = "
version: 1
name: refused
settings: {workers: 1, soak: 1h}
tables:
  - table: app.t
    partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}
    primary_key: [id, at]
    columns:
      hours: {rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}
      note: {type: text}
      old: drop
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_does_not_fit_is_refused_by_name() {
    let cases = [
        (
            "create view app.v as select id, hours from app.t",
            "does not fit the new table: column",
            "keep column \"hours\"",
        ),
        (
            "create view app.v as select id from app.t where old = ''",
            "does not fit the new table: column",
            "keep column \"old\"",
        ),
        (
            "create view app.v as select id, hours from app.t where old = ''",
            "does not fit the new table: column",
            "keep columns \"hours\", \"old\" as they are",
        ),
        (
            "create view app.v as select id, array[note] as notes from app.t",
            "cannot change data type of view column",
            "drop view app.v",
        ),
        (
            "create view app.v as select id, at from app.t group by id",
            "must appear in the GROUP BY",
            "drop view app.v",
        ),
        (
            "create view app.v as select t from app.t",
            "cannot change data type of view column",
            "drop view app.v",
        ),
        (
            "create view app.v as select 1; create rule r as on insert to app.v do instead insert into app.t (hours) values (1)",
            "column \"hours\"",
            "drop view app.v",
        ),
    ];
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    program.run("check", &[]).expect_code(0);
    for (sql, what, hint) in cases {
        client.batch_execute(sql).await.unwrap();
        let checked = program.run("check", &[]).expect_code(3);
        let refusals = checked.refusals().into_iter();
        let found: Vec<_> = refusals.filter(|finding| finding["check"] == "dependents").collect();
        assert_eq!(found.len(), 1, "{sql}: {found:#?}");
        let finding = found[0];
        assert!(tells(finding, what, hint), "{sql}: {finding}");
        assert!(tells(finding, "view app.v", "create it again after the swap"), "{sql}: {finding}");
        client.batch_execute("drop view app.v").await.unwrap();
    }
    // A column that is retyped may be used where no column of the view is of its type.
    client.batch_execute("create view app.v as select id from app.t where note <> ''").await.unwrap();
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_a_views_owner_are_required() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let program = program.env("PGUSER", "mover");
    program.run("check", &[]).expect_code(0);
    client
        .batch_execute(
            "create view reports.v as select id from app.t; alter view reports.v owner to reporter",
        )
        .await
        .unwrap();
    let refused = program.run("check", &[]).expect_code(3);
    for (what, hint) in [
        (
            "does not have the rights of \"reporter\", which owns view reports.v",
            "grant \"reporter\" to \"mover\"",
        ),
        (
            "may not create relations in schema \"reports\"",
            "grant usage, create on schema \"reports\" to \"mover\"",
        ),
    ] {
        assert!(
            refused.refusals().into_iter().any(|finding| tells(finding, what, hint)),
            "{}",
            refused.stdout
        );
    }
    client
        .batch_execute("grant reporter to mover; grant usage, create on schema reports to mover")
        .await
        .unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
}

/// Until the swap it would be lost; after it, a swap back could not carry it.
#[test]
fn a_view_that_is_made_changed_or_dropped_during_a_run_stops_it() {
    let changes = [
        ("create view app.w as select at from app.t", "view app.w is new"),
        (
            "create or replace view app.fits as select id, at from app.t where id > 0",
            "view app.fits was changed",
        ),
        ("alter view app.fits set (security_barrier)", "view app.fits was changed"),
        ("alter view app.fits owner to postgres", "view app.fits was changed"),
        ("drop view app.fits", "view app.fits was dropped"),
    ];
    let cluster = Cluster::start();
    cluster.psql("postgres", SCHEMA);
    each_stops_a_run(&cluster, PLAN, &changes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_is_changed_in_the_soak_is_an_alarm() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    client.batch_execute("create view app.over as select * from app.fits; drop view app.over").await.unwrap();
    client
        .batch_execute("create or replace view app.fits as select id, at from app.t where id > 0")
        .await
        .unwrap();
    running.finish().expect_code(1).expect_words(&["blue no longer follows it", "view app.fits was changed"]);
    assert_eq!(program.run("rollback", &[]).code, Some(1));
    let live = "select count(*) = 1 from pg_partitioned_table where partrelid = 'app.t'::regclass";
    eventually(&client, live).await;
}
