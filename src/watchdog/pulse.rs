//! Whether the server still answers.
//!
//! A statement of ours may rightly take hours, and a proxy or a tunnel can keep a connection open long after the server
//! has become unreachable behind it: then no probe of the kernel fails. So a connection of its own asks for nothing at
//! short intervals, and an answer that does not come means that all connections are lost.

use std::pin::pin;
use std::time::Duration;

use crate::context::Context;
use crate::error::Error;
use crate::pg::ConnectionRole;
use crate::pg::connect::{ConnectError, Session};

/// The parts in which an answer is waited for. A process that was stopped and continued finds its timer expired and the
/// answer not read yet; it loses one of them.
const PARTS: u32 = 8;

/// Resolves once the server has not answered for as long as a connection may be silent.
pub(crate) async fn lost(cx: &Context) -> Error {
    let Some(limit) = cx.target.silence_limit() else { return std::future::pending().await };
    let mut has_beaten = false;
    loop {
        // A command that is short needs no connection more.
        tokio::time::sleep(limit / 4).await;
        match cx.target.connect(ConnectionRole::of_command("pulse"), &[]).await {
            Ok(session) => {
                if is_silent(&session, limit).await {
                    return ConnectError::Silent { address: cx.target.label(), after: limit }.into();
                }
                has_beaten = true;
            }
            // Later the run's own connections may be fine, while the server lets nobody else in.
            Err(error @ ConnectError::Timeout { .. }) if !has_beaten => return error.into(),
            Err(error) => tracing::debug!(%error, "no pulse"),
        }
    }
}

/// Asks until there is no answer: true if the server is silent, false if the connection was lost, which the others notice
/// by themselves.
async fn is_silent(session: &Session, limit: Duration) -> bool {
    loop {
        let mut beat = pin!(session.simple_query("SELECT 1"));
        let mut waited = 0;
        loop {
            tokio::select! {
                biased;
                answer = &mut beat => match answer {
                    Ok(_) => break,
                    Err(_) => return false,
                },
                () = tokio::time::sleep(limit / PARTS) => waited += 1,
            }
            if waited == PARTS {
                return true;
            }
        }
        tokio::time::sleep(limit / 4).await;
    }
}
