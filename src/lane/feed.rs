//! Applies the stream of a run's slot to the targets: a task that holds still, runs up to a position, or
//! runs freely, as the phases ask.
//!
//! Invariants: a target transaction holds whole source transactions; the position that the stream was
//! applied up to is written in the same transaction, and acknowledged to the server only after its
//! commit. A crash loses nothing: the next session streams from the position that the
//! journal holds.

mod applier;
mod echo;
mod error;
mod others;
mod pending;
mod reading;
mod touched;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Statement;

use super::Lane;
use super::coalesce::Key;
use crate::journal::Fence;
use crate::pg::Colour;
use crate::pg::ConnectionRole;
use crate::pg::Lsn;
use crate::pg::connect::{Session, Target, unless_stalled};
use crate::throttle::Rest;

use applier::Applier;
pub(crate) use echo::begin;
pub use error::FeedError;
pub use others::{Watch, Watched};
pub use reading::Read;
use touched::Touched;

/// The prefix of our logical messages in the WAL.
pub const MESSAGE_PREFIX: &str = "projh_bluegreen";

/// How far the feed may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It holds still.
    Hold,
    /// Every transaction that committed strictly before this position.
    Until(Lsn),
    /// As far as the stream has come.
    Free,
}

/// How far the feed has come.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Everything up to this position is in the targets.
    pub applied: Lsn,
    /// Whether it takes in nothing.
    holds: bool,
    /// The position before which it holds still, with everything before it applied.
    held_at: Option<Lsn>,
    /// The last of our markers that it passed.
    marker: u64,
    /// How many bursts of the stream are over: each time it had nothing more.
    pub bursts: u64,
    /// Number of changes applied.
    pub changes: u64,
    /// Whether a source was truncated (and its target with it).
    pub truncated: bool,
}

/// What the feed's task and its handle share.
struct Shared {
    /// The text that this feed's markers begin with. Markers of an earlier feed of the run may still be in the stream.
    markers: String,
    /// The last marker that was written, or is about to be.
    marked: AtomicU64,
    /// Whether rows may be missing in the targets.
    lenient: AtomicBool,
    /// Whether the stream is read in bursts while the feed runs freely.
    in_bursts: AtomicBool,
    /// Whether changes are taken in up to a marker before they are applied.
    gathers: AtomicBool,
    error: Mutex<Option<FeedError>>,
    /// Keys changed since the last [`Feed::take_touched`]; `None` while they are not remembered.
    touched: Mutex<Option<Touched>>,
}

impl Shared {
    fn touched(&self) -> MutexGuard<'_, Option<Touched>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is so of the keys that are remembered.
    fn is_touched(&self, is_so: impl Fn(&Touched) -> bool) -> bool {
        self.touched().as_ref().is_some_and(is_so)
    }
}

/// The phases' handle of the feed. Dropping it ends the task.
pub struct Feed {
    mode: watch::Sender<Mode>,
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    marker_session: Session,
    /// The process ID of its backend, and where to ask about it.
    marker_pid: i32,
    target: Arc<Target>,
    mark: Statement,
    task: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a feed is started with.
pub struct Parts {
    /// The run and its epoch.
    pub fence: Fence,
    /// The table whose changes the stream has.
    pub source: Colour,
    /// What the program's own transactions begin with: it writes to either table, and does not apply that again.
    pub mark: String,
    /// The stream; it begins at the position that was applied up to.
    pub read: Read,
    /// The lanes whose sources are in the publication.
    pub lanes: Vec<Lane>,
    /// Whether rows may be missing in the targets, because the copy is not over.
    pub lenient: bool,
    /// How long the feed rests between batches of a backlog.
    pub rest: Rest,
}

impl Feed {
    /// Starts a feed that holds still.
    ///
    /// # Errors
    /// If its connections cannot be made, the stream cannot be opened, or its statements cannot be prepared.
    pub async fn start(target: &Target, parts: Parts) -> Result<Self, FeedError> {
        let name = ConnectionRole::of_run(&parts.fence.run, "apply").to_string();
        let session = target.connect(&name, &[("lock_timeout", "0")]).await?;
        let name = ConnectionRole::of_run(&parts.fence.run, "marker").to_string();
        // With synchronous_commit on, a marker's commit also flushes all that was committed before it.
        let marker_session = target.connect(&name, &[("synchronous_commit", "on")]).await?;
        let mark = marker_session.prepare(EMIT).await?;
        let marker_pid = marker_session.pid().await?;
        let target = Arc::new(target.clone());
        let shared = Arc::new(Shared {
            marked: AtomicU64::new(0),
            markers: format!("{}:{}:", parts.fence.run, uuid::Uuid::new_v4().simple()),
            lenient: AtomicBool::new(parts.lenient),
            in_bursts: AtomicBool::new(false),
            gathers: AtomicBool::new(false),
            error: Mutex::default(),
            touched: Mutex::default(),
        });
        let (mode, mode_seen) = watch::channel(Mode::Hold);
        let (state_sender, state) =
            watch::channel(State { applied: parts.read.start.from, ..State::default() });
        let mut applier =
            Applier::new((session, Arc::clone(&target)), parts, mode_seen, state_sender, Arc::clone(&shared))
                .await?;
        let errors = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let error = applier.run().await;
            *errors.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            // Only now: whoever waits for its state takes the closed channel as the sign that there is an error.
            drop(applier);
        });
        Ok(Self { mode, state, shared, marker_session, marker_pid, target, mark, task })
    }

    /// Lets it run freely.
    pub fn free(&self) {
        self.mode.send_replace(Mode::Free);
    }

    /// Whether to read the stream in bursts while the feed runs freely and no marker is under way: nobody waits for it, and
    /// clients have the processors. What they write comes to the targets up to 30 s later then.
    pub fn read_in_bursts(&self, in_bursts: bool) {
        self.shared.in_bursts.store(in_bursts, Ordering::Release);
        self.mode.send_modify(|_| {});
    }

    /// Whether to take changes in up to a marker before they are applied, so that only the last value of each row counts:
    /// one before it may be what the target could not take. Up to 640,000 changes, or 256 MiB.
    pub fn gather(&self, gathers: bool) {
        self.shared.gathers.store(gathers, Ordering::Release);
    }

    /// Asks it to hold still once the current source transaction is taken in.
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Hold);
    }

    /// Asks it to hold still where it is, and waits until it does. To be called before a consistent
    /// point is made: a feed that runs freely would be past it before it could be stopped.
    ///
    /// # Errors
    /// What stopped the feed.
    pub async fn hold_still(&self) -> Result<(), FeedError> {
        self.hold();
        self.wait(|state| state.holds).await.map(drop)
    }

    /// The copy is over: from now on every row that the stream changes must exist in the target.
    pub fn be_strict(&self) {
        self.shared.lenient.store(false, Ordering::Release);
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// The same, to be watched; the channel is closed when the feed ends.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Lets it apply every transaction that committed strictly before `lsn`, and hold still there. It
    /// must have held still since before `lsn` was written.
    /// Strictly: a commit record that begins at a consistent point is not in its snapshot.
    ///
    /// # Errors
    /// What stopped the feed.
    pub async fn run_to(&self, lsn: Lsn) -> Result<(), FeedError> {
        // The marker lies after `lsn`, so the feed meets a transaction there and need not guess.
        self.mode.send_replace(Mode::Until(lsn));
        self.mark().await?;
        self.wait(|state| state.held_at == Some(lsn)).await.map(drop)
    }

    /// Writes a marker into the WAL, in a transaction of its own, and returns its number.
    ///
    /// # Errors
    /// If the server rejected the statement, or the connection was lost.
    pub async fn mark(&self) -> Result<u64, FeedError> {
        let n = self.shared.marked.fetch_add(1, Ordering::AcqRel) + 1;
        let content = format!("{}{n}", self.shared.markers);
        let marked = async {
            self.marker_session.query_one(&self.mark, &[&MESSAGE_PREFIX, &content]).await?;
            self.mode.send_modify(|_| {});
            Ok(n)
        };
        unless_stalled(&self.target, self.marker_pid, marked).await
    }

    /// Waits until everything up to a marker is in the targets.
    ///
    /// # Errors
    /// What stopped the feed, or [`FeedError::Late`] if it took longer than `within`.
    pub async fn drain_through(&self, marker: u64, within: Duration) -> Result<(), FeedError> {
        match tokio::time::timeout(within, self.wait(|state| state.marker >= marker)).await {
            Ok(outcome) => outcome.map(drop),
            Err(_) => Err(FeedError::Late(within)),
        }
    }

    /// Writes a marker, and returns how long it takes from its commit to the target.
    ///
    /// # Errors
    /// As [`Feed::drain_through`].
    pub async fn round_trip(&self, within: Duration) -> Result<Duration, FeedError> {
        let marker = self.mark().await?;
        let begun = Instant::now();
        self.drain_through(marker, within).await?;
        Ok(begun.elapsed())
    }

    /// From now on, remembers which keys change; returns those that changed since the last call, by
    /// lane. To be called while the feed holds still.
    pub fn take_touched(&self, lanes: usize) -> Vec<HashSet<Key>> {
        self.shared.touched().get_or_insert_with(|| Touched::of(lanes)).take()
    }

    /// Remembers keys again that were taken but not compared.
    pub fn give_back(&self, taken: &mut [Vec<Key>]) {
        let mut touched = self.shared.touched();
        for (lane, keys) in taken.iter_mut().enumerate() {
            if let Some(touched) = touched.as_mut() {
                touched.add(lane, keys.drain(..));
            }
        }
    }

    /// No longer remembers which keys change, since no verification needs them.
    pub fn forget_touched(&self) {
        *self.shared.touched() = None;
        // It may have waited for them to be compared.
        self.mode.send_modify(|_| {});
    }

    /// The keys that have changed since [`Feed::take_touched`], by lane; they stay remembered.
    ///
    /// # Errors
    /// [`FeedError::Unremembered`] if they are not remembered: no keys would mean that nothing has changed. Or
    /// [`FeedError::Forgotten`].
    pub fn touched(&self) -> Result<Vec<HashSet<Key>>, FeedError> {
        match &*self.shared.touched() {
            None => Err(FeedError::Unremembered),
            Some(touched) if touched.has_forgotten() => Err(FeedError::Forgotten),
            Some(touched) => Ok(touched.lanes().to_vec()),
        }
    }

    /// Whether a transaction has changed more keys than are remembered: then all rows have to be compared, after
    /// [`Feed::forget_touched`].
    #[must_use]
    pub fn has_forgotten(&self) -> bool {
        self.shared.is_touched(Touched::has_forgotten)
    }

    /// How many keys have changed since [`Feed::take_touched`].
    #[must_use]
    pub fn touched_count(&self) -> usize {
        self.shared.touched().as_ref().map_or(0, Touched::count)
    }

    /// Whether half as much has changed as it remembers before it waits for a comparison.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.shared.is_touched(Touched::is_filling)
    }

    /// Checks that the feed still runs.
    ///
    /// # Errors
    /// What stopped it.
    pub fn check(&self) -> Result<(), FeedError> {
        if self.task.is_finished() { Err(self.error()) } else { Ok(()) }
    }

    async fn wait(&self, until: impl FnMut(&State) -> bool) -> Result<State, FeedError> {
        let mut state = self.state.clone();
        let reached = state.wait_for(until).await.map(|state| *state);
        reached.map_err(|_| self.error())
    }

    fn error(&self) -> FeedError {
        let mut error = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner);
        error.take().unwrap_or(FeedError::Ended)
    }
}

/// Writes a transactional logical message: `$1` is its prefix, `$2` its content.
pub(crate) const EMIT: &str = "SELECT pg_logical_emit_message(true, $1::text, $2::text)";
