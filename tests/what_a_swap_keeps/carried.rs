//! What a table is made of is there after the swap, and nobody reaches more than before.

use projh_bluegreen::testing::hangs_on;
use projh_bluegreen::testing::pg::Colour;
use tokio_postgres::NoTls;

use super::{by_month, count, database, designed, load, migrate, plan, run, table};

#[tokio::test]
async fn a_partitioned_green_keeps_everything() {
    let (_cluster, client) = database().await;
    load(&client).await;
    assert_eq!(hangs_on::blockers(&client, &table(), &hangs_on::Around::default()).await.unwrap(), []);
    let (by, leaves) = by_month();
    let (blue, green) = designed(&client, &plan(by), &leaves).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    assert_eq!(now.leaves.len(), 3);
    let old = green.home_of(Colour::Blue);
    let (one, other) = (format!("table {}", green.live()), format!("table {old}"));
    for sql in [format!("({one} except {other})"), format!("({other} except {one})")] {
        let sql = sql.replace("table ", "select id, \"Start\", \"Serial\", patient, clinic, provider, status, notes, tags, payload, price, minutes from ");
        assert_eq!(count(&client, &format!("select count(*) from {sql} x")).await, 0);
    }
    // blue is closed to everybody but its owner, and so is every leaf
    for relation in now.leaves.iter().map(|leaf| leaf.name.clone()).chain([old.clone()]) {
        for role in ["app", "reader", "anon", "grantor"] {
            let sql = format!(
                "select (has_any_column_privilege('{role}', '{relation}', 'select, insert, update') or has_table_privilege('{role}', '{relation}', 'select, insert, update, delete, truncate'))::int::bigint",
            );
            assert_eq!(count(&client, &sql).await, 0, "{role} on {relation}");
        }
    }
    // the next identity is past every one that blue gave, and the serial goes on
    let insert = format!(
        "insert into {} (patient, clinic, provider, \"Start\") values (1, 'c1', 1, '2026-01-15 00:00:01') returning id - (select max(id) from {old}), (\"Serial\" - (select max(\"Serial\") from {old}))::bigint",
        green.live()
    );
    let row = client.query_one(&insert, &[]).await.unwrap();
    assert!(row.get::<_, i64>(0) >= 3000, "{:?}", row.get::<_, i64>(0));
    assert_eq!(row.get::<_, i64>(1), 1);
    // referential actions reach the leaves
    client.batch_execute("delete from public.providers where id = 9").await.unwrap();
    assert_eq!(count(&client, &format!("select count(*) from {} where provider = 9", green.live())).await, 0);
    // finish
    run(&client, &[format!("drop table {}", green.home_of(Colour::Blue))]).await;
    run(&client, &[&green.homes.blue, &green.homes.green].map(|home| format!("drop schema {home}"))).await;
    let again = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&again, &green), Vec::<String>::new());
}

#[tokio::test]
async fn a_plain_green_keeps_everything() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let index = format!("alter table {} replica identity using index \"Termine_pkey\"", table());
    client.batch_execute(&index).await.unwrap();
    let (blue, green) = designed(&client, &plan(None), &[]).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
}

#[tokio::test]
async fn nobody_but_the_owner_reaches_green_before_the_swap() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let (_, green) = designed(&client, &plan(by), &leaves).await;
    run(&client, &green.homes.create()).await;
    // Without the seal the default privileges open green, and without the one after the move an event
    // trigger does: the test can fail.
    let gives = "create function give() returns event_trigger language plpgsql as $$ declare made record; begin \
                 for made in select objid::regclass as name from pg_event_trigger_ddl_commands() where object_type = 'table' \
                 loop execute format('grant select on %s to anon', made.name); end loop; end $$; \
                 create event trigger give on ddl_command_end when tag in ('ALTER TABLE') execute function give()";
    for seals in 0..3 {
        let sealed = seals == 2;
        client.batch_execute("begin").await.unwrap();
        client.batch_execute(gives).await.unwrap();
        let mut make = [green.create(), green.move_leaves()].concat();
        let mut seen = 0;
        make.retain(|statement| {
            let is_seal = statement.sql.starts_with("DO ");
            seen += usize::from(is_seal);
            !is_seal || seen <= seals
        });
        assert_eq!(seen, 2);
        run(&client, &make).await;
        let greens = "pg_class c left join pg_inherits i on i.inhrelid = c.oid left join pg_class p on p.oid = i.inhparent";
        let is_green = "coalesce(p.relnamespace, c.relnamespace) = '\"bg \"\"green\"\"\"'::regnamespace";
        let sql = format!(
            "select count(*) from {greens}, aclexplode(c.relacl) a where {is_green} and a.grantee <> c.relowner"
        );
        let open = count(&client, &sql).await;
        assert_eq!(open > 0, !sealed, "{open}");
        let sql = format!(
            "select count(*) from {greens} where {is_green} and c.relkind in ('r', 'p') and not c.relrowsecurity"
        );
        assert_eq!(count(&client, &sql).await, 0);
        let sql = format!(
            "select count(*) from {greens} where {is_green} and c.relkind = 'r' and c.relnamespace <> p.relnamespace"
        );
        assert_eq!(count(&client, &sql).await, leaves.len() as i64);
        client.batch_execute("rollback").await.unwrap();
    }
    for home in ["bg_blue_1", "bg \"\"green\"\""] {
        let sql = format!(
            "select has_schema_privilege('anon', '\"{home}\"'::regnamespace::oid, 'usage')::int::bigint"
        );
        assert_eq!(count(&client, &sql).await, 0);
    }
}

#[tokio::test]
async fn a_parent_index_builds_nothing() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let (by, leaves) = by_month();
    let (_, green) = designed(&client, &plan(by), &leaves).await;
    run(&client, &green.homes.create()).await;
    run(&client, &green.create()).await;
    run(&client, &green.move_leaves()).await;
    let home = green.at_home();
    let files = format!(
        "select string_agg(i.indexrelid || ':' || pg_relation_filenode(i.indexrelid), ',' order by i.indexrelid) from pg_index i join pg_inherits h on h.inhrelid = i.indrelid where h.inhparent = '{}'::regclass",
        home.to_string().replace('\'', "''")
    );
    for build in green.index_builds() {
        run(&client, &build.on_row_holders).await;
        let before: String = client.query_one(&files, &[]).await.unwrap().get(0);
        run(&client, &build.on_parent.into_iter().collect::<Vec<_>>()).await;
        let after: String = client.query_one(&files, &[]).await.unwrap().get(0);
        assert_eq!(before, after, "{}", build.name);
        let sql = format!(
            "select count(*) from pg_index where indrelid = '{home}'::regclass and indexrelid = (select oid from pg_class where relname = $1 and relnamespace = '\"bg \"\"green\"\"\"'::regnamespace) and indisvalid"
        );
        let valid: i64 = client.query_one(&sql, &[&build.name.as_str()]).await.unwrap().get(0);
        assert_eq!(valid, 1, "{}", build.name);
    }
}

#[tokio::test]
async fn a_role_that_is_no_superuser_can_do_all_of_it() {
    let (cluster, client) = database().await;
    load(&client).await;
    client
        .batch_execute(
            r#"create role tool login bypassrls; grant "Owner Ö" to tool; grant create on database postgres to tool; grant create on schema public to tool;
               grant usage on schema "Other schema" to tool, "Owner Ö"; grant select, references, update on "Other schema"."Pat""ients", public.providers to tool, "Owner Ö";
               alter default privileges for role tool grant select on tables to anon"#,
        )
        .await
        .unwrap();
    let url = cluster.url("postgres").replace("postgres@", "tool@");
    let (tool, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    tool.batch_execute("set row_security = off").await.unwrap();
    let (by, leaves) = by_month();
    let (blue, green) = designed(&tool, &plan(by), &leaves).await;
    migrate(&tool, &green).await;
    let now = hangs_on::read(&tool, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
}

#[tokio::test]
async fn a_replica_identity_index_is_set_on_parent_and_leaves() {
    let (_cluster, client) = database().await;
    load(&client).await;
    let index = format!("alter table {} replica identity using index unique_serial", table());
    client.batch_execute(&index).await.unwrap();
    let (by, leaves) = by_month();
    let (blue, green) = designed(&client, &plan(by), &leaves).await;
    migrate(&client, &green).await;
    let now = hangs_on::read(&client, &table()).await.unwrap();
    assert_eq!(blue.differences(&now, &green), Vec::<String>::new());
    assert!(now.leaves.iter().all(|leaf| leaf.replica_identity == hangs_on::ReplicaIdentityKind::Index));
}
