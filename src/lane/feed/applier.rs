//! The feed's task: turns messages of the stream into transactions on the targets.

mod commit;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::echo::Echo;
use super::pending::{Durable, Pending, begin, kept_by};
use super::reading::Reading;
use super::touched::Touched;
use super::{FeedError, MESSAGE_PREFIX, Mode, Parts, Shared, State};
use crate::journal::Fence;
use crate::lane::apply::Apply;
use crate::lane::coalesce::Coalesced;
use crate::pg::Colour;
use crate::pg::connect::{Session, Target, unless_stalled};
use crate::pg::{LOOK_UP_BY_KEY, Lsn};
use crate::replication::Received;
use crate::replication::pgoutput::Logical;
use crate::throttle::Rest;

/// A batch is sent to the server when it holds this many changes, or bytes.
const BATCH_CHANGES: u64 = 20_000;
const BATCH_BYTES: usize = 8 << 20;
/// So many times as much where changes are gathered.
const GATHERED: usize = 32;

pub(super) struct Applier {
    /// Texts are sent in the database's encoding, so statements with names in them are prepared beforehand.
    session: Session,
    /// The process ID of its backend, and where to ask about it.
    pid: i32,
    target: Arc<Target>,
    reading: Reading,
    fence: Fence,
    source: Colour,
    echo: Echo,
    /// SQL that begins a transaction on the targets.
    begin: String,
    pending: Vec<Pending>,
    by_relation: HashMap<u32, usize>,
    /// Names of relations of no lane: those of partitions are sent, too, and their changes come as their parent's.
    others: HashMap<u32, String>,
    mode: watch::Receiver<Mode>,
    state: watch::Sender<State>,
    shared: Arc<Shared>,
    /// The beginning of a transaction that is beyond where the feed may go.
    peeked: Option<Received>,
    in_source_transaction: bool,
    in_target_transaction: bool,
    /// The end of the last whole source transaction taken in.
    end: Lsn,
    durable: Durable,
    /// When changes taken in no longer wait for more: after as long as the last batch took, so that a backlog
    /// makes large batches and a stream that keeps up small ones. A marker does not wait.
    commit_by: Instant,
    last_batch: Duration,
    rest: Rest,
    /// The last of our markers taken in.
    marker: u64,
    changes: u64,
    truncated: bool,
    /// The keys of the target transaction that is open.
    touched: Touched,
}

impl Applier {
    pub(super) async fn new(
        (session, target): (Session, Arc<Target>),
        parts: Parts,
        mode: watch::Receiver<Mode>,
        state: watch::Sender<State>,
        shared: Arc<Shared>,
    ) -> Result<Self, FeedError> {
        session.batch_execute(LOOK_UP_BY_KEY).await?;
        let mut pending = Vec::new();
        let mut by_relation = HashMap::new();
        for lane in parts.lanes {
            by_relation.insert(lane.source_oid, pending.len());
            Apply::make(&session, &lane).await?;
            let apply = Apply::prepare(&session, &lane).await?;
            let truncate = session.prepare(&format!("TRUNCATE {}", lane.target)).await?;
            let acting = session.prepare(&lane.acting.to_string()).await?;
            let changes = Coalesced::of(lane.by_whole_rows, kept_by(&lane));
            pending.push(Pending { lane, acting, apply, truncate, changes });
        }
        if let Some(pending) = pending.first() {
            pending.lane.encoding.as_stored(&session).await?;
        }
        let echo = Echo::of(parts.mark);
        Ok(Self {
            touched: Touched::of(pending.len()),
            pid: session.pid().await?,
            session,
            begin: echo.begin(pending.iter().any(|pending| pending.lane.defers)),
            echo,
            end: parts.read.start.from,
            reading: Reading::open(Arc::clone(&target), parts.read).await?,
            fence: parts.fence,
            source: parts.source,
            target,
            pending,
            by_relation,
            others: HashMap::new(),
            mode,
            state,
            shared,
            peeked: None,
            in_source_transaction: false,
            in_target_transaction: false,
            durable: Durable { at: Instant::now(), is_all: true },
            commit_by: Instant::now(),
            last_batch: Duration::ZERO,
            rest: parts.rest,
            marker: 0,
            changes: 0,
            truncated: false,
        })
    }

    /// Runs until an error, which it returns.
    pub(super) async fn run(&mut self) -> FeedError {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    async fn step(&mut self) -> Result<(), FeedError> {
        let mode = *self.mode.borrow_and_update();
        let is_awaited = mode != Mode::Free || self.shared.marked.load(Ordering::Acquire) > self.marker;
        self.reading.read_in_bursts(self.shared.in_bursts.load(Ordering::Acquire), is_awaited);
        let waits = match mode {
            // Inside one it may have a target transaction open, which a new slot would wait for.
            Mode::Hold => !self.in_source_transaction,
            Mode::Until(lsn) => !self.in_source_transaction && self.state.borrow().held_at == Some(lsn),
            // The changed keys have to be compared before more of them are remembered.
            Mode::Free => !self.in_source_transaction && self.shared.is_touched(Touched::is_full),
        };
        if waits {
            self.commit().await?;
            self.state.send_modify(|state| state.holds = true);
            let changed = self.mode.changed().await.map_err(|_| FeedError::Ended);
            self.state.send_modify(|state| state.holds = false);
            return changed;
        }
        let received = match self.peeked.take() {
            Some(received) => received,
            None => match self.next().await? {
                Some(received) => received,
                None => return Ok(()),
            },
        };
        if let Received::Message(Logical::Begin { final_lsn, .. }) = &received
            && self.must_not_begin(*final_lsn).await?
        {
            self.peeked = Some(received);
            return Ok(());
        }
        self.take_in(received).await
    }

    /// Whether a transaction is beyond where the feed may go. Reads the mode again, which may have changed
    /// while the message was waited for.
    async fn must_not_begin(&mut self, final_lsn: Lsn) -> Result<bool, FeedError> {
        let mode = *self.mode.borrow();
        match mode {
            Mode::Hold => Ok(true),
            Mode::Until(lsn) if final_lsn >= lsn => {
                self.commit().await?;
                self.state.send_modify(|state| state.held_at = Some(lsn));
                Ok(true)
            }
            Mode::Until(_) | Mode::Free => Ok(false),
        }
    }

    /// The next message; while it waits for one, whole source transactions are committed. `None` if that, a change
    /// of the mode or the end of a burst came first.
    async fn next(&mut self) -> Result<Option<Received>, FeedError> {
        if let Some(received) = self.reading.try_next().transpose()? {
            return Ok(Some(received));
        }
        let is_whole = !self.in_source_transaction;
        let gathers = self.shared.gathers.load(Ordering::Acquire);
        if is_whole && self.reading.is_over() {
            return self.end_burst().await.map(|()| None);
        }
        if is_whole && (self.has_marker() || Instant::now() >= self.commit_by && !gathers) {
            self.commit().await?;
        }
        let Durable { at, is_all } = self.durable;
        let over_at = self.reading.over_at().filter(|_| is_whole);
        let waits = is_whole && !gathers && self.pending.iter().any(|pending| pending.changes.changes() > 0);
        tokio::select! {
            biased;
            received = self.reading.next() => Ok(Some(received?)),
            changed = self.mode.changed() => changed.map(|()| None).map_err(|_| FeedError::Ended),
            () = tokio::time::sleep_until(over_at.unwrap_or(at)), if over_at.is_some() => Ok(None),
            () = tokio::time::sleep_until(self.commit_by), if waits => self.commit().await.map(|()| None),
            () = tokio::time::sleep_until(at + commit::DURABLE_EVERY), if !is_all && is_whole && !gathers => {
                begin(&self.session, &self.begin, &mut self.in_target_transaction).await?;
                self.commit().await.map(|()| None)
            }
        }
    }

    async fn take_in(&mut self, received: Received) -> Result<(), FeedError> {
        let message = match received {
            Received::Message(message) => message,
            Received::Keepalive { wal_end } => {
                if !self.in_source_transaction && wal_end > self.end {
                    // Nothing for us up to there: let the server reuse its WAL.
                    self.end = wal_end;
                }
                return Ok(());
            }
        };
        if self.echo.is_own(&message) {
            return Ok(());
        }
        if self.is_too_large() && !self.completes_a_move(&message) {
            let (target, pid) = (Arc::clone(&self.target), self.pid);
            unless_stalled(&target, pid, self.flush()).await?;
        }
        match message {
            Logical::Begin { .. } => {
                self.in_source_transaction = true;
                self.pending.iter_mut().for_each(|pending| pending.changes.begin());
                if self.pending.iter().all(|pending| pending.changes.changes() == 0) {
                    self.commit_by = Instant::now() + self.last_batch;
                }
            }
            Logical::Relation(relation) => {
                if let Ok(pending) = self.pending_of(relation.oid) {
                    pending.check(&relation)?;
                } else {
                    self.others.insert(relation.oid, format!("{}.{}", relation.schema, relation.name));
                }
            }
            Logical::Insert { relation, new } => self.pending_of(relation)?.insert(new)?,
            Logical::Update { relation, old, new } => self.pending_of(relation)?.update(old, new)?,
            Logical::Delete { relation, old } => self.pending_of(relation)?.delete(&old)?,
            Logical::Truncate { relations, .. } => self.truncate(&relations).await?,
            Logical::Message(message) if message.transactional && message.prefix == MESSAGE_PREFIX => {
                self.take_in_marker(&message.content);
            }
            Logical::Commit { end_lsn, .. } => {
                self.in_source_transaction = false;
                self.end = end_lsn;
                // A source transaction that was too large has been flushed before its end.
                if self.in_target_transaction || self.is_full() {
                    let begun = Instant::now();
                    self.commit().await?;
                    self.rest(begun.elapsed()).await;
                }
                return Ok(());
            }
            Logical::Message(_) | Logical::Origin { .. } | Logical::Type { .. } => {}
        }
        Ok(())
    }

    /// Rests after a full batch, which is a sign of a backlog. A change of the mode ends the rest.
    async fn rest(&mut self, took: Duration) {
        tokio::select! {
            () = self.rest.rest_in_a_backlog(took) => {}
            _ = self.mode.changed() => self.mode.mark_changed(),
        }
    }

    /// Whether a marker was taken in that the state does not show yet.
    fn has_marker(&self) -> bool {
        self.marker > self.state.borrow().marker
    }

    fn pending_of(&mut self, relation: u32) -> Result<&mut Pending, FeedError> {
        let pending = self.by_relation.get(&relation).and_then(|at| self.pending.get_mut(*at));
        pending.ok_or_else(|| {
            let name = self.others.get(&relation).cloned();
            let what = name.unwrap_or_else(|| format!("the relation with OID {relation}"));
            FeedError::Foreign { what }
        })
    }

    fn is_full(&self) -> bool {
        self.holds(1)
    }

    /// Whether a source transaction has grown too large to wait for its end, before which a deferrable key may be doubled.
    fn is_too_large(&self) -> bool {
        self.holds(2) && !self.pending.iter().any(|pending| pending.lane.by_whole_rows)
    }

    /// Whether a message may be the second half of a move, whose first half must not be applied without it.
    fn completes_a_move(&self, message: &Logical) -> bool {
        matches!(message, Logical::Insert { .. }) && self.pending.iter().any(|of| of.changes.is_moving())
    }

    /// Whether as much is held as so many batches are.
    fn holds(&self, batches: usize) -> bool {
        let times = batches * if self.shared.gathers.load(Ordering::Acquire) { GATHERED } else { 1 };
        let (changes, bytes) = (BATCH_CHANGES * times as u64, BATCH_BYTES * times);
        self.pending.iter().map(|pending| pending.changes.changes()).sum::<u64>() >= changes
            || self.pending.iter().map(|pending| pending.changes.size()).sum::<usize>() >= bytes
    }

    fn take_in_marker(&mut self, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        let number = text.strip_prefix(self.shared.markers.as_str());
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            self.marker = number;
        }
    }

    async fn truncate(&mut self, relations: &[u32]) -> Result<(), FeedError> {
        self.flush().await?;
        for relation in relations {
            let is_lenient = self.shared.lenient.load(Ordering::Acquire);
            let Pending { lane, acting, truncate, .. } = self.pending_of(*relation)?;
            if is_lenient {
                return Err(FeedError::Truncated { table: lane.table.plain(), lane: lane.number });
            }
            let truncate = truncate.clone();
            let acting = acting.clone();
            begin(&self.session, &self.begin, &mut self.in_target_transaction).await?;
            self.session.execute(&acting, &[]).await?;
            self.session.execute(&truncate, &[]).await?;
            self.truncated = true;
        }
        Ok(())
    }
}
