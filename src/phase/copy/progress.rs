//! Reports the progress of the copy.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::Event;
use crate::meter::TableMeter;
use crate::pg::BLOCK_BYTES;
use crate::run::Run;

/// How often progress is reported.
const EVERY: Duration = Duration::from_secs(1);

/// Reports the progress of one round.
pub(super) struct ProgressReport {
    /// Heap blocks of each lane's blue when the round began.
    blocks: Vec<u32>,
    rates: Mutex<Rates>,
}

struct Rates {
    last: Instant,
    lanes: Vec<TableMeter>,
}

/// Rows copied of one lane, and the bytes of their heap blocks.
struct Count {
    rows: u64,
    bytes: u64,
}

impl ProgressReport {
    pub(super) fn new(run: &Run<'_>, blocks: Vec<u32>) -> Self {
        let now = Instant::now();
        let lanes =
            counts(run, &blocks).into_iter().map(|count| TableMeter::new(now, count.rows, count.bytes));
        let rates = Rates { last: now, lanes: lanes.collect() };
        Self { blocks, rates: Mutex::new(rates) }
    }

    /// Reports about once a second, or at once if `now`.
    pub(super) fn send(&self, run: &Run<'_>, now: bool) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if !now && rates.last.elapsed() < EVERY {
            return;
        }
        let at = Instant::now();
        rates.last = at;
        for (number, count) in counts(run, &self.blocks).into_iter().enumerate() {
            let Some(meter) = rates.lanes.get_mut(number) else { continue };
            let bytes_total = u64::from(self.blocks[number]) * BLOCK_BYTES;
            let (rows_per_s, reached) = meter.see(at, count.rows, count.bytes, bytes_total);
            run.cx.tell(&Event::CopyProgress {
                table: run.lanes[number].table.plain(),
                rows: count.rows,
                rows_estimated: estimated(run, number, &count, bytes_total),
                rows_per_s,
                reached,
            });
        }
    }
}

/// What has been copied, by lane.
fn counts(run: &Run<'_>, blocks: &[u32]) -> Vec<Count> {
    let progress = run.journal.progress();
    let copied = progress.rows_copied.iter().zip(&progress.copied).zip(blocks);
    copied
        .map(|((rows, have), all)| Count { rows: *rows, bytes: u64::from(have.covered(*all)) * BLOCK_BYTES })
        .collect()
}

/// Blue's rows: as PostgreSQL's statistics estimate them or, without those, extrapolated from the rows copied so far.
fn estimated(run: &Run<'_>, lane: usize, &Count { rows, bytes }: &Count, bytes_total: u64) -> u64 {
    let progress = run.journal.progress();
    let design = progress.prepared.as_ref().and_then(|prepared| prepared.lanes.get(lane));
    let by_server = design.map_or(0, |design| design.green.blue.table.estimated_rows);
    let by_part = u128::from(rows) * u128::from(bytes_total) / u128::from(bytes.max(1));
    let estimate = if by_server > 0 { by_server } else { u64::try_from(by_part).unwrap_or(rows) };
    estimate.max(rows)
}
