//! Waits for locks: each reports who blocks it, and none makes a client the victim of a deadlock.
//!
//! A lock that clients queue behind is waited for less than `deadlock_timeout`, so that no client's deadlock check
//! finds us. PostgreSQL cancels an autovacuum only for a process that has waited longer than that: it is displaced
//! beforehand, by a lock that no client queues behind.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::Client;

use super::{begin, is_lock_wait, step_back};
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::{Event, Reporter, WaitCause};
use crate::journal::Journal;
use crate::pg::activity::{self, Backend, Holder, Wait};
use crate::pg::connect::{Session, Target};
use crate::pg::{ConnectionRole, QName, list};
use crate::plan::TerminateBlockers;

/// How long our DDL outside the swap waits for a lock before it steps back.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(300);
/// How long a transaction of our DDL may be idle.
pub(super) const FROZEN_AFTER: Duration = Duration::from_secs(5);
/// How much longer than `deadlock_timeout` to wait for an autovacuum, so that it can end.
const STEP_ASIDE: Duration = Duration::from_secs(2);
/// How often a wait that continues is reported again.
const REPORT_AGAIN: Duration = Duration::from_secs(30);
/// A wait whose holder is not seen is only reported after this time.
const NAMELESS: Duration = Duration::from_secs(10);
/// A statement outside of a transaction that takes longer than this may be waiting.
const REPORT_FIRST: Duration = Duration::from_secs(2);
/// How often the blockers are looked up.
const LOOK_EVERY: Duration = Duration::from_millis(40);

/// The `deadlock_timeout` of this session in milliseconds, whether its role may set it, and the shortest that a role or a
/// database has of its own.
const DEADLOCK_TIMEOUTS: &str = "
    SELECT own.setting::bigint, own.context = 'superuser' AND current_setting('is_superuser') = 'on', (
        SELECT min(CASE WHEN given ~ '^[0-9.]+$' THEN given::numeric ELSE 1000 * extract(epoch FROM given::interval)::numeric END)::bigint
        FROM pg_db_role_setting s
        CROSS JOIN LATERAL unnest(s.setconfig) one
        CROSS JOIN LATERAL (SELECT lower(btrim(split_part(one, '=', 2))) AS given) of
        WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND starts_with(one, 'deadlock_timeout=') AND given ~ '^[0-9]+([.][0-9]+)? *(ms|s|min|h|d)?$')
    FROM pg_settings own WHERE own.name = 'deadlock_timeout'";

/// How long our waits for locks may take, given the `deadlock_timeout` of this session and of others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    deadlock_timeout: Duration,
    /// The shortest that a session of another role may have.
    shortest: Duration,
    /// Whether the role may set `deadlock_timeout` for itself.
    pub(crate) may_look_sooner: bool,
}

impl Limits {
    /// Reads the limits of this server and role.
    pub(crate) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let row = client.query_one(DEADLOCK_TIMEOUTS, &[]).await?;
        let ms = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(1_000));
        let deadlock_timeout = ms(row.get(0));
        let shortest = row.get::<_, Option<i64>>(2).map_or(deadlock_timeout, ms).min(deadlock_timeout);
        Ok(Self { deadlock_timeout, shortest, may_look_sooner: row.get(1) })
    }

    /// How long to wait for a lock that clients queue behind: at most `wanted`.
    pub(crate) fn brief(&self, wanted: Duration) -> Duration {
        wanted.min(self.shortest * 3 / 4).max(Duration::from_millis(1))
    }

    /// How long to wait for a lock that no client queues behind, so that an autovacuum steps aside.
    pub(crate) fn patient(&self) -> Duration {
        self.deadlock_timeout + STEP_ASIDE
    }
}

/// The process ID of the session's backend.
pub(super) async fn pid(client: &Client) -> Result<i32, tokio_postgres::Error> {
    Ok(client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
}

/// Does `work` on the session with backend `pid`, and observes from `observer` which lock it waits for last.
pub(super) async fn observed<T>(
    observer: &Session,
    pid: i32,
    work: impl Future<Output = T>,
) -> (T, Option<Wait>) {
    let mut last = None;
    let outcome = tokio::select! {
        outcome = work => outcome,
        never = watch(observer, pid, &mut last) => match never {},
    };
    (outcome, last)
}

async fn watch(observer: &Session, pid: i32, last: &mut Option<Wait>) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match activity::wait_of(observer, pid).await {
            Ok(Some(wait)) if !wait.holders.is_empty() => *last = Some(wait),
            Ok(_) => {}
            // The work continues without: its own error shows that it waited.
            Err(error) => {
                tracing::warn!(%error, "the blockers could not be looked up");
                return std::future::pending().await;
            }
        }
    }
}

/// Executes DDL, again whenever a lock is not granted in time, and reports who blocks it.
pub struct Patience<'a> {
    /// Where the blockers are looked up from a session of its own.
    pub target: &'a Target,
    /// Receives the waits and their blockers.
    pub reporter: &'a Arc<dyn Reporter>,
    /// The run's short id, for the session's `application_name`.
    pub run: &'a str,
}

impl<'a> Patience<'a> {
    /// For the DDL of a run.
    pub(crate) fn of(cx: &'a Context, journal: &'a Journal) -> Self {
        Self { target: &cx.target, reporter: &cx.reporter, run: journal.run() }
    }

    /// For the DDL of `partitions`, which is of no run.
    pub(crate) fn of_upkeep(cx: &'a Context) -> Self {
        Self { target: &cx.target, reporter: &cx.reporter, run: "upkeep" }
    }

    /// Executes `sql` in a transaction that is left open.
    ///
    /// # Errors
    /// Any error other than a lock that was not granted in time.
    pub(crate) async fn execute(&self, client: &Client, sql: &str, what: &str) -> Result<(), Error> {
        self.each(client, &[sql], what).await.map_err(|(_, error)| error)
    }

    /// Executes texts in a transaction that is left open, one after the other.
    ///
    /// # Errors
    /// Any error other than a lock that was not granted in time, and the number of its text, from 0.
    pub(super) async fn each(
        &self,
        client: &Client,
        texts: &[&str],
        what: &str,
    ) -> Result<(), (usize, Error)> {
        let doing =
            |number: usize| move |source| (number, Error::Postgres { doing: what.to_owned(), source });
        let mut observer = None;
        let mut aside = Vec::new();
        let limits = Limits::of(client).await.map_err(doing(0))?;
        let pid = pid(client).await.map_err(doing(0))?;
        let since = Instant::now();
        let mut reported = None;
        loop {
            let work = executed(client, &aside, &limits, texts);
            let (outcome, wait) = match &observer {
                Some(observer) => observed(observer, pid, work).await,
                None => (work.await, None),
            };
            let number = match outcome {
                Ok(()) => return Ok(()),
                Err((number, error)) if is_lock_wait(&error) => number,
                Err((number, error)) => return Err(doing(number)(error)),
            };
            client.batch_execute("ROLLBACK").await.map_err(doing(number))?;
            if observer.is_none() {
                observer = Some(self.observer().await.map_err(|error| (number, error))?);
                continue;
            }
            if let Some(table) = wait.as_ref().and_then(displaceable).filter(|table| !aside.contains(table)) {
                aside.push(table);
            }
            self.report(what, wait.as_ref(), since, &mut reported);
            step_back().await;
        }
    }

    /// Executes a statement that cannot be executed in a transaction, again whenever a lock is not granted in time.
    ///
    /// # Errors
    /// Any other error.
    pub(super) async fn alone(
        &self,
        session: &Session,
        sql: &str,
        what: &str,
        waits: bool,
    ) -> Result<(), Error> {
        loop {
            match self.once(session, sql, what, waits).await {
                Err(error) if is_lock_error(&error) => step_back().await,
                outcome => return outcome,
            }
        }
    }

    /// Executes such a statement once, and reports whom it waits for. `waits`: no client queues behind its locks, so
    /// that it may wait for them for as long as it takes.
    ///
    /// # Errors
    /// If the server rejected the statement, or the connection was lost.
    pub(super) async fn once(
        &self,
        session: &Session,
        sql: &str,
        what: &str,
        waits: bool,
    ) -> Result<(), Error> {
        let limits = Limits::of(session).await.doing(what)?;
        let pid = pid(session).await.doing(what)?;
        let wait = if waits { Duration::ZERO } else { limits.brief(LOCK_WAIT) };
        let set = format!("SET lock_timeout = '{}ms'", wait.as_millis());
        session.batch_execute(&set).await.doing(what)?;
        let observer = self.observer().await?;
        let since = Instant::now();
        let mut reported = None;
        let mut work = std::pin::pin!(session.batch_execute(sql));
        loop {
            tokio::select! {
                outcome = &mut work => return outcome.doing(what),
                () = tokio::time::sleep(REPORT_FIRST) => {}
            }
            if let Ok(Some(wait)) = activity::wait_of(&observer, pid).await {
                self.report(what, Some(&wait), since, &mut reported);
            }
        }
    }

    async fn observer(&self) -> Result<Session, Error> {
        let name = ConnectionRole::of_run(self.run, "observer").to_string();
        Ok(self.target.connect(&name, &[("statement_timeout", "2s")]).await?)
    }

    /// Reports the wait once, and again when the blockers are others or after [`REPORT_AGAIN`].
    fn report(
        &self,
        what: &str,
        wait: Option<&Wait>,
        since: Instant,
        reported: &mut Option<(Vec<i32>, Instant)>,
    ) {
        if wait.is_none() && since.elapsed() < NAMELESS {
            return;
        }
        let who: Vec<i32> = wait.iter().flat_map(|wait| wait.holders.iter().map(process)).collect();
        if reported.as_ref().is_some_and(|(before, at)| *before == who && at.elapsed() < REPORT_AGAIN) {
            return;
        }
        let lock = wait.map_or_else(|| "a lock".to_owned(), ToString::to_string);
        let text =
            format!("{what} has been waiting for {} s: {lock}; trying again", since.elapsed().as_secs());
        self.reporter.tell(&Event::Waiting { cause: WaitCause::Lock, text });
        *reported = Some((who, Instant::now()));
    }
}

/// As [`is_lock_wait`].
pub(super) fn is_lock_error(error: &Error) -> bool {
    matches!(error, Error::Postgres { source, .. } if is_lock_wait(source))
}

/// Begins a transaction and executes texts in it; the first is sent with its beginning.
async fn executed(
    client: &Client,
    aside: &[QName],
    limits: &Limits,
    texts: &[&str],
) -> Result<(), (usize, tokio_postgres::Error)> {
    let Some((first, rest)) = texts.split_first() else { return Ok(()) };
    let begun = format!("{}; {first}", begun(aside, limits));
    client.batch_execute(&begun).await.map_err(|error| (0, error))?;
    for (number, text) in (1..).zip(rest) {
        client.batch_execute(text).await.map_err(|error| (number, error))?;
    }
    Ok(())
}

fn process(holder: &Holder) -> i32 {
    match holder {
        Holder::Backend(Backend { pid, .. }) => *pid,
        Holder::Prepared(_) => 0,
    }
}

/// The table on which an autovacuum holds a lock and is cancelled for whoever waits long enough.
fn displaceable(wait: &Wait) -> Option<QName> {
    let steps_aside = |holder: &Holder| matches!(holder, Holder::Backend(backend) if backend.steps_aside());
    wait.table.clone().filter(|_| wait.holders.iter().any(steps_aside))
}

/// SQL that begins a transaction; `aside` are tables whose autovacuum has to step aside first.
fn begun(aside: &[QName], limits: &Limits) -> String {
    let wait = limits.brief(LOCK_WAIT);
    let lowered = format!("SET LOCAL lock_timeout = '{}ms'", wait.as_millis());
    if !aside.is_empty() {
        let patient = limits.patient().as_millis();
        let begin = begin();
        let tables = list(aside);
        return format!(
            "{begin}; SET LOCAL lock_timeout = '{patient}ms'; \
             LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE; {lowered}"
        );
    }
    if wait < LOCK_WAIT { format!("{}; {lowered}", begin()) } else { begin() }
}

/// Terminates those of these sessions that the plan allows to terminate, and reports each, until the wait for them is over.
pub(super) async fn end_backends<'a>(
    cx: &Context,
    client: &Client,
    backends: impl Iterator<Item = &'a Backend>,
    allowed: TerminateBlockers,
    is_over: &AtomicBool,
) {
    for backend in backends {
        let may = match allowed {
            TerminateBlockers::Never => false,
            TerminateBlockers::IdleInTransaction => backend.is_idle_in_transaction(),
            TerminateBlockers::All => true,
        };
        if !may {
            continue;
        }
        if is_over.load(Ordering::Acquire) {
            return;
        }
        match activity::terminate(client, backend).await {
            Ok(false) => {}
            Ok(true) => cx.tell(&Event::BackendTerminated { backend: backend.to_string() }),
            Err(error) => {
                let why = crate::pg::describe(&error);
                cx.tell(&Event::Notice { text: format!("{backend} could not be terminated: {why}") });
            }
        }
    }
}
