//! Copy: every row that existed at a consistent point, in rounds.
//!
//! A round: take a consistent point (LSN L, snapshot S); apply the stream up to L; copy the missing blocks at S;
//! read the dirty keys again at S. The first round's consistent point is that of the run's slot itself, so nothing
//! has to be applied and green has no index yet. A round ends when nothing is missing, when S has grown too old, or
//! when the WAL budget asks for it; a crash ends it too. At the end of every round green is a subset of blue at
//! L, value for value, and after the last one it is equal to it.
//!
//! Anything may crash here, at any time: a chunk and its fact commit together.

mod progress;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::lane::Lane;
use crate::lane::copy::{self as chunks, CopyError, Round};
use crate::lane::feed::FeedError;
use crate::lane::point::Point;
use crate::lifecycle::{Fact, Phase, RoundEnd, Span};
use crate::pg::BLOCK_BYTES;
use crate::pg::connect::Session;
use crate::pg::{Colour, QName};
use crate::plan::Settings;
use crate::run::Run;

use super::{stream, unless};

use progress::ProgressReport;

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    loop {
        let outcome = round(run).await;
        let lane = match outcome {
            Ok(RoundEnd::Complete) => break,
            Ok(RoundEnd::SnapshotAge | RoundEnd::WalBudget) => continue,
            Err(Error::Copy(CopyError::Rewritten { lane, .. })) => lane,
            Err(Error::Feed(FeedError::Truncated { lane, .. })) => lane,
            Err(error) => return Err(error),
        };
        unless(run.stopped(), begin_again(run, lane)).await?;
    }
    let stopped = run.stopped();
    let finish = async {
        // The server decodes while the keys are built.
        stream::ensure(run).await?;
        super::index::build_keys(run).await
    };
    unless(stopped, finish).await?;
    run.journal.record(Fact::CopyFinished).await?;
    Ok(())
}

async fn round(run: &mut Run<'_>) -> Result<RoundEnd, Error> {
    let first = run.journal.progress().slot.is_none();
    let stopped = run.stopped();
    let point = match first {
        true => unless(stopped, first_point(run)).await?,
        false => unless(stopped, later_point(run)).await?,
    };
    let files = run.journal.progress().filenodes.clone();
    let round = Round { snapshot: point.snapshot.clone(), skip_present: !first, files };
    let client = run.connect("copy").await?;
    super::check_fingerprints(run, &client).await?;
    run.journal.record(Fact::RoundBegan { lsn: point.lsn }).await?;
    let blocks = blocks(run, &client).await?;
    let queue = missing(run, &blocks);
    let number = run.journal.progress().rounds;
    tracing::info!(round = number, lsn = %point.lsn, chunks = queue.len(), "round begins");
    run.cx.tell(&Event::Round { round: number, lsn: point.lsn, chunks: queue.len() });
    let copying = Copying {
        run,
        since: point.since,
        round: &round,
        queue: Mutex::new(queue),
        report: ProgressReport::new(run, blocks),
    };
    let why = copying.run().await?;
    if !first {
        unless(run.stopped(), dirty_keys(run, &client, &round)).await?;
    }
    if let Some(feed) = &run.feed {
        feed.check()?;
    }
    run.journal.record(Fact::RoundEnded { why }).await?;
    tracing::info!(round = number, ?why, "round ends");
    run.cx.tell(&Event::RoundEnded { round: number, why });
    Ok(why)
}

/// Reads again the rows whose changes the stream could not complete.
async fn dirty_keys(run: &Run<'_>, client: &Client, round: &Round) -> Result<(), Error> {
    let reader = run.connect("copy").await?;
    for lane in &run.lanes {
        let keys = chunks::dirty_keys(client, &reader, lane, round).await?;
        if keys > 0 {
            run.journal.commit(client, Fact::DirtyKeysRead { lane: lane.number, keys }).await?;
        }
    }
    Ok(())
}

/// Creates the run's own slot and returns its consistent point. The stream starts when this round's copy is over:
/// until then nothing of it can be applied, and decoding the copy's WAL would take a CPU from the copy or a client.
async fn first_point(run: &mut Run<'_>) -> Result<Point, Error> {
    let slot = super::prepared(run)?.slot;
    run.journal.record(Fact::SlotIntended).await?;
    stream::drop_slot(run.journal.session(), &slot).await?;
    let client = run.connect("copy").await?;
    let filenodes = filenodes(&client, run.lanes.iter().map(|lane| &lane.source)).await?;
    let waiting = |holder: String| stream::tell_waiting(run, A_POINT, &holder);
    let (point, walsender) =
        Point::make(&run.cx.target, run.journal.run(), slot.as_str(), false, &waiting).await?;
    client.batch_execute("BEGIN").await.doing("recording the slot")?;
    run.journal.begin_stream(&client, Colour::Blue, point.lsn).await?;
    run.journal.commit(&client, Fact::SlotCreated { lsn: point.lsn, filenodes }).await?;
    walsender.close().await;
    Ok(point)
}

/// Creates a temporary slot and returns its consistent point, with the stream applied up to it. From now on green may
/// hold some of the rows already, so it needs its key.
async fn later_point(run: &mut Run<'_>) -> Result<Point, Error> {
    super::index::build_keys(run).await?;
    stream::ensure(run).await?;
    stream::point(run, A_POINT).await
}

const A_POINT: &str = "a consistent point";

pub(super) async fn filenodes(
    client: &Client,
    tables: impl Iterator<Item = &QName>,
) -> Result<Vec<u32>, Error> {
    let each = tables.map(async |table| chunks::file(client, table).await.doing("reading the tables' files"));
    futures_util::future::try_join_all(each).await
}

/// Heap blocks per chunk (one transaction) of a table of `table_blocks`: few enough that no worker is left alone with a
/// large chunk at the end.
pub(crate) fn blocks_per_chunk(settings: &Settings, table_blocks: u32) -> u32 {
    let most = u32::try_from(settings.chunk_size_bytes / BLOCK_BYTES).unwrap_or(u32::MAX);
    let workers = u32::try_from(settings.workers).unwrap_or(1).max(1);
    let even = table_blocks / workers / CHUNKS_A_WORKER;
    most.min(even.max(CHUNK_BLOCKS_MIN))
}

/// The fewest chunks per worker, for a table that is large enough.
const CHUNKS_A_WORKER: u32 = 16;
/// 1 MB: a table is not cut into smaller chunks to share it out evenly.
const CHUNK_BLOCKS_MIN: u32 = 128;

/// A range of heap blocks of one lane's blue.
struct Chunk {
    lane: usize,
    span: Span,
}

/// The chunks that are not copied yet, the lanes taking turns.
fn missing(run: &Run<'_>, blocks: &[u32]) -> VecDeque<Chunk> {
    let settings = run.settings();
    let by_lane: Vec<Vec<Span>> = {
        let progress = run.journal.progress();
        let designs = progress.prepared.iter().flat_map(|prepared| &prepared.lanes);
        let partitions = designs.map(|design| design.green.blue.leaves.len().max(1));
        let lanes = progress.copied.iter().zip(blocks).zip(partitions);
        let missing = lanes.map(|((have, &blocks), partitions)| {
            let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
            have.missing(blocks, (blocks_per_chunk(&settings, blocks) / partitions).max(CHUNK_BLOCKS_MIN / 8))
        });
        missing.collect()
    };
    let longest = by_lane.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|turn| {
        by_lane
            .iter()
            .enumerate()
            .filter_map(move |(lane, spans)| spans.get(turn).map(|span| Chunk { lane, span: *span }))
    });
    turns.collect()
}

/// Heap blocks of each lane's blue; of the largest partition, if it is partitioned: a chunk is a range of blocks of each.
async fn blocks(run: &Run<'_>, client: &Client) -> Result<Vec<u32>, Error> {
    let mut blocks = Vec::new();
    for lane in &run.lanes {
        let sizes = chunks::heap_relations(client, &lane.source).await;
        blocks.push(sizes.doing("reading sizes")?.iter().map(|(_, blocks)| *blocks).max().unwrap_or(0));
    }
    Ok(blocks)
}

/// Why a worker of the copy has ended.
enum WorkerEnd {
    /// The round has.
    Round(RoundEnd),
    /// There are fewer workers now; its number may be given to another one later.
    Spare(usize),
}

/// Copies the chunks of one round with all workers.
struct Copying<'a> {
    run: &'a Run<'a>,
    /// When the snapshot was taken: its age counts from here.
    since: Instant,
    round: &'a Round,
    queue: Mutex<VecDeque<Chunk>>,
    report: ProgressReport,
}

impl Copying<'_> {
    /// If one worker fails, the chunks that the others are copying are not committed: their sessions are closed.
    async fn run(&self) -> Result<RoundEnd, Error> {
        self.report.send(self.run, true);
        let end = tokio::select! {
            end = self.workers() => end?,
            why = self.run.pace.lost() => return Err(Error::Slot(why)),
        };
        self.report.send(self.run, true);
        if self.run.cx.is_interrupted() {
            return Err(Error::Interrupted);
        }
        Ok(end)
    }

    /// As many workers as the settings say; if that changes, some begin, or end with the chunk in hand.
    async fn workers(&self) -> Result<RoundEnd, Error> {
        let mut settings = self.run.forward.settings.watch();
        let (mut numbers, mut working) = (BTreeSet::new(), FuturesUnordered::new());
        let (mut is_first, mut round_end) = (true, RoundEnd::Complete);
        loop {
            let wanted = settings.borrow_and_update().workers;
            for number in (0..wanted).filter(|number| numbers.insert(*number)) {
                working.push(self.worker(number, is_first));
            }
            is_first = false;
            tokio::select! {
                ended = working.next() => match ended {
                    None => return Ok(round_end),
                    Some(ended) => match ended? {
                        WorkerEnd::Spare(number) => drop(numbers.remove(&number)),
                        WorkerEnd::Round(RoundEnd::Complete) => {}
                        WorkerEnd::Round(why) => round_end = why,
                    },
                },
                Ok(()) = settings.changed() => {}
            }
        }
    }

    /// One worker, until the round ends or there are more than the settings say.
    async fn worker(&self, number: usize, is_first: bool) -> Result<WorkerEnd, Error> {
        let run = self.run;
        let (session, reader) = match self.sessions().await {
            // The others go on without it.
            Err(error) if !is_first => {
                run.cx.tell(&Event::Notice { text: format!("one worker more is not possible: {error}") });
                return Ok(WorkerEnd::Round(RoundEnd::Complete));
            }
            sessions => sessions?,
        };
        let (mut settings, rest) = (run.forward.settings.watch(), run.pace.rest_of_a_worker());
        // At least one chunk for each worker is copied in a round, however short the snapshot's maximum age is.
        let mut has_copied = !is_first;
        loop {
            if self.queue.lock().await.is_empty() {
                return Ok(WorkerEnd::Round(RoundEnd::Complete));
            }
            let max_age = {
                let settings = settings.borrow_and_update();
                if number >= settings.workers {
                    return Ok(WorkerEnd::Spare(number));
                }
                settings.max_snapshot_age
            };
            tokio::select! {
                biased;
                () = run.pace.go() => {}
                _ = run.cx.interrupted() => {}
                Ok(()) = settings.changed() => continue,
                () = tokio::time::sleep(max_age.saturating_sub(self.since.elapsed())) => {
                    return Ok(WorkerEnd::Round(RoundEnd::SnapshotAge));
                }
            }
            let too_old = has_copied && self.since.elapsed() > max_age;
            if too_old || run.cx.is_interrupted() {
                return Ok(WorkerEnd::Round(RoundEnd::SnapshotAge));
            }
            if has_copied && run.pace.round_should_end() {
                return Ok(WorkerEnd::Round(RoundEnd::WalBudget));
            }
            let next = self.queue.lock().await.pop_front();
            let Some(chunk) = next else { continue };
            let begun = Instant::now();
            self.copy(&session, reader.as_ref().unwrap_or(&session), &chunk).await?;
            has_copied = true;
            self.report.send(run, false);
            tokio::select! {
                () = tokio::time::sleep(rest.after(begun.elapsed())) => {}
                _ = run.cx.interrupted() => {}
            }
        }
    }

    /// The connection of a worker; and one that reads, if rows pass through this program.
    async fn sessions(&self) -> Result<(Session, Option<Session>), Error> {
        let session = self.run.worker("copy").await?;
        let reader = match self.run.lanes.iter().any(Lane::is_transformed) {
            true => Some(self.run.worker("copy").await?),
            false => None,
        };
        Ok((session, reader))
    }

    /// Copies one chunk and commits it with its fact.
    async fn copy(
        &self,
        session: &Session,
        reader: &Session,
        &Chunk { lane, span }: &Chunk,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let rows = chunks::chunk(session, reader, (&self.run.lanes[lane], span), self.round).await?;
        self.run.journal.commit(session, Fact::ChunkCopied { lane, span, rows }).await?;
        let table = self.run.lanes[lane].table.plain();
        let ms = begun.elapsed().as_millis();
        tracing::debug!(table, from = span.from, to = span.to, rows, ms, "chunk copied");
        Ok(())
    }
}

/// Blue was rewritten (it has another file) or truncated, so what was copied may lack rows: the copy starts over with
/// an empty green and a new slot.
async fn begin_again(run: &mut Run<'_>, lane: usize) -> Result<(), Error> {
    run.feed = None;
    let table = run.lanes[lane].table.plain();
    let why = format!("{table} was rewritten or truncated meanwhile");
    run.cx.tell(&Event::BegunAgain { phase: Phase::Copy, why });
    let client = run.connect("copy").await?;
    let doing = "emptying green";
    client.batch_execute("BEGIN").await.doing(doing)?;
    for lane in &run.lanes {
        let sql = format!("TRUNCATE {}, {}", lane.target, lane.dirty_table());
        client.batch_execute(&sql).await.doing(doing)?;
    }
    run.journal.commit(&client, Fact::CopyRestarted { lane }).await?;
    Ok(())
}
