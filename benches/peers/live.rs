//! What clients notice.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::clients::{Answer, Clients, rate};
use crate::figure::Figure;
use crate::job::repack;
use crate::program;
use crate::stage::{Stage, plain_plan, plan};

const CLIENTS: u64 = 16;
/// Clients that leave the processors time for others: the stall is measured, not the queue.
const REST: Duration = Duration::from_millis(10);
/// The part of a run that ends with its swap.
const AROUND: Duration = Duration::from_secs(1);
pub const ROWS: u64 = 100_000;

/// Each client's longest statement in the second that ends with the swap, of 16 clients and 20 swaps: of a
/// table that stays in one piece, as pg_repack's does, and of one that becomes 25 partitions.
pub fn stall(stage: &Stage, swaps: usize) -> Vec<Figure> {
    let (mut plain, mut parted, mut peer) = (Felt::default(), Felt::default(), Felt::default());
    for _ in 0..swaps {
        for (plan, felt_of) in [(plain_plan(), &mut plain), (plan("{}"), &mut parted)] {
            felt_of.add(&felt(stage, "", || {
                let told = program::execute(stage, "live", &plan, &[]);
                told.when(&json!({"type": "swapped"}))
            }));
        }
        peer.add(&felt(stage, "", || {
            repack(stage, "live");
            Instant::now()
        }));
    }
    let row = |what: &str, ours: &Felt, goal, share| {
        let what = format!("{what}, {swaps} swaps, 16 clients / pg_repack");
        Figure::of(&what, "ms", goal, &[(ours.percentile(share), peer.percentile(share))])
    };
    let failed = Figure::of("failed statements", "", "0", &[(plain.failed + parted.failed, peer.failed)]);
    vec![
        row("stall p99, one piece", &plain, "< 50 ms", 0.99),
        row("stall p99, 25 partitions", &parted, "< 50 ms", 0.99),
        row("longest stall, one piece", &plain, "", 1.0),
        row("longest stall, 25 partitions", &parted, "", 1.0),
        Figure { ratio: 1.0, ..failed },
    ]
}

/// Clients at work, before, while and after `run`, which says when its swap was over; `before` is SQL that is executed first.
pub fn felt(stage: &Stage, before: &str, run: impl FnOnce() -> Instant) -> (Vec<Vec<Answer>>, Instant) {
    stage.fresh("live", ROWS, false);
    stage.cluster.psql("live", before);
    let clients = Clients::start(stage, "live", CLIENTS, REST, ROWS);
    std::thread::sleep(Duration::from_millis(500));
    let swapped = run();
    std::thread::sleep(Duration::from_millis(500));
    (clients.stop(), swapped)
}

/// What was felt of many swaps.
#[derive(Default)]
pub struct Felt {
    longest_ms: Vec<f64>,
    pub failed: f64,
}

impl Felt {
    pub fn add(&mut self, (clients, swapped): &(Vec<Vec<Answer>>, Instant)) {
        for answers in clients {
            let near = answers.iter().filter(|a| a.answered + AROUND > *swapped && a.asked < *swapped);
            let longest = near.map(|a| a.answered.duration_since(a.asked)).max().unwrap_or_default();
            self.longest_ms.push(longest.as_secs_f64() * 1_000.0);
            self.failed += answers.iter().filter(|answer| answer.failed).count() as f64;
        }
    }

    pub fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.longest_ms.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * share) as usize]
    }
}

/// Statements a second of 16 clients that never rest, while copy and catch-up run and while nothing does.
pub fn throughput(stage: &Stage, rows: u64) -> Vec<Figure> {
    stage.fresh("live", rows, false);
    let clients = Clients::start(stage, "live", CLIENTS, Duration::ZERO, rows);
    let alone = Duration::from_secs(10);
    std::thread::sleep(Duration::from_secs(2) + alone);
    let told = program::execute(stage, "live", &plan("{}"), &["--until", "catch_up"]);
    let (begun, ended) = (
        told.when(&json!({"type": "phase_started", "phase": "copy"})),
        told.when(&json!({"type": "phase_done", "phase": "catch_up"})),
    );
    std::thread::sleep(alone);
    let stopped = Instant::now();
    let answers = clients.stop();
    let rate = |from, to| rate(&answers, from, to);
    let before = rate(told.begun - alone, told.begun);
    let after = rate(stopped - alone, stopped);
    let pair = (rate(begun, ended), (before + after) / 2.0);
    let parts =
        [("copy", "round_ended", ""), ("key", "phase_done", "copy"), ("catch-up", "phase_done", "catch_up")];
    let mut from = begun;
    for (what, event, phase) in parts {
        let like =
            if phase.is_empty() { json!({"type": event}) } else { json!({"type": event, "phase": phase}) };
        let to = told.when(&like);
        eprintln!(
            "{what}: {:.1} s, {:.0} statements/s",
            to.duration_since(from).as_secs_f64(),
            rate(from, to)
        );
        from = to;
    }
    vec![Figure::of("clients while copy and catch-up run / without a run", "stmts/s", ">= 0.7x", &[pair])]
}
