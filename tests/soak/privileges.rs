//! Owners that lack privileges on their own tables, or have them in unusual ways, and event triggers that see all of it.

use super::{DB, count};
use crate::support::bluegreen::tells;
use crate::support::{Cluster, stage};

/// `m` belongs to a role that is granted what it reads; a function with an SQL body has the swap lend that role blue, too.
const BLUE: &str = "
create role of_view; create role weak; create role clerk;
grant create, usage on schema public to of_view, weak;
create table note (id int primary key);
create materialized view m as select id from note;
create function f() returns bigint language sql begin atomic select count(*) from note; end;
grant select on note to of_view; alter materialized view m owner to of_view;
create table readings (id int primary key, a text); alter table readings owner to weak;
grant insert on readings to clerk; revoke insert on readings from weak;
create table grants (id int primary key); alter table grants owner to weak;
set role weak; grant all on grants to weak with grant option; revoke delete on grants from weak; reset role;
insert into note select generate_series(1, 50);
create function watch() returns event_trigger language plpgsql as $$ begin end $$;
create event trigger watches on ddl_command_end when tag in ('ALTER TABLE') execute function watch();";
const PLAN: &str = "
version: 1
name: owners
settings: {workers: 1, soak: 1h}
tables: [{table: public.note}, {table: public.readings}, {table: public.grants}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_lack_privileges_keep_them_so_and_nothing_is_in_the_way() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, PLAN).await;
    let checked = program.run("check", &[]).expect_code(0);
    let note = checked.finding("event_triggers");
    assert!(tells(note, "event trigger watches", "alter event trigger \"watches\" disable"), "{note}");
    let note = checked.finding("owners_rights");
    assert!(tells(note, "read and write every row", "grant insert on"), "{note}");
    let dump = || cluster.pg_dump(DB, &["-s", "--schema=public"]);
    let before = dump();
    assert!(before.contains("WITH GRANT OPTION"));
    for id in [1, 2] {
        program.execute(&["--yes", "--until", "settle"]).expect_code(0);
        assert_eq!(dump(), before);
        let insert = format!("set role clerk; insert into readings values ({id}, 'of clerk'); reset role");
        client.batch_execute(&insert).await.unwrap();
        program.run("rollback", &[]).expect_code(6);
        assert_eq!(dump(), before);
        assert_eq!(count(&client, "readings").await, id);
    }
}
