//! What closes the way back is an alarm at once, and ends when it is put right; what never had one is refused.

use super::{BLUE, count, plan};
use crate::support::waiting::eventually;
use crate::support::{Cluster, home, stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_blue_cannot_hold_is_an_alarm_at_once_and_ends_when_it_is_gone() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    // numeric(9,2) has no room for it.
    client.batch_execute("update t set minutes = 6000000000 where id = 7").await.unwrap();
    let broken = running.finish().expect_code(1);
    assert!(broken.error().contains("blue no longer follows it"), "{}", broken.error());
    assert!(program.run("status", &[]).stdout.contains("there is no way back as long as that lasts"));
    assert_eq!(program.run("rollback", &[]).code, Some(1), "it says so again");
    let live = "select count(*) = 1 from pg_partitioned_table where partrelid = 'public.t'::regclass";
    eventually(&client, live).await;
    program
        .run("finish", &["--yes"])
        .expect_code(2)
        .expect_words(&["blue no longer follows green", "finish --force"]);

    // However much was written meanwhile, only the last value counts.
    let much = "do $$ begin for i in 1..3000 loop update t set note = 'x' || i where id = 10 + i % 100; commit; end loop; end $$";
    client.batch_execute(much).await.unwrap();
    client.batch_execute("update t set minutes = 60 where id = 7").await.unwrap();
    let mended = program.spawn("execute", &["--yes"]);
    mended.wait_for("soaking");
    mended.terminate();
    mended.finish().expect_code(7);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, "t where id = 7 and hours = 1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_on_green_is_an_alarm_at_once() {
    for (ddl, words) in [
        ("alter table t add column more int", &["column more is new"][..]),
        ("create view v as select id from t", &["v is new"]),
        ("grant delete on t to reader", &["the table itself"]),
        (
            "create table holder (row public.t); create function of(public.t) returns int language sql as 'select 1'; \
             create publication everything for all tables; create cast (public.t as int) with function of(public.t); \
             create constraint trigger watch after insert on holder from public.t \
             for each row execute function suppress_redundant_updates_trigger()",
            &["holder", "of(", "everything", "cast from", "watch"],
        ),
        (
            "alter table t alter constraint t_owner_fkey deferrable; alter table t replica identity nothing",
            &["its foreign key t_owner_fkey was changed", "the replica identity was changed"],
        ),
        (
            "alter table t_p1 add constraint late foreign key (number) references owners not valid",
            &["foreign key late on partition public.t_p1 is new"],
        ),
        (
            "alter table t_p1 set unlogged; create unlogged table late partition of t for values from ('2027-01-01') to ('2027-02-01'); \
             create unique index of_number on t_p2 (number); alter table t_p2 alter number set not null, replica identity using index of_number",
            &[
                "unlogged partition public.t_p1 is new",
                "unlogged partition public.late is new",
                "replica identity of partition public.t_p2 is new",
            ],
        ),
        ("alter publication PUB set (publish = 'insert')", &["publication"]),
        ("alter view owned rename column name to owner", &["a name in view public.owned was changed"]),
        ("alter table owners rename to former", &["a name in view public.owned was changed"]),
        ("comment on constraint t_owner_fkey on t is 'x'", &["comment on constraint t_owner_fkey"]),
    ] {
        let cluster = Cluster::start();
        let view = "create view owned as select t.id, o.id as name from t join owners o on o.id = t.owner;";
        let (client, program) = stage(&cluster, &format!("{BLUE} {view}"), &plan("1h")).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        let publication: String = client
            .query_one("select pubname::text from pg_publication where pubname like '%_back'", &[])
            .await
            .unwrap()
            .get(0);
        client.batch_execute(&ddl.replace("PUB", &publication)).await.unwrap();
        running.finish().expect_code(1).expect_words(&["blue no longer follows it"]).expect_words(words);
        let refused = program.run("rollback", &[]);
        assert_eq!(refused.code, Some(1), "{ddl}: {}", refused.stdout);
        assert!(refused.events_of("swapped").is_empty(), "{ddl}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_writes_to_blue_is_noticed() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let blue = home(&client, "blue").await;
    client.batch_execute(&format!("update {blue}.t set note = 'by hand' where id = 9")).await.unwrap();
    running.finish().expect_code(1).expect_words(&["blue no longer follows it", "somebody else"]);
    program.execute(&["--yes", "--until", "settle"]).expect_code(1).expect_words(&["there is no way back"]);
    // Put right, all rows are compared, and it goes on.
    client.batch_execute(&format!("update {blue}.t set note = 'n9' where id = 9")).await.unwrap();
    let mended = program.spawn("execute", &["--yes"]);
    mended.wait_for("verified");
    mended.wait_for("soaking");
    client.batch_execute("update t set note = 'of green' where id = 9").await.unwrap();
    program.run("rollback", &[]).expect_code(6);
    mended.finish().expect_code(6);
    assert_eq!(count(&client, "t where note = 'of green'").await, 1);
}

/// What the stream does not carry: a partition that is detached, or emptied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_single_partition_is_noticed() {
    for (sql, code) in [("alter table t detach partition t_p1", 1), ("truncate t_p1", 4)] {
        let cluster = Cluster::start();
        let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
        let running = program.spawn("execute", &["--yes"]);
        running.wait_for("soaking");
        client.batch_execute(sql).await.unwrap();
        let found = running.finish().expect_code(code);
        match code {
            1 => assert!(found.error().contains("public.t_p1"), "{}", found.error()),
            _ => assert!(!found.events_of("difference").is_empty(), "{sql}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_rows_are_compared_again_as_often_as_the_plan_says() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h, verify_every: 1s")).await;
    let running = program.spawn("execute", &["--yes"]);
    running.wait_for("soaking");
    let verified = running.wait_for("verified");
    running.wait_until(|event| event["type"] == "verified" && event["lsn"] != verified["lsn"]).unwrap();
    // Behind the stream's back: only a comparison of all rows can find it.
    let blue = home(&client, "blue").await;
    let damage = format!(
        "set session_replication_role = replica; begin; select pg_logical_emit_message(true, 'projh_bluegreen', \
                          (select fact->>'mark' from projh_bluegreen.fact where fact->>'fact' = 'prepared')); \
                          update {blue}.t set note = 'damaged' where id = 9; commit"
    );
    client.batch_execute(&damage).await.unwrap();
    let found = running.finish().expect_code(4);
    assert_eq!(found.events_of("difference").len(), 1);
    assert_eq!(program.run("rollback", &[]).code, Some(4));
}

/// A way back that there is not is refused before anything is changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_that_is_not_possible_is_refused_by_check() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    client.batch_execute("update t set hours = 0.11 where id = 5").await.unwrap();
    let lossy = program.run("check", &[]).expect_code(3);
    let finding = lossy.finding("way_back");
    assert!(finding["what"].as_str().unwrap().contains("1 of 300 rows have a value of hours"), "{finding}");
    program.write_plan(&plan("0s"));
    program.run("check", &[]).expect_code(0);
    program.write_plan(&plan("1h").replace("back: 'minutes / 60.0'", "one_way: true"));
    let none = program.run("check", &[]).expect_code(3);
    let what = none.finding("way_back")["what"].as_str().unwrap().to_owned();
    assert!(what.contains("column hours must have a value, and nothing gives one"), "{what}");
    // What is lost is said before the run begins.
    client.batch_execute("alter table t alter hours drop not null").await.unwrap();
    let lossy = program.run("check", &[]).expect_code(0);
    let what = lossy.finding("way_back")["what"].as_str().unwrap().to_owned();
    assert!(what.contains("brings back no new values of hours (`one_way: true`)"), "{what}");
}

/// What is applied to blue is tried before anything is made: here an operator that blue's type does not have, beside an
/// identity that is always generated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_blue_would_reject_are_refused_by_check() {
    let cluster = Cluster::start();
    let named = plan("1h").replace("back: 'minutes / 60.0'", "back: 't.minutes / 60.0'");
    let (_client, program) = stage(&cluster, BLUE, &named).await;
    let refused = program.run("check", &[]).expect_code(3);
    let what = refused.finding("rehearsal")["what"].as_str().unwrap().to_owned();
    assert!(what.contains("green's changes cannot be applied to blue") && what.contains("42P01"), "{what}");
    program.write_plan(&plan("1h"));
    program.run("check", &[]).expect_code(0);
}

/// A partition made in the soak would make clients' statements fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_new_partitions_would_lack_a_replica_identity_is_refused() {
    let cluster = Cluster::start();
    let blue = "create table t (id int not null, at date not null, note text); create unique index t_key on t (id, at);
                alter table t replica identity using index t_key; insert into t values (1, '2026-01-15', '')";
    let plan = "version: 1\nname: keyless\nsettings: {soak: 1h}\ntables:\n  - table: public.t\n    \
                partition_by: {range: at, bounds: [2026-01-01, 2026-02-01], default: true}\n";
    let (_client, program) = stage(&cluster, blue, plan).await;
    let refused = program.run("check", &[]).expect_code(3);
    assert!(
        refused.finding("way_back")["what"].as_str().unwrap().contains("would lack its replica identity")
    );
    program.write_plan(&plan.replace("soak: 1h", "soak: 0s"));
    program.run("check", &[]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_a_newer_version_is_refused() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    client.batch_execute("insert into projh_bluegreen.migration (version) values (99)").await.unwrap();
    // Without the refusal each would come to an end, too.
    for command in [&["execute", "--yes", "--until", "prepare"][..], &["rollback"], &["status"]] {
        let refused = program.run(command[0], &command[1..]);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(told.contains("its schema has version 99"), "{command:?}: {told}");
        assert_eq!(refused.code, Some(3), "{command:?}");
        let end = refused.events.last().unwrap();
        assert!(
            end["state"].as_str().unwrap().starts_with("nothing was changed; how the tables stand"),
            "{end}"
        );
        assert!(end["next"].is_null(), "{end}");
    }
}

/// Which rows blue cannot take is said at once, on every way, and without a value of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rows_that_blue_cannot_take_are_named_by_their_digests() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, BLUE, &plan("1h")).await;
    program.execute(&["--yes", "--until", "settle"]).expect_code(0);
    let run: String = client.query_one("select run from projh_bluegreen.run", &[]).await.unwrap().get(0);
    let overflow =
        "update t set minutes = 6000000123 where id in (7, 8); update t set at = '2026-02-20' where id = 9";
    // A second row with blue's key: with the first one in one batch, and alone.
    let twice = "insert into t (id, at, minutes, big) overriding system value values (901, '2026-01-02', 1, ''), (901, '2026-02-02', 1, '')";
    let again = "insert into t (id, at, minutes, big) overriding system value values (20, '2030-02-02', 1, ''), (902, '2026-02-02', 1, '')";
    for (sql, mended, ids, why) in [
        (overflow, "update t set minutes = 60 where id in (7, 8)", vec![7_i64, 8], "SQLSTATE 22003"),
        (twice, "delete from t where id = 901", vec![901], "two rows have one key"),
        (again, "delete from t where at = '2030-02-02'", vec![20], "SQLSTATE 23505"),
    ] {
        // Beside rows that are fine, in one transaction.
        let others = "update t set note = 'other' where id between 100 and 250";
        client.batch_execute(&format!("begin; {others}; {sql}; commit")).await.unwrap();
        let from = cluster.log().len();
        let broken = program.execute(&["--yes"]).expect_code(1);
        let mut digests = Vec::new();
        for id in ids {
            let sql = "select left(encode(sha256(convert_to(substr(fact->'lanes'->0->>'secret', 13) || row($1::bigint)::text, 'utf8')), 'hex'), 16)
                       from projh_bluegreen.fact where fact->>'fact' = 'prepared'";
            digests.push(client.query_one(sql, &[&id]).await.unwrap().get::<_, String>(0));
        }
        digests.sort();
        let error = broken.error().to_owned();
        assert!(error.contains(why) && error.ends_with(&digests.join(", ")), "{error}: {digests:?}");
        let status = program.run("status", &[]).events_of("status")[0].clone();
        let keys: Vec<&str> = status["broken"]["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["digest"].as_str().unwrap())
            .collect();
        assert_eq!(keys, digests, "{status}");
        assert!(
            !status["broken"]["since"].is_null() && status["broken"]["why"].as_str().unwrap().contains(why)
        );
        let next = status["next"].as_str().unwrap();
        let find = format!("projh-bluegreen find {run} public.t {} finds the row", digests[0]);
        assert!(next.starts_with(&find) && next.contains("finish") && next.contains("--force"), "{next}");
        let person = program.run_for_people("status", &[]);
        assert!(person.stdout.contains(&digests[0]), "{}", person.stdout);
        let found = program.run("find", &["public.t", &digests[0]]).expect_code(0);
        assert!(found.events_of("row_found").iter().any(|row| row["side"] == "green"), "{}", found.stdout);
        for text in [&broken.stdout, &broken.stderr, &cluster.log()[from..].to_owned()] {
            assert!(!text.contains("6000000123") && !text.contains("Key ("), "{text}");
        }
        client.batch_execute(mended).await.unwrap();
        let again = program.spawn("execute", &["--yes"]);
        again.wait_for("soaking");
        again.terminate();
        again.finish().expect_code(7);
        assert!(program.run("status", &[]).events_of("status")[0]["broken"].is_null());
    }
}
