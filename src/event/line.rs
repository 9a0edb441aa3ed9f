//! A line of `--json`: an event, its time, and its run.

use jiff::Timestamp;
use serde::Serialize;

use super::Event;

/// The fields that every line has; [`super::schema`] adds them to the schema of each event.
pub(super) const FIELDS: [(&str, &str); 2] = [
    ("at", "When it was printed: UTC, ISO 8601, with milliseconds."),
    ("run", "The short id of the run that the command is about; `null` before it is known."),
];

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    /// Left out where the event has a field of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Option<&'a str>>,
    #[serde(flatten)]
    event: &'a Event,
}

/// The line of an event; `run` is the short id of the run, once it is known.
///
/// # Errors
/// If the event cannot be written as JSON.
pub(crate) fn json(event: &Event, at: Timestamp, run: Option<&str>) -> Result<String, serde_json::Error> {
    let has_its_own = matches!(event, Event::Run { .. } | Event::Status(_) | Event::PreviewSummary(_));
    let run = if has_its_own { None } else { Some(run) };
    serde_json::to_string(&Line { at: format!("{at:.3}"), run, event })
}
