//! What hangs on a table and is a member of an extension: it is one after each swap, too.

use tokio_postgres::Client;

use crate::support::{Cluster, stage, there_and_back};

const SCHEMA: &str = "
create table t (id serial primary key, note text not null); insert into t (note) select g from generate_series(1, 100) g;
create table child (id int primary key, t_id int references t on delete cascade); create table logged (note text);
create view over as select id, note from t; create view above as select note from over;
create rule noted as on insert to over do also insert into t (note) values (new.note || '!');
create rule told as on delete to logged do also select note from t;
create function told() returns trigger language plpgsql as 'begin return new; end';
create trigger told before insert on t for each row execute function told();
create function notes() returns bigint begin atomic select count(note) from t; end;
alter extension plpgsql add view over; alter extension plpgsql add view above; alter extension plpgsql add table child;
alter extension plpgsql add table logged; alter extension plpgsql add function told(); alter extension plpgsql add function notes();
alter extension plpgsql add sequence t_id_seq;
";
const PLAN: &str = "
version: 1
name: members
settings: {workers: 1, soak: 1h}
tables: [{table: t}]
";

async fn members(client: &Client) -> String {
    let sql = "select string_agg(x, E'\\n' order by x) from (
        select pg_describe_object(classid, objid, 0) from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e'
        union all select pg_get_viewdef('over'::regclass) || pg_get_viewdef('above'::regclass) || pg_get_functiondef('notes'::regproc)
        union all select pg_get_ruledef(oid) from pg_rewrite where rulename in ('noted', 'told')
        union all select conrelid::regclass || conname || pg_get_constraintdef(oid) from pg_constraint where conrelid = 'child'::regclass) x(x)";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_depends_on_the_table_stays_one() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, SCHEMA, PLAN).await;
    let before = members(&client).await;
    there_and_back(&program, async |command| assert_eq!(members(&client).await, before, "{command}")).await;
}
