//! How far the copy is, for who looks on.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::Event;
use crate::meter::Reached;
use crate::meter::{Meter, eta_s};
use crate::run::Run;

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);
/// PostgreSQL's, unless somebody has compiled another one in.
const BLOCK_BYTES: u64 = 8_192;

/// What was told of a round so far.
pub(super) struct Told {
    /// Heap blocks of each lane's blue when the round began.
    blocks: Vec<u32>,
    seen: Mutex<Seen>,
}

struct Seen {
    last: Instant,
    /// Of each lane, the rows and the bytes.
    meters: Vec<(Meter, Meter)>,
}

impl Told {
    pub(super) fn new(run: &Run<'_>, blocks: Vec<u32>) -> Self {
        let now = Instant::now();
        let meters =
            counts(run, &blocks).map(|(rows, bytes)| (Meter::new(now, rows), Meter::new(now, bytes)));
        let meters = meters.collect();
        Self { blocks, seen: Mutex::new(Seen { last: now, meters }) }
    }

    /// About once a second, or when asked to.
    pub(super) fn tell(&self, run: &Run<'_>, now: bool) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !now && seen.last.elapsed() < EVERY {
            return;
        }
        let at = Instant::now();
        seen.last = at;
        for (number, (rows, bytes)) in counts(run, &self.blocks).enumerate() {
            let Some((row_meter, byte_meter)) = seen.meters.get_mut(number) else { continue };
            row_meter.see(at, rows);
            byte_meter.see(at, bytes);
            let bytes_total = u64::from(self.blocks[number]) * BLOCK_BYTES;
            let bytes_per_s = byte_meter.per_s();
            let eta_s = eta_s(bytes_total.saturating_sub(bytes), bytes_per_s);
            run.cx.tell(&Event::CopyProgress {
                table: run.lanes[number].table.plain(),
                rows,
                rows_estimated: estimated(run, number, (rows, bytes, bytes_total)),
                rows_per_s: row_meter.per_s(),
                reached: Reached { bytes, bytes_total, bytes_per_s, eta_s },
            });
        }
    }
}

/// Of each lane, the rows and the bytes that have been copied.
fn counts(run: &Run<'_>, blocks: &[u32]) -> impl Iterator<Item = (u64, u64)> + use<> {
    let progress = run.journal.progress();
    let bytes =
        progress.copied.iter().zip(blocks).map(|(have, all)| u64::from(have.covered(*all)) * BLOCK_BYTES);
    progress.rows_copied.iter().copied().zip(bytes).collect::<Vec<_>>().into_iter()
}

/// What PostgreSQL's statistics say; where there are none, what has been read tells of the rest.
fn estimated(run: &Run<'_>, lane: usize, (rows, bytes, bytes_total): (u64, u64, u64)) -> u64 {
    let progress = run.journal.progress();
    let design = progress.prepared.as_ref().and_then(|prepared| prepared.lanes.get(lane));
    let by_server = design.map_or(0, |design| design.green.blue.table.estimated_rows);
    let by_part = u128::from(rows) * u128::from(bytes_total) / u128::from(bytes.max(1));
    let estimate = if by_server > 0 { by_server } else { u64::try_from(by_part).unwrap_or(rows) };
    estimate.max(rows)
}
