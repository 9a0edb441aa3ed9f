//! `settings`: how to go about it. Limits are in the table of keys; here are the defaults.

use std::time::Duration;

use super::problem::Collected;
use super::value::{show_duration, show_size};
use super::yaml::Node;
use super::{
    Archive, PreviewSettings, Settings, SwapSettings, TerminateBlockers, Throttle, Window, sql, value,
};

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

impl TerminateBlockers {
    const ALL: [Self; 3] = [Self::Never, Self::IdleInTransaction, Self::All];

    /// How a plan writes it.
    fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::IdleInTransaction => "idle_in_transaction",
            Self::All => "all",
        }
    }
}

impl Settings {
    /// The value of a key, as a plan writes it; `None` if there is no such key.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<String> {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
        let (throttle, swap) = (&self.throttle, &self.swap);
        Some(match key {
            "workers" => self.workers.to_string(),
            "chunk_size" => show_size(self.chunk_size_bytes),
            "max_snapshot_age" => show_duration(self.max_snapshot_age),
            "wal_budget" => show_size(self.wal_budget_bytes),
            "reconnect_for" => show_duration(self.reconnect_for),
            "throttle.max_replica_lag" => or_none(throttle.max_replica_lag.map(show_duration)),
            "throttle.max_active_sessions" => {
                or_none(throttle.max_active_sessions.map(|most| most.to_string()))
            }
            "throttle.query" => or_none(throttle.query.clone()),
            "throttle.rest_percent" => throttle.rest_percent.to_string(),
            "swap.lock_timeout" => show_duration(swap.lock_timeout),
            "swap.max_write_stall" => show_duration(swap.max_write_stall),
            "swap.attempts" => swap.attempts.to_string(),
            "swap.window" => or_none(swap.window.as_ref().map(ToString::to_string)),
            "swap.terminate_blockers" => swap.terminate_blockers.word().to_owned(),
            "preview.sample" => self.preview.sample.to_string(),
            "soak" => show_duration(self.soak),
            "verify_every" => or_none(self.verify_every.map(show_duration)),
            "archive.schema" => or_none(self.archive.as_ref().map(Archive::plain)),
            "finish" => if self.finishes_after_soak { "after_soak" } else { "manual" }.to_owned(),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (self.from.strftime("%H:%M"), self.to.strftime("%H:%M"));
        write!(f, "{from}-{to} {}", self.time_zone)
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
    if let Some(node) = plan.get("settings") {
        take_in(&mut settings, node, found);
    }
    settings
}

/// Sets what `node`, a map of settings, has.
pub(super) fn take_in(settings: &mut Settings, node: &Node, found: &mut Collected) {
    set(&mut settings.workers, node, "workers", |text| text.parse().ok());
    set(&mut settings.chunk_size_bytes, node, "chunk_size", value::size);
    set(&mut settings.max_snapshot_age, node, "max_snapshot_age", value::duration);
    set(&mut settings.wal_budget_bytes, node, "wal_budget", value::size);
    set(&mut settings.reconnect_for, node, "reconnect_for", value::duration);
    set(&mut settings.soak, node, "soak", value::duration);
    set(&mut settings.verify_every, node, "verify_every", |text| or_none(text, value::duration));
    set(&mut settings.finishes_after_soak, node, "finish", |text| Some(text == "after_soak"));
    if let Some(schema) = node.get("archive").and_then(|archive| archive.get("schema")) {
        settings.archive = sql::take(schema, "schema", sql::ident, found).map(Archive);
    }
    if let Some(node) = node.get("throttle") {
        throttle(&mut settings.throttle, node, found);
    }
    if let Some(node) = node.get("swap") {
        swap(&mut settings.swap, node, found);
    }
    if let Some(node) = node.get("preview") {
        set(&mut settings.preview.sample, node, "sample", |text| text.parse().ok());
    }
}

fn throttle(throttle: &mut Throttle, node: &Node, found: &mut Collected) {
    set(&mut throttle.max_replica_lag, node, "max_replica_lag", |text| or_none(text, value::duration));
    set(&mut throttle.max_active_sessions, node, "max_active_sessions", |text| {
        or_none(text, |text| text.parse().ok())
    });
    set(&mut throttle.rest_percent, node, "rest_percent", |text| text.parse().ok());
    if let Some((query, text)) = node.get("query").and_then(|query| Some((query, &query.scalar()?.text))) {
        match sql::statement(text) {
            _ if text == NONE => throttle.query = None,
            Ok(statement) => throttle.query = Some(statement),
            Err(problem) => found.add_with_hint(query.at, format!("`query`: {problem}"), problem.hint),
        }
    }
}

fn swap(swap: &mut SwapSettings, node: &Node, found: &mut Collected) {
    set(&mut swap.lock_timeout, node, "lock_timeout", value::duration);
    set(&mut swap.max_write_stall, node, "max_write_stall", value::duration);
    set(&mut swap.attempts, node, "attempts", |text| text.parse().ok());
    set(&mut swap.terminate_blockers, node, "terminate_blockers", |text| {
        TerminateBlockers::ALL.into_iter().find(|which| which.word() == text)
    });
    if let Some((window, scalar)) = node.get("window").and_then(|window| Some((window, window.scalar()?))) {
        match value::window(&scalar.text) {
            _ if scalar.text == NONE => swap.window = None,
            Ok(window) => swap.window = Some(window),
            Err(hint) => {
                let message = format!("`window` is not a window of the day: `{}`", scalar.shown());
                found.add_with_hint(window.at, message, hint);
            }
        }
    }
}

const NONE: &str = "none";

fn or_none<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text == NONE { Some(None) } else { read(text).map(Some) }
}

/// Sets a field from the value of `key`; a value that cannot be parsed was reported with the shape.
fn set<T>(field: &mut T, node: &Node, key: &str, read: impl Fn(&str) -> Option<T>) {
    if let Some(value) = node.get(key).and_then(Node::scalar).and_then(|scalar| read(&scalar.text)) {
        *field = value;
    }
}
