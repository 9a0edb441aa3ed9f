//! The stream, and what the program holds in memory.

use std::time::Instant;

use serde_json::json;

use crate::figure::Figure;
use crate::program;
use crate::stage::{Stage, plan};

const ROWS: u64 = 500_000;
const CHANGES: u64 = 300_000;

/// Six updates, two inserts and two deletes of ten, in transactions of a hundred, over the whole table.
const CHANGE: &str = "
do $$ begin
  for n in 1..3000 loop
    for i in 1..60 loop
      update visits set status = 'moved', fee = fee + 1 where visit_id = 1 + ((n * 60 + i) * 7919::bigint) % 400000;
    end loop;
    insert into visits select 1000000 + n * 20 + i, 1, 1, timestamptz '2024-01-01' + ((n * 20 + i) * 7919::bigint) % 700 * interval '1 day',
      '2026-01-01', 'new', 'group', md5(i::text), 1, '2024-01-01' from generate_series(1, 20) as i;
    for i in 1..20 loop
      delete from visits where visit_id = 400000 + n * 20 + i;
    end loop;
    commit;
  end loop;
end $$";

/// From the start of catching up to its end, into 25 partitions; against a subscription into a plain table.
pub fn drain(stage: &Stage, pairs: usize) -> Vec<Figure> {
    let pair = |_| {
        stage.fresh("ours", ROWS, false);
        program::execute(stage, "ours", &plan("{}"), &["--until", "catch_up"]);
        stage.cluster.psql("ours", CHANGE);
        let told = program::execute(stage, "ours", &plan("{}"), &["--until", "catch_up"]);
        let phase = |event: &str| json!({"type": event, "phase": "catch_up"});
        let ours = told.seconds(&phase("phase_started"), &phase("phase_done"));
        let sql =
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = 'ours'";
        stage.cluster.psql("ours", sql);
        (CHANGES as f64 / ours, CHANGES as f64 / subscription(stage))
    };
    let pairs: Vec<_> = (0..pairs).map(pair).collect();
    vec![Figure::of("drain a backlog of 300,000 changes / a subscription", "changes/s", ">= 3.0x", &pairs)]
}

fn subscription(stage: &Stage) -> f64 {
    stage.fresh("peer", ROWS, false);
    stage.fresh("subscriber", ROWS, false);
    stage.cluster.psql("peer", "create publication p for table visits");
    stage.cluster.psql("peer", "select pg_create_logical_replication_slot('peer', 'pgoutput')");
    stage.cluster.psql("peer", CHANGE);
    let end = stage.cluster.psql("peer", "select pg_current_wal_lsn()").trim().to_owned();
    let url = format!("host=127.0.0.1 port={} user=postgres dbname=peer", stage.cluster.port());
    let begun = Instant::now();
    stage.cluster.psql(
        "subscriber",
        &format!(
            "create subscription s connection '{url}' publication p \
             with (create_slot = false, slot_name = 'peer', copy_data = false)"
        ),
    );
    let sql =
        format!("select confirmed_flush_lsn >= '{end}' from pg_replication_slots where slot_name = 'peer'");
    stage.wait_for("peer", &sql);
    let seconds = begun.elapsed().as_secs_f64();
    let same = "select count(*), sum(hash_record_extended(v, 0)) from visits as v";
    assert_eq!(stage.cluster.psql("peer", same), stage.cluster.psql("subscriber", same));
    stage.cluster.psql("subscriber", "drop subscription s");
    stage.drop("subscriber");
    seconds
}

/// The most memory that the program holds, of ten times as many rows and of as few.
pub fn memory(stage: &Stage) -> Vec<Figure> {
    let peak = |rows| {
        stage.fresh("ours", rows, false);
        let told = program::execute(stage, "ours", &plan("{}"), &[]);
        stage.drop("ours");
        told.peak_bytes as f64 / 1e6
    };
    let (few, many) = (peak(1_000_000), peak(10_000_000));
    vec![Figure::of("memory for 10,000,000 rows / for 1,000,000", "MB", "same, < 100 MB", &[(many, few)])]
}
