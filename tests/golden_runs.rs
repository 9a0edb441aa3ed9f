//! Runs that an earlier release left behind go on in this one: its journal is read, and no step is skipped
//! or done twice.
//!
//! `golden_runs/*.sql` are dumps of databases in which version 0.1.0 (before its steps had names) stopped after each
//! phase. Invariant: they are never made anew by a later version; a change of the journal's format has to read them.
//! A dump holds neither a slot nor files nor OIDs: all are put back as they would be.

use crate::support::{Bluegreen, Cluster};

const PLAN: &str = include_str!("golden_runs/plan.yaml");

const STOPPED: [(&str, &str); 8] = [
    ("prepare", include_str!("golden_runs/prepare.sql")),
    ("copy", include_str!("golden_runs/copy.sql")),
    ("catch_up", include_str!("golden_runs/catch_up.sql")),
    ("mid_index", include_str!("golden_runs/mid_index.sql")),
    ("index", include_str!("golden_runs/index.sql")),
    ("verify", include_str!("golden_runs/verify.sql")),
    ("swap", include_str!("golden_runs/swap.sql")),
    ("settle", include_str!("golden_runs/settle.sql")),
];

/// What a slot and the tables' files are to the journal, where there was a slot.
const SLOT_AND_FILES: &str = "
select pg_create_logical_replication_slot('projh_bg_' || run, 'pgoutput') from projh_bluegreen.stream;
update projh_bluegreen.stream s set applied_lsn = confirmed_flush_lsn
from pg_replication_slots r where r.slot_name = 'projh_bg_' || s.run;
update projh_bluegreen.fact set fact = fact || jsonb_build_object('filenodes', jsonb_build_array(
    coalesce(pg_relation_filenode('public.visits')::bigint, 0), pg_relation_filenode('public.bills')::bigint))
where fact->>'fact' = 'slot_created';";

/// What the tables' OIDs are to the journal, before the swap.
const OIDS: &str = "
update projh_bluegreen.fact set fact = jsonb_set(jsonb_set(fact,
    '{lanes,0,green,blue,table,oid}', to_jsonb('public.visits'::regclass::oid::bigint)),
    '{lanes,1,green,blue,table,oid}', to_jsonb('public.bills'::regclass::oid::bigint))
where fact->>'fact' = 'prepared';";

/// The first two of the steps that follow the swap, in the order of 0.1.0.
const TWO_STEPS_SETTLED: &str = "
alter table public.visits_p2025_01 validate constraint visits_person;
alter table public.visits_p2025_03 validate constraint visits_person;
insert into projh_bluegreen.fact (run, epoch, fact)
select run, epoch, jsonb_build_object('fact', 'step_settled', 'lane', 0, 'step', step)
from projh_bluegreen.run, generate_series(0, 1) step;";

const STATE: &str = "
select count(*) from public.visits where number between 0 and 38 union all
select count(*) from public.visits where note like '%, since' union all
select count(*) from public.bills union all
select count(*) from pg_constraint where conname = 'visits_person' and convalidated
  and conrelid::regclass::text like 'visits%' union all
select count(*) from pg_index where indrelid = 'public.visits'::regclass and indisvalid union all
select count(*) from pg_replication_slots where database = current_database() union all
select count(*) from pg_publication";

#[test]
fn runs_that_an_earlier_release_left_behind_go_on() {
    let cluster = Cluster::start();
    // From 17 on the catalog has other privileges, and from 18 on other constraints, than the 15 of the dumps: a run
    // that was not swapped does not outlive an upgrade to there, as its slot does not.
    let version = cluster.psql("postgres", "show server_version_num").trim().parse::<u32>().unwrap();
    for (stopped, dump) in STOPPED {
        cluster.create_db(stopped);
        cluster.psql(stopped, dump);
        if !matches!(stopped, "prepare" | "settle") {
            cluster.psql(stopped, SLOT_AND_FILES);
        }
        match stopped {
            // Its index on 1 / (number - 39) could not be built.
            "mid_index" => drop(cluster.psql(stopped, "delete from visits where code = 39")),
            "swap" => drop(cluster.psql(stopped, TWO_STEPS_SETTLED)),
            _ => {}
        }
        let number = if matches!(stopped, "swap" | "settle") { "number" } else { "code" };
        cluster.psql(stopped, &format!("update visits set note = note || ', since' where {number} < 7"));
        let program = Bluegreen::new(&cluster, stopped).plan(PLAN);
        if version >= 170_000 && !matches!(stopped, "swap" | "settle") {
            cluster.psql(stopped, OIDS); // An upgrade keeps them.
            program.execute(&["--yes"]).expect_code(1).expect_words(&["was changed by DDL", "rollback"]);
            continue;
        }
        program.execute(&["--yes"]).expect_code(0);
        // The parent's key, and one on each of four partitions.
        assert_eq!(cluster.psql(stopped, STATE).trim(), "39\n7\n20\n5\n5\n0\n0", "stopped after {stopped}");
        program.run("finish", &["--yes"]).expect_code(0);
        let left = "select count(*) from pg_namespace where nspname ~ '^projh_bg_'";
        assert_eq!(cluster.psql(stopped, left).trim(), "0", "stopped after {stopped}");
    }
}

#[test]
fn runs_that_an_earlier_release_left_behind_are_rolled_back() {
    let cluster = Cluster::start();
    for (stopped, dump) in STOPPED.into_iter().take_while(|(stopped, _)| *stopped != "swap") {
        cluster.create_db(stopped);
        cluster.psql(stopped, dump);
        cluster.psql(stopped, OIDS);
        if stopped != "prepare" {
            cluster.psql(stopped, SLOT_AND_FILES);
        }
        let run = cluster.psql(stopped, "select run from projh_bluegreen.run");
        Bluegreen::new(&cluster, stopped).say(&["rollback", run.trim()]).expect_code(6);
        let left = "select (select count(*) from pg_namespace where nspname ~ '^projh_bg_')
                    + (select count(*) from pg_publication) + (select count(*) from pg_replication_slots)
                    + (select count(*) from pg_class where relkind = 'p')";
        assert_eq!(cluster.psql(stopped, left).trim(), "0", "stopped after {stopped}");
    }
}
