//! Waits for what others do: for a condition, never for a time, and never for ever.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_postgres::Client;

/// Longest wait for anything that has to come, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so; `what` is told if it never is.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < until, "not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the server answers a question with true.
pub async fn eventually(client: &Client, sql: &str) {
    until(sql, async || client.query_one(sql, &[]).await.unwrap().get(0)).await;
}

/// Waits until a session of the program waits for a lock.
pub async fn waits_for_a_lock(client: &Client) {
    let sql = "select exists (select from pg_stat_activity where wait_event_type = 'Lock' \
               and application_name like 'projh-bluegreen%')";
    eventually(client, sql).await;
}

/// Whether an event is a notice, or tells of a wait, with this word; for [`super::bluegreen::Running::wait_until`].
pub fn notice(word: &str) -> impl Fn(&Value) -> bool {
    move |event| {
        let is_it = event["type"] == "notice" || event["type"] == "waiting";
        is_it && event["text"].as_str().is_some_and(|text| text.contains(word))
    }
}
