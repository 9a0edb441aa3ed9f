//! `in_place: true`: indexes on the table itself, without a copy.

use tokio_postgres::Client;

use crate::support::{Bluegreen, Cluster, stage, waiting};

const TABLES: &str = "
create table public.plain (id bigint primary key, x int, note text);
insert into public.plain select g, g, 'note ' || g from generate_series(1, 1000) g;
create table public.parts (id int, at date, note text) partition by range (at);
create table public.parts_old partition of public.parts for values from ('2025-01-01') to ('2026-01-01');
create table public.parts_new partition of public.parts for values from ('2026-01-01') to ('2027-01-01')
  partition by hash (id);
create table public.parts_new_0 partition of public.parts_new for values with (modulus 2, remainder 0);
create table public.parts_new_1 partition of public.parts_new for values with (modulus 2, remainder 1);
insert into public.parts select g, date '2025-06-01' + g, 'x' from generate_series(1, 400) g;
create table public.copied (id bigint primary key, note text);
insert into public.copied select g, 'note ' || g from generate_series(1, 100) g;";

const PLAN: &str = "
version: 1
name: in-place
settings: {workers: 1}
tables:
  - table: public.plain
    in_place: true
    indexes:
      - create unique index plain_x on plain (x) where x > 0
      - create index plain_note on plain (lower(note))
  - table: public.parts
    in_place: true
    indexes:
      - create index parts_note on parts (note, at desc)
";

const MIXED: &str = "
version: 1
name: mixed
settings: {workers: 1}
tables:
  - table: public.copied
    partition_by: {hash: id, partitions: 2}
  - {table: public.parts, in_place: true, indexes: ['create unique index parts_id on parts (id, at)']}
";

async fn count(client: &Client, of: &str) -> i64 {
    client.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap().get(0)
}

const VALID: &str = "pg_index i join pg_class c on c.oid = i.indexrelid \
                     where c.relname in ('plain_x', 'plain_note', 'parts_note') and indisvalid";
const OURS: &str = "pg_class where relname ~ '^plain_(x|note)|^parts_.*(note|id)' and relkind in ('i', 'I')";
const INVALID: &str = "pg_index where not indisvalid";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_are_built_in_place_and_dropped_by_a_rollback() {
    // Nothing is streamed.
    let cluster = Cluster::builder().setting("wal_level", "replica").start();
    let (client, program) = stage(&cluster, TABLES, PLAN).await;
    let dump = || {
        let dumped = cluster.pg_dump("postgres", &["--schema-only", "--exclude-schema=projh_bluegreen"]);
        dumped.lines().filter(|line| !line.contains("restrict")).collect::<Vec<_>>().join("\n")
    };
    let before = dump();
    let of = |lines: &str| format!("version: 1\nname: other\ntables:\n  - {{table: plain, {lines}}}\n");
    // What could not be built.
    for (index, what) in [
        (
            "create index plain_pkey on plain (x)",
            "index plain_pkey cannot be built: public.plain_pkey exists already",
        ),
        ("create index i on plain (nothing)", "index i cannot be built: column \"nothing\" does not exist"),
    ] {
        program.write_plan(&of(&format!("in_place: true, indexes: ['{index}']")));
        let refused = program.run("check", &[]).expect_code(3);
        let told = refused.finding("in_place")["what"].as_str().unwrap().to_owned();
        assert!(told.starts_with(what), "{told}");
    }
    program.write_plan(
        &of("in_place: true, indexes: [create unique index i on plain (x)]").replace("plain", "parts"),
    );
    let refused = program.run("check", &[]).expect_code(3);
    assert!(refused.finding("in_place")["what"].as_str().unwrap().starts_with("index i cannot be built: "));

    program.write_plan(PLAN);
    assert!(program.run("check", &[]).expect_code(0).events_of("finding").is_empty());
    let preview = program.execute(&["--dry-run"]).expect_code(0);
    let locks = |sql: &str| {
        let steps = preview.events_of("preview_step");
        let step =
            steps.into_iter().find(|step| step["sql"].as_str().is_some_and(|text| text.starts_with(sql)));
        let step = step.unwrap_or_else(|| panic!("{sql}: {}", preview.stdout));
        let of_lock =
            |lock: &serde_json::Value| format!("{} {}", lock["relation"], lock["mode"]).replace('"', "");
        step["locks"].as_array().unwrap().iter().map(of_lock).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(
        locks("CREATE UNIQUE INDEX CONCURRENTLY \"plain_x\" ON \"public\".\"plain\" (x) where x > 0"),
        "public.plain SHARE UPDATE EXCLUSIVE"
    );
    for leaf in ["parts_old", "parts_new_0", "parts_new_1"] {
        locks(&format!(
            "CREATE INDEX CONCURRENTLY \"{leaf}_parts_note\" ON \"public\".\"{leaf}\" (note, at desc)"
        ));
    }
    assert_eq!(locks("CREATE INDEX \"parts_note\" ON ONLY \"public\".\"parts\" "), "public.parts SHARE");
    assert_eq!(
        locks("ALTER INDEX \"public\".\"parts_note\" ATTACH PARTITION \"public\".\"parts_old_parts_note\""),
        "public.parts_old ACCESS SHARE, public.parts ACCESS SHARE, public.parts_old_parts_note ACCESS EXCLUSIVE"
    );
    assert!(
        locks("DROP INDEX IF EXISTS \"public\".\"parts_note\"")
            .contains("public.parts_new_1 ACCESS EXCLUSIVE")
    );
    let phases: Vec<&str> =
        preview.events_of("preview_step").iter().filter_map(|step| step["phase"].as_str()).collect();
    assert!(phases.iter().all(|phase| ["prepare", "rollback"].contains(phase)), "{phases:?}");
    let page = program.say(&["execute", "plan.yaml", "--dry-run"]).expect_code(0).stdout;
    assert!(page.contains("What changes") && page.contains("to undo it: rollback"), "{page}");
    assert_eq!(dump(), before);

    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(count(&client, VALID).await, 3);
    assert_eq!(count(&client, INVALID).await, 0);
    let status = program.run("status", &[]).expect_code(0);
    assert!(status.stdout.contains("the indexes are built in place"), "{}", status.stdout);
    let nothing = program.run("verify", &[]).expect_code(2);
    assert!(nothing.error().contains("the run copies no table"), "{}", nothing.error());
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(dump(), before);
    program.execute(&["--yes"]).expect_code(0);
    let finished = program.run("finish", &["--yes"]).expect_code(0);
    assert!(finished.stdout.contains("finished: the indexes are built in place"), "{}", finished.stdout);
    assert_eq!(count(&client, VALID).await, 3);
    assert_eq!(count(&client, "pg_namespace where nspname ~ '^projh_bg_'").await, 0);
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_fails_or_is_interrupted_leaves_nothing_invalid_and_nothing_of_others_is_touched() {
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, TABLES, PLAN).await;
    client.batch_execute("update plain set x = 4711 where id < 3").await.unwrap();
    let failed = program.execute(&["--yes"]).expect_code(1);
    assert!(
        failed.error().contains("SQLSTATE 23505") && !failed.stdout.contains("4711"),
        "{}",
        failed.stdout
    );
    let query = "select x, array_agg(ctid) from public.plain where (x > 0) and num_nulls(x) = 0 group by x having count(*) > 1";
    assert!(failed.stdout.contains(query), "{}", failed.stdout);
    assert_eq!(count(&client, INVALID).await, 0);
    client.batch_execute("update plain set x = 4712 where id = 1").await.unwrap();
    // Somebody else's, which came in after the checks.
    client.batch_execute("create index plain_note on plain (note)").await.unwrap();
    for _ in 0..2 {
        let taken = program.execute(&["--yes"]).expect_code(2);
        assert!(taken.error().contains("index \"plain_note\" has that name"), "{}", taken.error());
    }
    assert_eq!(count(&client, VALID).await, 2);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, VALID).await, 1);
    client.batch_execute("drop index plain_note").await.unwrap();

    // A writer holds a build up, and meanwhile there is one more partition.
    let mut writer = cluster.client("postgres").await;
    let open = writer.transaction().await.unwrap();
    open.batch_execute("lock table parts_old in row exclusive mode").await.unwrap();
    let running = program.spawn("execute", &["--yes"]);
    waiting::eventually(
        &client,
        "select exists (select from pg_stat_progress_create_index where relid = 'parts_old'::regclass)",
    )
    .await;
    client
        .batch_execute(
            "create table parts_next partition of parts for values from ('2027-01-01') to ('2028-01-01')",
        )
        .await
        .unwrap();
    open.commit().await.unwrap();
    running.finish().expect_code(0);
    assert_eq!((count(&client, VALID).await, count(&client, INVALID).await), (3, 0));
    assert_eq!(count(&client, "pg_class where relname = 'parts_next_parts_note'").await, 1);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, OURS).await, 0);

    // It dies before and after each statement.
    let dying = |point: &str| {
        Bluegreen::new(&cluster, "postgres").plan(PLAN).env("FAILPOINTS", &format!("{point}=return"))
    };
    for point in [
        "before in_place",
        "before step_intended",
        "after step_intended",
        "index concurrently",
        "after step_done",
    ] {
        for _ in 0..3 {
            assert_eq!(dying(point).execute(&["--yes"]).code, None, "{point}");
        }
    }
    assert_eq!(dying("after step_done").run("rollback", &[]).code, None);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, OURS).await, 0);
    assert_eq!(dying("before prepared").execute(&["--yes"]).code, None);
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!((count(&client, VALID).await, count(&client, INVALID).await), (3, 0));
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, OURS).await, 0);

    // Somebody drops ours, and gives its name to one on another table.
    program.execute(&["--yes"]).expect_code(0);
    let theirs = "drop index plain_note; create table elsewhere (note text); create index plain_note on elsewhere (note)";
    client.batch_execute(theirs).await.unwrap();
    program.run("rollback", &[]).expect_code(6).expect_words(&["is on another table", "it is left alone"]);
    assert_eq!(count(&client, "pg_index where indrelid = 'elsewhere'::regclass").await, 1);
    assert_eq!(count(&client, OURS).await, 1);
    client.batch_execute("drop table elsewhere").await.unwrap();

    // Beside a table that is copied.
    program.write_plan(MIXED);
    program.execute(&["--yes", "--until", "verify"]).expect_code(0);
    let is_valid = "pg_index where indexrelid = to_regclass('parts_id') and indisvalid";
    assert_eq!(count(&client, is_valid).await, 1);
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(count(&client, OURS).await, 0);
    program.execute(&["--yes"]).expect_code(0);
    program.run("finish", &["--yes"]).expect_code(0);
    assert_eq!(count(&client, is_valid).await, 1);
    assert_eq!(count(&client, "pg_partitioned_table where partrelid = 'copied'::regclass").await, 1);
    // Where a plan could say so.
    program.write_plan(
        "version: 1\nname: copies\ntables: [{table: plain, indexes: [create index i on plain (x)]}]\n",
    );
    let proposed = program.run("check", &[]).expect_code(0);
    assert!(proposed.finding("in_place")["hint"].as_str().unwrap().contains("`in_place: true` builds them"));
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_with_another_definition_is_not_taken_for_the_runs_own() {
    let plan = "version: 1\nname: own\ntables:\n  - table: public.plain\n    in_place: true\n    indexes:\n      \
                - create unique index \"Plain x\" on plain using btree (lower(note) desc, x) include (id) where plain.x > 0\n  - \
                {table: public.parts, in_place: true, indexes: [create index parts_note on parts (note)]}\n";
    let cluster = Cluster::start();
    let (client, program) = stage(&cluster, TABLES, plan).await;
    let dying = |point: &str| {
        Bluegreen::new(&cluster, "postgres").plan(plan).env("FAILPOINTS", &format!("{point}=return"))
    };
    let theirs =
        "select count(*), bool_and(indisvalid) from pg_index where indexrelid = to_regclass('\"Plain x\"')";
    let theirs = async || {
        let row = client.query_one(theirs, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, Option<bool>>(1))
    };
    // Killed before it was built; meanwhile somebody makes another one, or fails to.
    for (make, is_valid) in [
        ("create unique index \"Plain x\" on plain (lower(note), x) include (id) where x > 0", true),
        ("create index \"Plain x\" on plain (lower(note) desc, x) include (id) where x > 0", true),
        ("create unique index concurrently \"Plain x\" on plain ((1))", false),
    ] {
        assert_eq!(dying("after step_intended").execute(&["--yes"]).code, None);
        assert_eq!(client.batch_execute(make).await.is_ok(), is_valid, "{make}");
        let refused = program.execute(&["--yes"]).expect_code(2);
        assert!(refused.error().contains("has another definition than this one"), "{}", refused.error());
        assert_eq!(theirs().await, (1, Some(is_valid)), "{make}");
        program.run("rollback", &[]).expect_code(6).expect_words(&["another definition", "it is left alone"]);
        assert_eq!(theirs().await, (1, Some(is_valid)), "{make}");
        client.batch_execute("drop index \"Plain x\"").await.unwrap();
    }
    // Killed after it was built.
    assert_eq!(dying("before step_done").execute(&["--yes"]).code, None);
    client
        .batch_execute("alter index \"Plain x\" set (fillfactor = 60, deduplicate_items = off)")
        .await
        .unwrap();
    program.execute(&["--yes"]).expect_code(0);
    assert_eq!(theirs().await, (1, Some(true)));
    program.run("rollback", &[]).expect_code(6);
    assert_eq!(theirs().await, (0, None));
    // Replaced once it was built.
    assert_eq!(dying("before prepared").execute(&["--yes"]).code, None);
    let replace = "drop index \"Plain x\"; create index \"Plain x\" on plain (x); drop index parts_note; create index parts_note on parts (at)";
    client.batch_execute(replace).await.unwrap();
    let refused = program.execute(&["--yes"]).expect_code(3);
    let told = refused.finding("in_place")["what"].as_str().unwrap().to_owned();
    assert!(told.contains("another definition"), "{told}");
    program.run("rollback", &[]).expect_code(6).expect_words(&["another definition", "it is left alone"]);
    assert_eq!(theirs().await, (1, Some(true)));
    assert_eq!(count(&client, "pg_class where relname = 'parts_note'").await, 1);
}
