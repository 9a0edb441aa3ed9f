//! Whether a single connection of ours is stalled while all others are fine, as a proxy or a tunnel can do it.
//!
//! A statement may rightly take hours, so that an answer that does not come proves nothing. But if the server has nothing to do
//! in that session, either the statement or its answer is lost.

use std::future::Future;
use std::time::Duration;

use super::{ConnectError, Session, Target};
use crate::pg::ConnectionRole;

/// Does `work`, which waits for answers on `session` only; fails if the server has none to give.
///
/// # Errors
/// The work's own, or [`ConnectError::Silent`].
pub(crate) async fn unless_stalled<T, E: From<ConnectError>>(
    target: &Target,
    pid: i32,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(limit) = target.silence_limit() else { return work.await };
    tokio::select! {
        outcome = work => outcome,
        () = stalled(target, pid, limit) => Err(ConnectError::Silent { address: target.label(), after: limit }.into()),
    }
}

/// Resolves once the server has had nothing to do for a session for as long as a connection may be silent.
async fn stalled(target: &Target, pid: i32, limit: Duration) {
    loop {
        tokio::time::sleep(limit).await;
        let rests = async {
            let asked =
                target.connect(ConnectionRole::of_command("pulse"), &[("statement_timeout", "5s")]).await;
            let sql = "SELECT state <> 'active' AND clock_timestamp() - state_change > make_interval(secs => $1) \
                       FROM pg_stat_activity WHERE pid = $2";
            let row = asked.ok()?.query_opt(sql, &[&(limit.as_secs_f64() * 0.8), &pid]).await.ok()?;
            // If there is no such session, the connection is closed, which is noticed by itself.
            row?.get::<_, Option<bool>>(0)
        };
        if tokio::time::timeout(limit, rests).await == Ok(Some(true)) {
            return;
        }
    }
}

impl Session {
    /// The process ID of its backend.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub(crate) async fn pid(&self) -> Result<i32, tokio_postgres::Error> {
        Ok(self.query_one("SELECT pg_backend_pid()", &[]).await?.get(0))
    }
}
