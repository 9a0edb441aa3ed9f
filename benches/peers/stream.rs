//! The stream, and what the program holds in memory.

use std::time::Instant;

use serde_json::json;

use crate::figure::Figure;
use crate::program;
use crate::stage::{Stage, green_by_hand, plan};

pub const ROWS: u64 = 500_000;
pub const CHANGES: u64 = 300_000;

/// Transactions of three changes: 75 updates, 20 inserts, 5 deletes of a hundred, of young rows more
/// often than of old ones.
pub const CHANGE: &str = "
do $$ declare die float8; young bigint; begin
  perform setseed(0.5), set_config('synchronous_commit', 'off', false);
  for n in 1..100000 loop
    for i in 1..3 loop
      die := random();
      young := 500000 - floor(500000 * power(random(), 3));
      if die < 0.75 then
        update visits set status = 'moved', fee = fee + 1 where visit_id = young;
        if not found then die := 0.8; end if;
      end if;
      if die >= 0.95 then
        delete from visits where visit_id = young;
        if not found then die := 0.8; end if;
      end if;
      if die >= 0.75 and die < 0.95 then
        insert into visits values (1000000 + n * 10 + i, 1, 1, timestamptz '2025-11-01' + die * interval '60 days',
          '2026-01-01', 'new', 'group', md5(i::text), 1, '2025-11-01');
      end if;
    end loop;
    commit;
  end loop;
end $$";

/// From the start of catching up to its end, into 25 partitions with a wider key; against a subscription
/// into the same, and against one into a plain table.
pub fn drain(stage: &Stage, pairs: usize) -> Vec<Figure> {
    let (mut same, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        let ours = CHANGES as f64 / ours(stage);
        same.push((ours, CHANGES as f64 / subscription(stage, true)));
        plain.push((ours, CHANGES as f64 / subscription(stage, false)));
    }
    vec![
        Figure::of("drain 300,000 changes / a subscription", "changes/s", ">= 3.0x", &same),
        Figure::of("drain 300,000 changes / a subscription, plain table", "changes/s", "", &plain),
    ]
}

fn ours(stage: &Stage) -> f64 {
    stage.fresh("ours", ROWS, false);
    program::execute(stage, "ours", &plan("{}"), &["--until", "catch_up"]);
    stage.cluster.psql("ours", CHANGE);
    let told = program::execute(stage, "ours", &plan("{}"), &["--until", "catch_up"]);
    let phase = |event: &str| json!({"type": event, "phase": "catch_up"});
    let seconds = told.seconds(&phase("phase_started"), &phase("phase_done"));
    let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = 'ours'";
    stage.cluster.psql("ours", sql);
    seconds
}

/// A subscriber finds rows by the partitions' key, so the publisher has to send it.
const WIDER_KEY: &str = "
create unique index visits_wider on visits (visit_id, start_time);
alter table visits replica identity using index visits_wider;
";

fn subscription(stage: &Stage, parted: bool) -> f64 {
    stage.fresh("peer", ROWS, false);
    stage.fresh("subscriber", ROWS, false);
    if parted {
        stage.cluster.psql("peer", WIDER_KEY);
        let sql = format!(
            "{} insert into green select * from visits; alter table green add primary key (visit_id, start_time); \
             drop table visits; alter table green rename to visits; analyze visits",
            green_by_hand()
        );
        stage.cluster.psql("subscriber", &sql);
    }
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
        told.peak_bytes(told.ended) as f64 / 1e6
    };
    let (few, many) = (peak(1_000_000), peak(10_000_000));
    vec![Figure::of("memory for 10,000,000 rows / for 1,000,000", "MB", "same, < 100 MB", &[(many, few)])]
}
