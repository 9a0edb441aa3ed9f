//! Foreign keys with a PERIOD, which PostgreSQL has from version 18 on.

use crate::support::{Cluster, stage, there_and_back};

use super::{DB, count};

const SCHEMA: &str = "
create extension btree_gist;
create table rooms (id bigint primary key, room int not null, during daterange not null, note text,
  constraint rooms_at unique (room, during without overlaps));
create table bookings (id bigint primary key, room int, during daterange,
  constraint of_room foreign key (room, period during) references rooms (room, period during));
comment on constraint of_room on bookings is 'whole';
insert into rooms select g, g % 10, daterange(date '2026-01-01' + g, date '2026-01-01' + g + 1) from generate_series(1, 100) g;
insert into bookings select id, room, during from rooms;
create table temporal (id int4range, valid daterange, constraint temporal_pk primary key (id, valid without overlaps));
analyze;";

fn plan(tables: &str) -> String {
    format!("version: 1\nname: periods\nsettings: {{workers: 1, soak: 1h}}\ntables:\n{tables}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_move_there_and_back_with_either_table_and_with_both() {
    let cluster = Cluster::start();
    let client = cluster.client(DB).await;
    if count(&client, "(select 1 where current_setting('server_version_num')::int >= 180000) x").await == 0 {
        return;
    }
    let rooms = "  - table: public.rooms\n";
    let bookings = "  - table: public.bookings\n    partition_by: {hash: id, partitions: 3}\n";
    let (client, program) = stage(&cluster, SCHEMA, &plan(rooms)).await;
    let key = "select string_agg(concat_ws(' ', pg_get_constraintdef(oid), convalidated, obj_description(oid, 'pg_constraint')), ';') \
               from pg_constraint where conname = 'of_room' and conparentid = 0";
    let key = async || client.query_one(key, &[]).await.unwrap().get::<_, String>(0);
    let before = key().await;
    for tables in [rooms.to_owned(), format!("{rooms}{bookings}")] {
        program.write_plan(&plan(&tables));
        there_and_back(&program, async |after| {
            assert_eq!(key().await, before, "{tables}, after {after}");
            for rejected in [
                "insert into bookings values (9000, 1, '[2026-01-01,2026-02-01)')",
                "delete from rooms where id = 7",
            ] {
                let error = client.batch_execute(rejected).await.unwrap_err();
                assert_eq!(error.code().unwrap().code(), "23503", "{tables}, after {after}: {rejected}");
            }
        })
        .await;
    }
    let refused = |tables: &str, what: &str| {
        program.write_plan(&plan(tables));
        program.run("check", &[]).expect_code(3).expect_words(&[what]);
    };
    let widened = "    partition_by: {hash: id, partitions: 3}\n    drop_indexes: [rooms_at]\n    inbound_foreign_keys: registry\n";
    refused(&format!("{rooms}{widened}"), "has a PERIOD, which no table of keys can have");
    refused("  - table: public.temporal\n", "neither deferrable nor WITHOUT OVERLAPS");
}
