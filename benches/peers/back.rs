//! The way back: what it costs clients, and how fast it is.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::{Clients, rate};
use crate::figure::Figure;
use crate::program::{self, Told};
use crate::stage::{Stage, plan};
use crate::stream::{CHANGE, CHANGES, ROWS};

const CLIENTS: u64 = 16;
/// How long clients are watched in the soak, and after it.
const WATCHED: Duration = Duration::from_secs(15);

/// Statements a second of 16 clients that never rest, in the soak, and on the same table without a run: the mean of before
/// and after it, because a table that was just filled is slower to update than one that has free space in its pages.
pub fn soak(stage: &Stage, rows: u64) -> Vec<Figure> {
    stage.fresh("live", rows, false);
    let settings = format!("{{soak: {}s}}", (3 * WATCHED).as_secs());
    program::execute(stage, "live", &plan(&settings), &["--until", "settle"]);
    let clients = Clients::start(stage, "live", CLIENTS, Duration::ZERO, rows);
    std::thread::sleep(Duration::from_secs(1) + WATCHED);
    let before = Instant::now();
    let told = program::execute(stage, "live", &plan(&settings), &[]);
    std::thread::sleep(Duration::from_secs(1) + WATCHED);
    let stopped = Instant::now();
    let answers = clients.stop();
    let rate = |from, to| rate(&answers, from, to);
    let over = told.when(&json!({"type": "phase_done", "phase": "soak"}));
    let from = told.when(&json!({"type": "soaking"}));
    let without = [rate(before - WATCHED, before), rate(stopped - WATCHED, stopped)];
    eprintln!("without a run: {without:.0?} stmts/s");
    let pair = (rate(from, over), (without[0] + without[1]) / 2.0);
    vec![Figure::of("clients in the soak / without a run", "stmts/s", ">= 0.85x", &[pair])]
}

/// Memory of the program in the last minute of a soak of so many minutes and in its second, and the most by the end of it
/// and of the first; 16 clients.
pub fn memory(stage: &Stage, minutes: u64, rest: Duration) -> Vec<Figure> {
    stage.fresh("live", 100_000, false);
    let settings = format!("{{soak: {minutes}m}}");
    program::execute(stage, "live", &plan(&settings), &["--until", "settle"]);
    let clients = Clients::start(stage, "live", CLIENTS, rest, 100_000);
    let told = program::execute(stage, "live", &plan(&settings), &[]);
    let answers = clients.stop();
    let begun = told.when(&json!({"type": "soaking"}));
    let minute = Duration::from_secs(60);
    let median = |from| told.median_bytes(from, from + minute) as f64 / 1e6;
    let most = |by| told.peak_bytes(by) as f64 / 1e6;
    let rate = rate(&answers, begun, told.ended);
    let over = told.when(&json!({"type": "phase_done", "phase": "soak"}));
    let medians = (median(over - minute), median(begun + minute));
    let what = format!("memory at the end of {minutes} min of soak at {rate:.0} stmts/s / after one");
    let peaks = (most(over), most(begun + minute));
    vec![
        Figure::of(&what, "MB", "same, < 64 MB", &[medians]),
        Figure::of("the most of it until then / in the first minute", "MB", "< 64 MB", &[peaks]),
    ]
}

/// The told stall of rollbacks, and that of the swaps between them, of 16 clients.
pub fn rollbacks(stage: &Stage, swaps: usize) -> Vec<Figure> {
    stage.fresh("live", 100_000, false);
    let plan = plan("{soak: 1h}");
    let clients = Clients::start(stage, "live", CLIENTS, Duration::from_millis(10), 100_000);
    let stall = |told: &Told| {
        let swapped = told.events.iter().find(|(_, event)| event["type"] == "swapped").unwrap();
        swapped.1["stall_ms"].as_f64().unwrap()
    };
    let mut pairs = Vec::new();
    for _ in 0..swaps {
        let there = stall(&program::execute(stage, "live", &plan, &["--until", "settle"]));
        let back = stall(&program::run(stage, "live", &plan, &["rollback"], 6));
        pairs.push((back, there));
    }
    let answers = clients.stop();
    let failed = answers.iter().flatten().filter(|answer| answer.failed).count();
    let what = format!("told stall of a rollback / of a swap, {swaps} each, 16 clients");
    let nothing = Figure::of("failed statements, there and back", "", "0", &[(failed as f64, 0.0)]);
    vec![Figure::of(&what, "ms", ">= 1.0x", &pairs), Figure { ratio: 1.0, ..nothing }]
}

/// A backlog of 300,000 changes: of blue into green, of green into blue, and each read to nowhere.
pub fn drain(stage: &Stage, pairs: usize) -> Vec<Figure> {
    let rate = |told: &Told| {
        let phase = |event: &str| json!({"type": event, "phase": "catch_up"});
        CHANGES as f64 / told.seconds(&phase("phase_started"), &phase("phase_done"))
    };
    let (mut back, mut there, mut nowhere) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..pairs {
        let plan = plan("{soak: 1h}");
        stage.fresh("ours", ROWS, false);
        program::execute(stage, "ours", &plan, &["--until", "catch_up"]);
        let blue_to_nowhere = CHANGES as f64 / received(stage, false);
        let forward = rate(&program::execute(stage, "ours", &plan, &["--until", "catch_up"]));
        // The same changes again: what they insert needs other keys.
        stage.cluster.psql("ours", "update visits set visit_id = -visit_id where visit_id > 1000000");
        program::execute(stage, "ours", &plan, &["--until", "settle"]);
        let green_to_nowhere = CHANGES as f64 / received(stage, true);
        let home = rate(&program::run(stage, "ours", &plan, &["rollback"], 6));
        program::run(stage, "ours", &plan, &["rollback"], 6);
        back.push((home, forward));
        there.push((forward, blue_to_nowhere));
        nowhere.push((home, green_to_nowhere));
    }
    vec![
        Figure::of("drain 300,000 changes / pg_recvlogical to nowhere", "changes/s", ">= 0.95x", &there),
        Figure::of("drain 300,000 changes back / there", "changes/s", ">= 0.9x", &back),
        Figure::of("drain 300,000 changes back / pg_recvlogical to nowhere", "changes/s", "", &nowhere),
    ]
}

/// Makes the backlog of blue, or of green; seconds that `pg_recvlogical` takes for a copy of its slot.
fn received(stage: &Stage, of_green: bool) -> f64 {
    stage.cluster.psql("ours", CHANGE);
    let slot = format!(
        "select slot_name from pg_replication_slots
         where (slot_name like '%\\_back') = {of_green} and database = 'ours'"
    );
    let slot = stage.cluster.psql("ours", &slot).trim().to_owned();
    stage.cluster.psql("ours", &format!("select pg_copy_logical_replication_slot('{slot}', 'nowhere')"));
    let end = stage.cluster.psql("ours", "select pg_current_wal_lsn()").trim().to_owned();
    let begun = Instant::now();
    let output = Command::new("/usr/lib/postgresql/15/bin/pg_recvlogical")
        .args(["--start", "--no-loop", "-S", "nowhere", "-f", "/dev/null", "-E", &end, "-d", "ours"])
        .args(["-o", "proto_version=1", "-o", &format!("publication_names={slot}"), "-o", "messages=true"])
        .envs(stage.cluster.env("ours"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds = begun.elapsed().as_secs_f64();
    stage.cluster.psql("ours", "select pg_drop_replication_slot('nowhere')");
    seconds
}
