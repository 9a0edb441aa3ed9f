//! The parts of the job, and the whole of it, without clients.

use std::process::Command;
use std::time::Instant;

use serde_json::json;

use crate::figure::Figure;
use crate::program;
use crate::stage::{Stage, green_by_hand, plan};

/// As many connections as the peer has.
const TWO: &str = "{workers: 2}";

/// Copying, from the first chunk to the last, against two sessions that split the table by ctid.
pub fn copy(stage: &Stage, rows: u64, pairs: usize) -> Vec<Figure> {
    let pair = |_| {
        stage.fresh("ours", rows, false);
        let told = program::execute(stage, "ours", &plan(TWO), &["--until", "copy"]);
        let ours = told.seconds(&json!({"type": "round"}), &json!({"type": "round_ended"}));
        stage.fresh("peer", rows, false);
        stage.cluster.psql("peer", &green_by_hand());
        let sql = "select pg_relation_size('visits') / 8192 / 2";
        let half = stage.cluster.psql("peer", sql).trim().to_owned();
        let insert =
            |which| format!("insert into green select * from visits where ctid {which} '({half},0)'");
        let peer = stage.seconds("peer", &[&insert("<"), &insert(">=")]);
        (rows as f64 / ours, rows as f64 / peer)
    };
    let pairs: Vec<_> = (0..pairs).map(pair).collect();
    vec![Figure::of("copy into 25 partitions / insert ... select by hand", "rows/s", ">= 1.0x", &pairs)]
}

/// From the start of the program to its end, against a tool that neither partitions nor verifies.
pub fn whole(stage: &Stage, rows: u64, pairs: usize) -> Vec<Figure> {
    let pair = |_| {
        stage.fresh("ours", rows, true);
        let ours = program::execute(stage, "ours", &plan(TWO), &[]).seconds_in_all();
        stage.fresh("peer", rows, true);
        (ours, repack(stage, "peer"))
    };
    let pairs: Vec<_> = (0..pairs).map(pair).collect();
    vec![Figure::of("copy, four indexes, verify, swap / pg_repack -n -j 2", "s", ">= 1.0x", &pairs)]
}

/// Seconds that pg_repack takes.
pub fn repack(stage: &Stage, db: &str) -> f64 {
    stage.cluster.psql(db, "create extension if not exists pg_repack");
    let begun = Instant::now();
    let output = Command::new("/usr/lib/postgresql/15/bin/pg_repack")
        .args(["-n", "-j", "2", "-t", "public.visits", "-d", db])
        .envs(stage.cluster.env(db))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed().as_secs_f64()
}

/// The whole phase, against two sessions that hash one table each.
pub fn verify(stage: &Stage, rows: u64, pairs: usize) -> Vec<Figure> {
    let by_hand = |table: &str| format!("select count(*), sum(hash_record_extended(t, 0)) from {table} as t");
    // Where a machine is busy, more processes have more of it.
    let alone = |table: &str| format!("set max_parallel_workers_per_gather = 0; {}", by_hand(table));
    let mut pairs_alone = Vec::new();
    let pair = |_| {
        stage.fresh("ours", rows, false);
        program::execute(stage, "ours", &plan(TWO), &["--until", "index"]);
        let told = program::execute(stage, "ours", &plan(TWO), &["--until", "verify"]);
        let started = json!({"type": "phase_started", "phase": "verify"});
        let ours = told.seconds(&started, &json!({"type": "verified"}));
        let sql =
            "select format('%I.visits', nspname) from pg_namespace where nspname like 'projh_bg_%_green'";
        let green = stage.cluster.psql("ours", sql).trim().to_owned();
        let peer = stage.seconds("ours", &[&by_hand("visits"), &by_hand(&green)]);
        let one_each = stage.seconds("ours", &[&alone("visits"), &alone(&green)]);
        let per_second = |seconds: f64| 2.0 * rows as f64 / seconds;
        pairs_alone.push((per_second(ours), per_second(one_each)));
        (per_second(ours), per_second(peer))
    };
    let pairs: Vec<_> = (0..pairs).map(pair).collect();
    vec![
        Figure::of("verify both tables / count and sum of hashes by hand", "rows/s", ">= 0.9x", &pairs),
        Figure::of("verify both tables / the same in one process each", "rows/s", "", &pairs_alone),
    ]
}
