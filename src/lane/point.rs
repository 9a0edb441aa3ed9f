//! A consistent point: the pair (L, S) that creating a logical slot gives. Snapshot S holds exactly
//! the transactions whose commit record begins before L.
//!
//! Invariant: S lives as long as the [`Point`]. A connection of ours imports it and exports it
//! again, so that the connection that made the slot is free and no time-out ends the snapshot.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use crate::pg::connect::{ConnectError, Session, Target};
use crate::pg::{Literal, Lsn};
use crate::replication::{ReplicationError, Walsender};

/// What went wrong in making a consistent point.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// The slot.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// A connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The snapshot.
    #[error("a snapshot could not be held: {}", crate::pg::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

/// A consistent point, held.
pub struct Point {
    /// L.
    pub lsn: Lsn,
    /// S, by the name under which other connections import it.
    pub snapshot: String,
    /// When it was made.
    pub since: Instant,
    /// The connection that holds S, in a transaction at S.
    pub holder: Session,
}

/// How long one attempt to make a slot waits for the transactions that are open.
const SLOT_WAIT: Duration = Duration::from_secs(5);

impl Point {
    /// Makes a slot and holds its consistent point. The connection that made the slot is returned
    /// too: a temporary slot lives as long as it does, a lasting one can be streamed from it.
    /// Waits for every transaction that has written something, in the whole cluster; `waiting` is
    /// told who is in the way.
    ///
    /// # Errors
    /// If the slot cannot be made, or its snapshot not be held.
    pub async fn make(
        target: &Target,
        run: &str,
        slot: &str,
        temporary: bool,
        waiting: &(dyn Fn(String) + Send + Sync),
    ) -> Result<(Self, Walsender), PointError> {
        let wait = format!("{}ms", SLOT_WAIT.as_millis());
        let name = format!("projh-bluegreen {run} slot");
        let mut walsender = Walsender::connect(target, &name, &[("lock_timeout", &wait)]).await?;
        let holder = target.connect(&format!("projh-bluegreen {run} snapshot"), &[]).await?;
        let made = loop {
            match walsender.create_slot(slot, temporary).await {
                Err(error) if error.sqlstate() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    waiting(in_the_way(&holder).await?);
                }
                other => break other?,
            }
        };
        holder.batch_execute(&format!("{}; SET LOCAL lock_timeout = 0", import(&made.snapshot))).await?;
        let snapshot = holder.query_one("SELECT pg_export_snapshot()", &[]).await?.get(0);
        Ok((Self { lsn: made.lsn, snapshot, since: Instant::now(), holder }, walsender))
    }
}

/// Begins a transaction at an exported snapshot.
#[must_use]
pub fn import(snapshot: &str) -> String {
    format!("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT {}", Literal(snapshot))
}

/// The oldest transaction that has written something, for a person.
async fn in_the_way(session: &Session) -> Result<String, tokio_postgres::Error> {
    let sql = "SELECT format('process %s of %s (%s), in a transaction for %s s, state %s', pid, usename, \
               application_name, round(extract(epoch FROM clock_timestamp() - xact_start)), state) \
               FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
               ORDER BY xact_start LIMIT 1";
    let oldest = session.query_opt(sql, &[]).await?;
    Ok(oldest
        .map_or_else(|| "a prepared transaction, or one that has just ended".to_owned(), |row| row.get(0)))
}
