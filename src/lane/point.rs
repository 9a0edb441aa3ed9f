//! A consistent point: the pair (L, S), an LSN and a snapshot, that creating a logical slot gives. S sees exactly
//! the transactions whose commit record begins before L.
//!
//! Invariant: S lives as long as the [`Point`]. A connection of ours imports it and exports it
//! again, so that the connection that created the slot is free and no time-out ends the snapshot.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::crash;
use crate::pg::activity::{self, ActivityError};
use crate::pg::connect::{ConnectError, Session, Target};
use crate::pg::{ConnectionRole, Literal, Lsn};
use crate::replication::{ReplicationError, Walsender};

/// What went wrong in making a consistent point.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// The slot could not be created.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// A connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The snapshot could not be imported or exported.
    #[error("a snapshot could not be held: {}", crate::pg::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The open transactions could not be looked up.
    #[error(transparent)]
    Activity(#[from] ActivityError),
}

impl PointError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Replication(error) => error.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Postgres(error) => crate::pg::is_transient(error),
            Self::Activity(error) => error.is_transient(),
        }
    }
}

/// A consistent point, held.
pub struct Point {
    /// L, the LSN.
    pub lsn: Lsn,
    /// S: the name under which other connections import it.
    pub snapshot: String,
    /// When it was created.
    pub since: Instant,
    /// The connection that holds S, in a transaction at S.
    pub holder: Session,
}

/// How long one attempt to create a slot waits for open transactions.
const SLOT_WAIT: Duration = Duration::from_secs(5);

/// A point that is being made. Creating its slot waits for every open transaction that has written something, in the
/// whole cluster, however long that takes; so it is tried repeatedly, and the caller can do other work between
/// two tries.
pub struct Making {
    walsender: Walsender,
    holder: Session,
    slot: String,
    temporary: bool,
}

/// The outcome of one try.
pub enum Tried {
    /// The point, and the connection that created the slot: a temporary slot lives as long as that, and a
    /// permanent one can be streamed from it.
    Made(Box<(Point, Walsender)>),
    /// The point to try again, and whose transactions it waits for.
    Waits(Box<Making>, String),
}

impl Making {
    /// Opens the connections that a point needs.
    ///
    /// # Errors
    /// If they cannot be made.
    pub async fn begin(target: &Target, run: &str, slot: &str, temporary: bool) -> Result<Self, PointError> {
        let wait = format!("{}ms", SLOT_WAIT.as_millis());
        let name = ConnectionRole::of_run(run, "slot").to_string();
        let walsender = Walsender::connect(target, &name, &[("lock_timeout", &wait)]).await?;
        let holder = target.connect(&ConnectionRole::of_run(run, "snapshot").to_string(), &[]).await?;
        Ok(Self { walsender, holder, slot: slot.to_owned(), temporary })
    }

    /// Tries for some seconds to create the slot, and holds its consistent point.
    ///
    /// # Errors
    /// If the slot cannot be created, or its snapshot cannot be held.
    pub async fn attempt(mut self) -> Result<Tried, PointError> {
        let made = match self.walsender.create_slot(&self.slot, self.temporary).await {
            Err(error) if error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let who = in_the_way(&self.holder).await?;
                return Ok(Tried::Waits(Box::new(self), who));
            }
            made => made?,
        };
        crash::point(if self.temporary { "temporary slot" } else { "slot" });
        let Self { walsender, holder, .. } = self;
        holder.batch_execute(&format!("{}; SET LOCAL lock_timeout = 0", import(&made.snapshot))).await?;
        let snapshot = holder.query_one("SELECT pg_export_snapshot()", &[]).await?.get(0);
        let point = Point { lsn: made.lsn, snapshot, since: Instant::now(), holder };
        Ok(Tried::Made(Box::new((point, walsender))))
    }
}

impl Point {
    /// Makes a point, however long that takes; `waiting` is called with whose transactions it waits for. For a slot
    /// from which nothing is streamed yet.
    ///
    /// # Errors
    /// If the slot cannot be created, or its snapshot cannot be held.
    pub async fn make(
        target: &Target,
        run: &str,
        slot: &str,
        temporary: bool,
        waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(Self, Walsender), PointError> {
        let mut making = Making::begin(target, run, slot, temporary).await?;
        loop {
            match making.attempt().await? {
                Tried::Made(made) => return Ok(*made),
                Tried::Waits(again, who) => {
                    waiting(who);
                    making = *again;
                }
            }
        }
    }
}

/// SQL that begins a transaction at an exported snapshot.
#[must_use]
pub fn import(snapshot: &str) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT {}", Literal(snapshot))
}

/// Describes, for people, the sessions that have written something in a transaction that is still open.
async fn in_the_way(session: &Session) -> Result<String, ActivityError> {
    const MOST: usize = 3;
    let writers = activity::writers(session).await?;
    let shown: Vec<String> = writers.iter().take(MOST).map(ToString::to_string).collect();
    Ok(match writers.len().saturating_sub(MOST) {
        _ if shown.is_empty() => "a transaction that has just ended".to_owned(),
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    })
}
