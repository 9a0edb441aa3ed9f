//! `execute --dry-run`: it changes nothing, whatever state the run is in; the SQL that it shows is the SQL
//! that is executed, and the locks are those that PostgreSQL takes.

mod executed;
mod locks;

use std::time::Duration;

use serde_json::Value;

use crate::oracle::own;
use crate::support::bluegreen::Finished;
use crate::support::{Bluegreen, Cluster};

const DB: &str = "postgres";

/// Everything that has statements of its own: keys to others, both kinds of sequences, policies (one reads
/// its own table), triggers, grants, comments, settings, and columns that change.
const SCHEMA: &str = "
create role reader;
create schema clinic;
create table clinic.people (id integer primary key, name text);
insert into clinic.people select n, 'somebody' from generate_series(1, 100) n;
create sequence clinic.tickets;
create table clinic.visits (
    id bigint generated always as identity primary key, number serial not null, at timestamptz not null,
    person integer not null constraint visits_person references clinic.people on delete cascade,
    code text constraint visits_code check (code <> ''), minutes integer not null default 30, legacy text, note text);
create index visits_person_at on clinic.visits (person, at);
create index visits_legacy on clinic.visits (legacy);
comment on table clinic.visits is 'Who was there.';
comment on index clinic.visits_person_at is 'By person.';
comment on constraint visits_person on clinic.visits is 'Of whom.';
alter table clinic.visits alter column code set statistics 200;
alter table clinic.visits enable row level security;
create policy visits_read on clinic.visits for select to reader using (minutes > 0);
create policy visits_same on clinic.visits for update to reader
    using (exists (select from clinic.visits v where v.person = visits.person));
grant select, update on clinic.visits to reader;
grant usage on sequence clinic.visits_id_seq to reader;
create function clinic.noted() returns trigger language plpgsql as 'begin return new; end';
create trigger visits_note after update of note on clinic.visits for each row
    when (old.note is distinct from new.note) execute function clinic.noted();
create trigger visits_all after insert on clinic.visits referencing new table as n for each statement execute function clinic.noted();
insert into clinic.visits (at, person, code, legacy, note)
select timestamptz '2025-01-01 00:00+00' + n % 90 * interval '1 day', 1 + n % 100, 'c' || n, 'old', 'note ' || n
  from generate_series(1, 20000) n;
alter table clinic.visits enable always trigger visits_all;
comment on trigger visits_note on clinic.visits is 'If it is another.';
analyze clinic.visits;
";

const PLAN: &str = r#"version: 1
name: visits
settings: {workers: 2, chunk_size: 256KiB}
tables:
  - table: clinic.visits
    partition_by: {range: at, bounds: [2025-01-01, 2025-02-01, 2025-03-01, 2025-04-01], name: "{table}_p{from:%Y_%m}"}
    primary_key: [id, at]
    replica_identity: full
    columns:
      legacy: drop
      minutes: {type: bigint}
      note: {rename: remark}
    add_columns:
      - "ticket bigint not null default nextval('clinic.tickets')"
    drop_indexes: [visits_legacy]
    indexes:
      - create index visits_code_at on clinic.visits (code, at)
"#;

fn clinic(cluster: &Cluster) -> Bluegreen {
    cluster.psql(DB, SCHEMA);
    Bluegreen::new(cluster, DB).plan(PLAN)
}

/// Everything of the database, sequences and journal included, and what is not in a dump.
fn state(cluster: &Cluster) -> (String, String) {
    let rest =
        "select slot_name from pg_replication_slots union all select roname from pg_replication_origin";
    (cluster.pg_dump(DB, &[]), cluster.psql(DB, rest))
}

fn previewed(program: &Bluegreen, args: &[&str]) -> Finished {
    let args: Vec<&str> = ["--dry-run"].iter().chain(args).copied().collect();
    program.execute(&args).expect_code(0)
}

fn phases(preview: &Finished) -> Vec<String> {
    let mut phases: Vec<String> = preview
        .events_of("preview_step")
        .iter()
        .map(|step| step["phase"].as_str().unwrap().to_owned())
        .collect();
    phases.dedup();
    phases
}

#[test]
fn it_changes_nothing_before_a_run_after_each_of_its_phases_and_after_its_end() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let all = ["prepare", "copy", "catch_up", "index", "verify", "swap", "settle", "rollback", "finish"];
    // What an orchestrator that takes over verifies and catches up again is left, too.
    let left: [(&str, &[&str]); 6] = [
        ("nothing", &all),
        ("prepare", &all[1..]),
        ("copy", &all[2..]),
        ("index", &["catch_up", "verify", "swap", "settle", "rollback", "finish"]),
        ("verify", &["catch_up", "verify", "swap", "settle", "rollback", "finish"]),
        ("settle", &["finish"]),
    ];
    for (until, left) in left {
        if until != "nothing" {
            program.execute(&["--yes", "--until", until]).expect_code(0);
        }
        let before = state(&cluster);
        let preview = previewed(&program, &[]);
        assert!(before == state(&cluster), "a preview after {until} has changed something");
        assert_eq!(phases(&preview), left, "after {until}");
        let summary = preview.events_of("preview_summary")[0];
        assert_eq!(summary["run"].is_null(), until == "nothing", "{summary}");
    }
    let journal = "select count(*) from projh_bluegreen.fact where fact->>'fact' = 'started'";
    assert_eq!(cluster.psql(DB, journal).trim(), "5", "a preview took the run over");
}

#[test]
fn it_makes_no_journal_and_no_sequence_moves() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let preview = previewed(&program, &[]);
    let journal = "select count(*) from pg_namespace where nspname ~ '^projh'";
    assert_eq!(cluster.psql(DB, journal).trim(), "0");
    assert_eq!(cluster.psql(DB, "select is_called from clinic.tickets").trim(), "f");
    // The sample would have called it; so there is none, and that is said.
    let basis = preview.events_of("preview_summary")[0]["basis"].to_string();
    assert!(basis.contains("nextval"), "{basis}");
}

/// A dry run that ends a real one is the worst that a preview can do.
#[test]
fn a_run_that_is_being_executed_is_left_alone() {
    let cluster = Cluster::start();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        own::create(&cluster.client(DB).await, 20_000).await.unwrap();
    });
    let plan = own::plan("live").replace("chunk_size: 256KiB", "chunk_size: 64KiB\n  max_snapshot_age: 10ms");
    let program = Bluegreen::new(&cluster, DB).plan(&plan);
    let mut running = program.spawn("execute", &["--yes"]);
    let run = running.wait_for("run")["run"].clone();
    running.wait_for("round");
    let mut previews = 0;
    while running.is_running() && previews < 5 {
        running.freeze(true);
        let preview = previewed(&program, &[]);
        running.freeze(false);
        let summary = preview.events_of("preview_summary")[0];
        if summary["run"].is_null() {
            break;
        }
        assert_eq!(summary["run"], run);
        previews += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    let finished = running.finish().expect_code(0);
    assert!(previews > 0, "the run ended before the first preview");
    assert!(finished.events_of("retry").is_empty() && finished.events_of("error").is_empty());
    let journal = "select format('%s %s', (select max(epoch) from projh_bluegreen.run), \
                   (select count(*) from projh_bluegreen.fact where fact->>'fact' = 'started'))";
    assert_eq!(cluster.psql(DB, journal).trim(), "1 1");
}

#[test]
fn a_real_run_can_begin_while_a_preview_is_made() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let previews: Vec<_> = (0..3).map(|_| program.spawn("execute", &["--dry-run"])).collect();
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    for preview in previews {
        // One whose checks meet the publication of the run refuses; none fails.
        let ended = preview.finish();
        assert!(matches!(ended.code, Some(0 | 3)), "{} {}", ended.stdout, ended.stderr);
    }
}

#[test]
fn a_refusal_comes_first_and_is_all_there_is() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    cluster.psql(DB, "create domain clinic.day as clinic.visits");
    let refused = program.execute(&["--dry-run"]).expect_code(3);
    assert!(!refused.refusals().is_empty());
    assert!(refused.events.iter().all(|event| !event["type"].as_str().unwrap().starts_with("preview")));
}

#[test]
fn a_plan_that_changed_since_its_run_began_is_refused_as_execute_refuses_it() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    program.execute(&["--yes", "--until", "prepare"]).expect_code(0);
    program.write_plan(&PLAN.replace("visits_code_at", "visits_at_code"));
    let changed = program.execute(&["--dry-run"]).expect_code(3);
    assert!(changed.error().contains("visits_at_code"));
}

fn changes(preview: &Finished) -> Vec<String> {
    let shown = |change: &&Value| {
        let text = |key: &str| change[key].as_str().unwrap().to_owned();
        format!("{} {}: {}", text("sign"), text("object"), text("text"))
    };
    preview.events_of("preview_change").iter().map(shown).collect()
}

#[test]
fn the_diff_says_what_comes_what_goes_and_what_changes() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let changes = changes(&previewed(&program, &[]));
    for expected in [
        "- table: plain",
        "+ table: partitioned by range (at), 4 partitions",
        "+ partitions: in schema clinic: visits_p2025_01, visits_p2025_02, visits_p2025_03, visits_default",
        "- column: legacy text",
        "~ column: minutes integer -> bigint, from CAST(\"minutes\" AS bigint)",
        "~ column: note is called remark",
        "+ column: ticket bigint not null default nextval('clinic.tickets')",
        "~ primary key: (id) -> (id, at)",
        "- index: visits_legacy",
        "+ index: visits_code_at (code, at)",
    ] {
        assert!(changes.iter().any(|change| change == expected), "{expected} is not in {changes:#?}");
    }
}

/// With `pg_stat_statements`, statements that will behave differently are named by their id.
#[test]
fn statements_that_will_fail_are_found_and_no_literal_is_shown() {
    let cluster = Cluster::builder().setting("shared_preload_libraries", "pg_stat_statements").start();
    let program = clinic(&cluster);
    cluster.psql(DB, "create extension pg_stat_statements");
    cluster.psql(
        DB,
        "insert into clinic.visits (id, at, person, note) overriding system value \
         values (1, now(), 1, 'psychotherapy') on conflict (id) do nothing",
    );
    for seen in [
        "select id, count(*) from clinic.visits v group by v.id",
        "select legacy from clinic.visits where id = 4711",
        "select \"at\", \"note\" from \"clinic\".visits where false",
        "insert into clinic.visits overriding system value select * from clinic.visits where false",
        "update clinic.visits set code = '', at = at where false",
        "copy clinic.visits to '/dev/null'",
        "reindex table clinic.visits",
        "delete from only clinic.visits where ctid = '(0,1)' returning xmin",
    ] {
        cluster.psql(DB, seen);
    }
    // With a sample, whose statements do not count although they are seen.
    let ticket = "      - \"ticket bigint not null default nextval('clinic.tickets')\"";
    program.write_plan(&PLAN.replace(&format!("    add_columns:\n{ticket}\n"), ""));
    let first = previewed(&program, &[]);
    assert!(first.events_of("preview_summary")[0]["basis"].to_string().contains("a sample of"));
    let preview = previewed(&program, &[]);
    let topics: Vec<&str> = preview
        .events_of("preview_notice")
        .iter()
        .filter(|notice| !notice["statements"].as_array().unwrap().is_empty())
        .map(|notice| notice["topic"].as_str().unwrap())
        .collect();
    assert_eq!(
        topics,
        [
            "on_conflict",
            "group_by",
            "lost_column",
            "lost_column",
            "ctid",
            "system_columns",
            "only",
            "copy_to",
            "moved_rows",
            "maintenance",
            "insert_columns"
        ]
    );
    let calls = preview.events_of("preview_notice");
    let calls = calls.iter().flat_map(|notice| notice["statements"].as_array().unwrap());
    assert!(calls.clone().all(|seen| seen["calls"] == 1), "{:?}", calls.collect::<Vec<_>>());
    assert!(!preview.stdout.contains("psychotherapy"), "a literal was shown");
}

#[test]
fn the_sample_is_the_plans_to_allow() {
    let cluster = Cluster::start();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        own::create(&cluster.client(DB).await, 5_000).await.unwrap();
    });
    let basis = |plan: &str| {
        let program = Bluegreen::new(&cluster, DB).plan(plan);
        previewed(&program, &[]).events_of("preview_summary")[0]["basis"].to_string()
    };
    let with = basis(&own::plan("sampled"));
    assert!(with.contains("a sample of 5000 rows"), "{with}");
    let without =
        basis(&own::plan("sampled").replace("  workers: 2", "  workers: 2\n  preview: {sample: false}"));
    assert!(without.contains("does not allow a sample") && !without.contains("a sample of"), "{without}");
}

#[test]
fn a_person_gets_a_page_that_ends_with_the_plan_in_one_line() {
    let cluster = Cluster::start();
    let program = clinic(&cluster);
    let page = program.run_for_people("execute", &["--dry-run"]).expect_code(0).stdout;
    let sections = [
        "Checks",
        "What the swap changes",
        "What clients will notice",
        "Steps",
        "What the estimates are based on",
    ];
    let at: Vec<usize> = sections.iter().map(|title| page.find(&format!("\n{title}\n")).unwrap()).collect();
    assert!(at.is_sorted(), "{page}");
    assert!(page.contains("ACCESS EXCLUSIVE, reads and writes wait"), "{page}");
    assert!(page.contains("create partition visits_p2025_01, and the same for 3 more"), "{page}");
    let plan = page.lines().rev().find(|line| line.starts_with("Plan: ")).unwrap();
    assert!(plan.starts_with("Plan: 1 table, 4 partitions to create, 3 indexes to build, about "), "{plan}");
    assert!(!page.contains('\x1b'), "colours outside of a terminal");
    let all = program.run_for_people("execute", &["--dry-run", "-v"]).expect_code(0).stdout;
    assert!(all.contains("create partition visits_default") && !all.contains("the same for"), "{all}");
}
