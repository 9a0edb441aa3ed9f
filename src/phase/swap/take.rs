//! Takes the locks of an attempt that clients queue behind.
//!
//! Once the session holds one of them, it may wait for a client that holds another one and waits for the first: a child
//! was written, and its parent is looked up, or the other way round. Neither can continue then, and the longer the first
//! lock is waited for, the more such clients gather behind it. Several locks are therefore asked for briefly, given back
//! if one is not granted, and asked for in another order, in which that client is met before anything is held. Only the
//! last time are they waited for as long as the deadline allows.

use std::time::{Duration, Instant};

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::statements::{Order, Statements};
use crate::pg::connect::Session;
use crate::phase::is_lock_wait;

/// How long each lock is waited for at first.
const BRIEF: Duration = Duration::from_millis(5);

/// Takes all locks, or leaves the transaction failed once the deadline is over.
pub(super) async fn all(
    session: &Session,
    statements: &Statements,
    order: &Order,
    within: Duration,
) -> Result<(), Error> {
    let asked = Instant::now();
    session.batch_execute("SAVEPOINT locks").await?;
    for number in 0.. {
        let left = || within.saturating_sub(asked.elapsed()).max(Duration::from_millis(1));
        let locks = statements.locks(&order.turned(number));
        let brief = BRIEF * 2_u32.saturating_pow(number / 2);
        // Long enough for those in the way to be seen, and ended if the plan says so.
        let is_last = locks.len() == 1 || left() <= within * 2 / 3 || left() <= brief;
        let taken = async {
            for statement in locks {
                let wait = if is_last { left() } else { brief }.as_millis();
                let sql = format!(
                    "SET LOCAL lock_timeout = {wait}; SET LOCAL statement_timeout = {wait}; {}",
                    statement.sql
                );
                session.batch_execute(&sql).await?;
            }
            Ok(())
        };
        let Err(error) = taken.await else { break };
        let is_late = is_lock_wait(&error) || error.code() == Some(&SqlState::QUERY_CANCELED);
        if is_last || !is_late {
            return Err(error);
        }
        session.batch_execute("ROLLBACK TO SAVEPOINT locks").await?;
    }
    let sql = format!("RELEASE SAVEPOINT locks; {}", statements.time_outs.sql);
    session.batch_execute(&sql).await
}
