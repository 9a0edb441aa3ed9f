//! How fast a run may go: a task that watches the slot, and the limits that the plan sets out
//! of consideration for others.
//!
//! The slot holds back WAL. Before the slot is lost or the disk full, the copy's round is ended early so that the
//! stream can be applied; past the budget the run is aborted. Waiting would not help: during a round nothing is
//! applied, and the slot does not advance.
//!
//! It also reports the stream's lag, from what it reads of the slot and of the feed.

mod lag;
pub(crate) mod pulse;
pub(crate) mod waits;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use self::waits::Waits;
use crate::context::{Context, Forward};
use crate::error::{Error, ExitCode};
use crate::event::{Event, Reporter};
use crate::in_force::InForce;
use crate::journal::Journal;
use crate::journal::requests::{self, Answer, Ask, Request};
use crate::lane::feed::{Feed, State};
use crate::pg::activity::{self, ActivityError};
use crate::pg::slot::Slot;
use crate::pg::{Colour, ConnectionRole};
use crate::plan::{Settings, Throttle};
use crate::throttle::{Load, Rest};

use lag::Lag;

/// How often the server is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Sessions that are always at work are often caught between two statements, so a server that was busy counts as
/// busy for this long.
const BUSY_FOR: Duration = Duration::from_secs(5);
/// Without an answer for so long, its connection is stalled: each statement has a time limit.
const STALLED: Duration = Duration::from_secs(30);
/// Settings of the watcher's session. It must not wait for a standby itself: it reports who does.
const WATCHING: [(&str, &str); 2] = [("statement_timeout", "2s"), ("synchronous_commit", "local")];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reading {
    /// Why the copy has to wait; `None` if it need not.
    wait: Option<String>,
    /// The copy's round should end.
    end_round: bool,
    /// Why the run has to be aborted.
    lost: Option<String>,
    /// What commands on other terminals ask for.
    asked: Vec<Request>,
    load: Load,
}

/// The feed whose lag is reported, once there is one.
type Followed = Arc<Mutex<Option<(watch::Receiver<State>, Colour)>>>;

/// The watcher of a run's pace; dropping it stops its task.
pub struct Pace {
    seen: watch::Receiver<Reading>,
    load: watch::Receiver<Load>,
    followed: Followed,
    /// The requests that this session has answered.
    answered: Arc<Mutex<BTreeSet<i64>>>,
    task: JoinHandle<()>,
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pace {
    /// Connects and starts to watch.
    ///
    /// # Errors
    /// If the connection cannot be made.
    pub async fn keep(cx: &Context, forward: &Forward, journal: &Journal) -> Result<Self, Error> {
        let name = ConnectionRole::of_run(journal.run(), "pace").to_string();
        let session = cx.target.connect(&name, &WATCHING).await?;
        let (told, seen) = watch::channel(Reading::default());
        let (load_told, load) = watch::channel(Load::default());
        let run = journal.run().to_owned();
        let (settings, holds_swap) = (forward.settings.clone(), forward.holds_swap);
        let reporter = Arc::clone(&cx.reporter);
        let followed = Followed::default();
        let mut waits = Waits::of(cx, &forward.plan, Some(journal.run()));
        let mut lag = Lag::of(Arc::clone(&followed));
        let target = cx.target.clone();
        let task = tokio::spawn(async move {
            let mut session = session;
            let mut busy_until = Instant::now();
            loop {
                let seeing = see(&session, &run, &settings, holds_swap, &reporter);
                let (mut next, slots) = match tokio::time::timeout(STALLED, seeing).await {
                    Ok(Ok(seen)) => seen,
                    failed => {
                        let (is_stalled, error) = (failed.is_err(), failed.ok().and_then(Result::err));
                        tracing::warn!(?error, is_stalled, "the run's slots and requests could not be read");
                        tokio::time::sleep(EVERY).await;
                        // Without it nobody would guard the slots, or answer another terminal.
                        if (session.is_closed() || is_stalled)
                            && let Ok(another) = target.connect(&name, &WATCHING).await
                        {
                            session = another;
                        }
                        continue;
                    }
                };
                if next.load.is_busy {
                    busy_until = Instant::now() + BUSY_FOR;
                }
                next.load.is_busy = Instant::now() < busy_until;
                let lagging = lag.event(slots);
                next.load.is_losing = lag.is_losing();
                next.load.must_wait = next.wait.is_some() && !next.end_round && next.lost.is_none();
                load_told.send_replace(next.load);
                tell(&reporter, &told.borrow().wait, &next.wait);
                told.send_replace(next);
                if let Err(error) = waits.look(&session).await {
                    tracing::warn!(%error, "the run's waits could not be read");
                }
                if let Some(event) = lagging {
                    reporter.tell(&event);
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(Self { seen, load, followed, answered: Arc::default(), task })
    }

    /// From now on, reports the lag of this feed, which reads the stream of `source`.
    pub fn follow(&self, feed: &Feed, source: Colour) {
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = Some((feed.watch(), source));
    }

    /// Waits until no limit of the plan asks for a wait.
    pub async fn go(&self) {
        let mut seen = self.seen.clone();
        // An error means that the watcher has ended; then nothing throttles the run.
        let _ = seen.wait_for(|seen| seen.wait.is_none()).await;
    }

    /// The rests of one of the plan's workers.
    #[must_use]
    pub fn rest_of_a_worker(&self) -> Rest {
        Rest::of_one(self.load.clone(), false)
    }

    /// The rests of a task that works alone.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::of_one(self.load.clone(), true)
    }

    /// Whether the copy should end its round so that the stream is applied.
    #[must_use]
    pub fn round_should_end(&self) -> bool {
        self.seen.borrow().end_round
    }

    /// Resolves when somebody asks for something of which this is true.
    pub fn asked<F: Fn(&Ask) -> bool>(&self, is_it: F) -> impl Future<Output = Request> + use<F> {
        let mut seen = self.seen.clone();
        let answered = Arc::clone(&self.answered);
        let first = move |seen: &Reading| {
            let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            seen.asked.iter().find(|asked| is_it(&asked.ask) && !answered.contains(&asked.n)).cloned()
        };
        async move {
            let asked = seen.wait_for(|seen| first(seen).is_some()).await.ok().and_then(|seen| first(&seen));
            match asked {
                Some(request) => request,
                None => std::future::pending().await,
            }
        }
    }

    /// Forgets a request that was answered: what was read before that may still have it.
    pub fn forget(&self, n: i64) {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).insert(n);
    }

    /// Resolves when the slot can no longer be kept, with the reason.
    pub fn lost(&self) -> impl Future<Output = String> + use<> {
        let mut seen = self.seen.clone();
        async move {
            let lost =
                seen.wait_for(|seen| seen.lost.is_some()).await.ok().and_then(|seen| seen.lost.clone());
            match lost {
                Some(why) => why,
                None => std::future::pending().await,
            }
        }
    }
}

fn tell(reporter: &Arc<dyn Reporter>, before: &Option<String>, now: &Option<String>) {
    if before.is_some() != now.is_some() {
        reporter.tell(&Event::Throttled { why: now.clone() });
    }
}

/// What there is to see now; reports which settings were changed.
async fn see(
    client: &Client,
    run: &str,
    settings: &InForce,
    holds_swap: bool,
    reporter: &Arc<dyn Reporter>,
) -> Result<(Reading, Vec<Slot>), tokio_postgres::Error> {
    let asked = asked(client, run, settings, holds_swap).await?;
    let changed = settings.read(client, run).await?;
    changed.iter().for_each(|event| reporter.tell(event));
    let (seen, slots) = look(client, run, &settings.now()).await?;
    Ok((Reading { asked, ..seen }, slots))
}

async fn look(
    client: &Client,
    run: &str,
    settings: &Settings,
) -> Result<(Reading, Vec<Slot>), tokio_postgres::Error> {
    let (load, wait) = limits(client, settings).await?;
    let mut seen = Reading { load, wait, ..Reading::default() };
    let slots = Slot::of(client, run).await?;
    for slot in &slots {
        judge(&mut seen, &slot.wal_status, slot.safe_bytes, slot.retained_bytes, settings.wal_budget_bytes);
    }
    if let Some(paused) = requests::paused(client, run).await? {
        seen.wait = Some(format!("paused by {}", paused.by));
    }
    Ok((seen, slots))
}

/// What the server has to carry besides, and why work that can wait has to, if it has.
pub(crate) async fn limits(
    client: &Client,
    settings: &Settings,
) -> Result<(Load, Option<String>), tokio_postgres::Error> {
    let mut load =
        Load { rest_percent: settings.throttle.rest_percent, workers: settings.workers, ..Load::default() };
    let wait = match considerate(client, &mut load, settings).await {
        Ok(wait) => wait,
        // A role that cannot see whether the server is busy has to assume that it is.
        Err(ActivityError::Blind(role)) => {
            load.is_busy = true;
            let grant = activity::grant_sight(&role);
            Some(format!("role {role} can no longer see the sessions of others: {grant}"))
        }
        // The slot has to be watched even if the plan's own query fails.
        Err(ActivityError::Postgres(error)) if error.is_closed() => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "the throttle's condition could not be read");
            None
        }
    };
    Ok((load, wait))
}

/// What is asked for and not done by being read.
async fn asked(
    client: &Client,
    run: &str,
    settings: &InForce,
    holds_swap: bool,
) -> Result<Vec<Request>, tokio_postgres::Error> {
    let mut left = Vec::new();
    for request in requests::open(client, run).await? {
        let answer = match &request.ask {
            Ask::Pause | Ask::Resume => Answer::done(ExitCode::Done),
            Ask::Set(changes) => {
                let changes = settings.changes_by(changes);
                Answer { changes, ..Answer::done(ExitCode::Done) }
            }
            Ask::Swap if !holds_swap => Answer::failed(
                ExitCode::Usage,
                "the swap is not held: the process executes without --hold-swap, and swaps by itself",
            ),
            Ask::Swap | Ask::Verify | Ask::Rollback { .. } | Ask::Finish(_) => {
                left.push(request);
                continue;
            }
        };
        requests::answer(client, request.n, &answer).await?;
    }
    Ok(left)
}

/// A run gives way in two steps: at half the budget the round ends, at all of it the run is aborted.
fn judge(seen: &mut Reading, status: &str, safe: Option<i64>, held: u64, budget: u64) {
    let of_budget = |part: u64| held >= budget / 4 * part;
    if matches!(status, "unreserved" | "lost") {
        seen.lost = Some(format!("the server no longer reserves the slot's WAL (wal_status is {status})"));
    } else if of_budget(4) {
        seen.lost = Some(format!("the slot holds back {held} bytes of WAL, and wal_budget is {budget}"));
    } else if of_budget(2) || safe.is_some_and(|safe| safe < 64 << 20) {
        seen.end_round = true;
    }
}

/// Whether clients need the server, and whether a limit of the plan asks for a wait.
async fn considerate(
    client: &Client,
    load: &mut Load,
    settings: &Settings,
) -> Result<Option<String>, ActivityError> {
    let active = activity::active_clients(client).await?;
    load.is_busy = active > settings.workers as u64;
    throttled(client, &settings.throttle, active).await
}

async fn throttled(
    client: &Client,
    throttle: &Throttle,
    active: u64,
) -> Result<Option<String>, ActivityError> {
    if let Some(most) = throttle.max_active_sessions.filter(|most| active > u64::from(*most)) {
        return Ok(Some(format!("{active} sessions are active, more than {most}")));
    }
    if let Some(most) = throttle.max_replica_lag {
        let lag = activity::replay_lag(client).await?;
        if lag > most.as_secs_f64() {
            return Ok(Some(format!(
                "a standby is {lag:.1} s behind, more than {:.1} s",
                most.as_secs_f64()
            )));
        }
    }
    if let Some(query) = &throttle.query {
        let row = client.query_opt(query.as_str(), &[]).await?;
        if row.map(|row| row.try_get::<_, Option<bool>>(0)).transpose()?.flatten() == Some(true) {
            return Ok(Some("the plan's throttle query asks to wait".to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: &str, safe: Option<i64>, held: u64) -> Reading {
        let mut seen = Reading::default();
        judge(&mut seen, status, safe, held, 1_000);
        seen
    }

    #[test]
    fn a_run_gives_way_step_by_step() {
        assert_eq!(judged("reserved", None, 499), Reading::default());
        assert!(judged("extended", None, 500).end_round);
        assert!(judged("extended", None, 1_000).lost.is_some());
    }

    #[test]
    fn a_slot_that_the_server_gives_up_is_lost_whatever_the_budget() {
        assert!(judged("unreserved", None, 0).lost.is_some());
        assert!(judged("lost", None, 0).lost.is_some());
        assert!(judged("extended", Some(1), 0).end_round);
    }
}
