//! A materialized view that does not fit the new table is refused by name before anything is changed; one that is changed
//! during a run stops it.

use crate::support::bluegreen::tells;
use crate::support::{Cluster, stage};

const SCHEMA: &str = "
create role owner; create role reporter;
create schema app; create schema reports; 
create table app.t (id int primary key, at date not null, hours numeric(9,2) not null, note varchar(10), old text);
insert into app.t select g, date '2026-01-01' + g % 50, g, 'n' || g, '' from generate_series(1, 100) g;
create materialized view app.fits as select id, at from app.t;
";

const PLAN: &str = "
version: 1
name: refused
settings: {workers: 1, soak: 1h}
tables:
  - table: app.t
    columns:
      hours: {rename: minutes, type: bigint, using: 'hours * 60', back: 'minutes / 60.0'}
      note: {type: text}
      old: drop
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_fit_or_changes_meanwhile_is_named() {
    let cases = [
        (
            "create materialized view app.v as select id, hours from app.t",
            "does not fit the new table: column",
            "keep column \"hours\"",
        ),
        (
            "create materialized view app.v as select id from app.t where old = ''",
            "does not fit the new table: column",
            "keep column \"old\"",
        ),
        (
            "create materialized view app.v as select id, array[note] as notes from app.t",
            "cannot change data type of view column",
            "drop materialized view app.v",
        ),
        (
            "create materialized view app.v as select id, 'app.t'::regclass::oid as t from app.t",
            "its query names app.t in a string",
            "drop materialized view app.v",
        ),
        (
            "create materialized view app.v as select id from app.t; create domain app.d as app.v",
            "type app.d",
            "no longer use the row type",
        ),
        (
            "create materialized view app.v as select id from app.t; alter extension plpgsql add materialized view app.v",
            "materialized view app.v belongs to extension plpgsql",
            "once the run is finished, alter extension plpgsql add materialized view app.v",
        ),
        (
            "create materialized view reports.fits as select id from app.t; create view app.v as select 1",
            "materialized view reports.fits has the name \"fits\"",
            "rename one of them",
        ),
    ];
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    program.run("check", &[]).expect_code(0);
    for (sql, what, hint) in cases {
        client.batch_execute(sql).await.unwrap();
        let checked = program.run("check", &[]).expect_code(3);
        let found = checked.refusals();
        assert_eq!(found.len(), 1, "{sql}: {found:#?}");
        assert!(tells(found[0], what, hint), "{sql}: {}", found[0]);
        if sql.contains("alter extension") {
            client.batch_execute("alter extension plpgsql drop materialized view app.v").await.unwrap();
        }
        client
            .batch_execute(
                "drop materialized view if exists reports.fits; do $$ begin execute \
                 (select format('drop %s app.v cascade', case relkind when 'm' then 'materialized view' else 'view' end) \
                 from pg_class where oid = 'app.v'::regclass); end $$",
            )
            .await
            .unwrap();
    }
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    for (sql, back) in [
        ("create index fits_at on app.fits (at)", "drop index app.fits_at"),
        ("grant select on app.fits to reporter", "revoke select on app.fits from reporter"),
        ("comment on materialized view app.fits is 'x'", "comment on materialized view app.fits is null"),
        (
            "alter materialized view app.fits set (fillfactor = 50)",
            "alter materialized view app.fits reset (fillfactor)",
        ),
        (
            "alter materialized view app.fits owner to owner",
            "alter materialized view app.fits owner to postgres",
        ),
    ] {
        client.batch_execute(sql).await.unwrap();
        let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
        assert!(
            stopped.error().contains("materialized view app.fits was changed"),
            "{sql}: {}",
            stopped.error()
        );
        client.batch_execute(back).await.unwrap();
    }
    client.batch_execute("create materialized view app.more as select id from app.t").await.unwrap();
    let stopped = program.execute(&["--yes", "--until", "settle"]).expect_code(1);
    assert!(stopped.error().contains("materialized view app.more is new"), "{}", stopped.error());
    client
        .batch_execute("drop materialized view app.more; refresh materialized view app.fits")
        .await
        .unwrap();
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    program.run("rollback", &[]).expect_code(6);
}
