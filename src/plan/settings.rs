//! `settings`: how to go about it. Limits are in the table of keys; here are the defaults.

use std::time::Duration;

use super::problem::Collected;
use super::yaml::Node;
use super::{PreviewSettings, Settings, SwapSettings, TerminateBlockers, Throttle, sql, value};

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 4,
            chunk_size_bytes: 16 << 20,
            max_snapshot_age: Duration::from_secs(30 * 60),
            wal_budget_bytes: 8 << 30,
            reconnect_for: Duration::from_secs(5 * 60),
            throttle: Throttle::default(),
            swap: SwapSettings::default(),
            preview: PreviewSettings { sample: true },
            soak: Duration::ZERO,
            verify_every: None,
            finishes_after_soak: false,
            archive: None,
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            max_replica_lag: Some(Duration::from_secs(10)),
            max_active_sessions: None,
            query: None,
            rest_percent: 100,
        }
    }
}

impl Default for SwapSettings {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_millis(300),
            max_write_stall: Duration::from_secs(2),
            attempts: 30,
            window: None,
            terminate_blockers: TerminateBlockers::default(),
        }
    }
}

/// Reads `settings` of a plan whose shape has been checked.
pub(super) fn read(plan: &Node, found: &mut Collected) -> Settings {
    let mut settings = Settings::default();
    let Some(node) = plan.get("settings") else { return settings };
    set(&mut settings.workers, node, "workers", |text| text.parse().ok());
    set(&mut settings.chunk_size_bytes, node, "chunk_size", value::size);
    set(&mut settings.max_snapshot_age, node, "max_snapshot_age", value::duration);
    set(&mut settings.wal_budget_bytes, node, "wal_budget", value::size);
    set(&mut settings.reconnect_for, node, "reconnect_for", value::duration);
    set(&mut settings.soak, node, "soak", value::duration);
    set(&mut settings.verify_every, node, "verify_every", |text| match text {
        "none" => Some(None),
        _ => value::duration(text).map(Some),
    });
    set(&mut settings.finishes_after_soak, node, "finish", |text| Some(text == "after_soak"));
    let archive = node.get("archive").and_then(|archive| archive.get("schema"));
    settings.archive = archive.and_then(|schema| sql::take(schema, "schema", sql::ident, found));
    if let Some(node) = node.get("throttle") {
        throttle(&mut settings.throttle, node, found);
    }
    if let Some(node) = node.get("swap") {
        swap(&mut settings.swap, node, found);
    }
    if let Some(node) = node.get("preview") {
        set(&mut settings.preview.sample, node, "sample", |text| text.parse().ok());
    }
    settings
}

fn throttle(throttle: &mut Throttle, node: &Node, found: &mut Collected) {
    set(&mut throttle.max_replica_lag, node, "max_replica_lag", |text| match text {
        "none" => Some(None),
        _ => value::duration(text).map(Some),
    });
    set(&mut throttle.max_active_sessions, node, "max_active_sessions", |text| text.parse().ok().map(Some));
    set(&mut throttle.rest_percent, node, "rest_percent", |text| text.parse().ok());
    if let Some((query, text)) = node.get("query").and_then(|query| Some((query, &query.scalar()?.text))) {
        match sql::statement(text) {
            Ok(statement) => throttle.query = Some(statement),
            Err(problem) => found.add_with_hint(query.at, format!("`query`: {problem}"), problem.hint),
        }
    }
}

fn swap(swap: &mut SwapSettings, node: &Node, found: &mut Collected) {
    set(&mut swap.lock_timeout, node, "lock_timeout", value::duration);
    set(&mut swap.max_write_stall, node, "max_write_stall", value::duration);
    set(&mut swap.attempts, node, "attempts", |text| text.parse().ok());
    set(&mut swap.terminate_blockers, node, "terminate_blockers", |text| match text {
        "never" => Some(TerminateBlockers::Never),
        "idle_in_transaction" => Some(TerminateBlockers::IdleInTransaction),
        "all" => Some(TerminateBlockers::All),
        _ => None,
    });
    if let Some((window, scalar)) = node.get("window").and_then(|window| Some((window, window.scalar()?))) {
        match value::window(&scalar.text) {
            Ok(window) => swap.window = Some(window),
            Err(hint) => {
                let message = format!("`window` is not a window of the day: `{}`", scalar.shown());
                found.add_with_hint(window.at, message, hint);
            }
        }
    }
}

/// Sets a field from the value of `key`; a value that cannot be parsed was reported with the shape.
fn set<T>(field: &mut T, node: &Node, key: &str, read: impl Fn(&str) -> Option<T>) {
    if let Some(value) = node.get(key).and_then(Node::scalar).and_then(|scalar| read(&scalar.text)) {
        *field = value;
    }
}
