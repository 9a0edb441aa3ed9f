//! `set`: settings of a run that are changed while it is under way, written as in the plan: `swap.attempts=50`.
//!
//! Invariant: a value is read by the very code that reads the plan's, so that both have the same limits.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Collected, Position};
use super::shape::{self, MapShape, Shape};
use super::yaml::{Node, Scalar, Value, Word};
use super::{Settings, keys, settings};

/// What no run goes by, with the reason.
const FIXED: [(&str, &str); 2] = [
    ("archive.schema", "`check` looks at the archive of the plan: edit the plan"),
    ("preview.sample", "it is for `execute --dry-run` only, which takes it from the plan"),
];
/// Stands for the plan's own value.
const OF_THE_PLAN: &str = "plan";

/// What is set, by its key relative to `settings`; `None` goes back to the plan's value.
pub type Changes = BTreeMap<String, Option<String>>;

/// A setting that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingChange {
    /// Its key relative to `settings`, as in `swap.attempts`.
    pub key: String,
    /// Its value before, as a plan writes it.
    pub from: String,
    /// Its value now, as a plan writes it.
    pub to: String,
}

impl std::fmt::Display for SettingChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.from, self.to)
    }
}

/// Reads words such as `workers=8` and `swap.window=plan`.
///
/// # Errors
/// What is wrong with them, one sentence for each mistake.
pub fn read<S: AsRef<str>>(words: &[S]) -> Result<Changes, Vec<String>> {
    let (mut changes, mut problems) = (Changes::new(), Vec::new());
    for word in words {
        match read_one(word.as_ref()) {
            Ok((key, _)) if changes.contains_key(&key) => problems.push(format!("`{key}` is given twice")),
            Ok((key, value)) => drop(changes.insert(key, value)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(problems) }
}

fn read_one(word: &str) -> Result<(String, Option<String>), String> {
    let Some((key, value)) = word.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
        return Err(format!("`{word}` is not of the form KEY=VALUE, as in `workers=8`"));
    };
    let shape = shape_of(key)?;
    if let Some((_, why)) = FIXED.iter().find(|(fixed, _)| *fixed == key) {
        return Err(format!("`{key}` cannot be set for a run: {why}"));
    }
    if value == OF_THE_PLAN {
        return Ok((key.to_owned(), None));
    }
    let mut found = Collected::default();
    shape::check(&scalar(value), shape, key, &mut found);
    if found.is_empty() {
        settings::take_in(&mut Settings::default(), &tree(key, value), &mut found);
    }
    match said(found) {
        Some(problem) => Err(problem),
        None => Ok((key.to_owned(), Some(value.to_owned()))),
    }
}

/// The shape of a single setting.
fn shape_of(path: &str) -> Result<&'static Shape, String> {
    let (mut map, mut parts) = (&keys::SETTINGS, path.split('.').peekable());
    loop {
        let part = parts.next().unwrap_or_default();
        let Some(key) = map.keys.iter().find(|key| key.name == part) else {
            let mut found = Collected::default();
            shape::unknown_key(&Word { at: Position::default(), text: part.to_owned() }, map, &mut found);
            return Err(said(found).unwrap_or_default());
        };
        match (&key.shape, parts.peek()) {
            (Shape::Map(below), Some(_)) => map = below,
            (Shape::Map(below), None) => {
                let first = below.keys.first().map_or("", |key| key.name);
                return Err(format!("`{path}` has several settings: name one, as in `{path}.{first}=...`"));
            }
            (_, Some(_)) => return Err(format!("`{part}` is a single setting: there is no `{path}`")),
            (shape, None) => return Ok(shape),
        }
    }
}

/// The problems in one line.
fn said(found: Collected) -> Option<String> {
    let problems = found.into_problems("", "")?;
    let sentences = problems.iter().map(|problem| match &problem.hint {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message.clone(),
    });
    Some(sentences.collect::<Vec<_>>().join("; "))
}

fn scalar(text: &str) -> Node {
    let scalar = Scalar { text: text.to_owned(), written: None, plain: true };
    Node { at: Position::default(), value: Value::Scalar(scalar) }
}

/// The map that `settings` of a plan would be with this key alone.
fn tree(path: &str, value: &str) -> Node {
    path.rsplit('.').fold(scalar(value), |below, part| {
        let word = Word { at: Position::default(), text: part.to_owned() };
        Node { at: Position::default(), value: Value::Map(vec![(word, below)]) }
    })
}

/// The keys of all settings, those of maps as `swap.attempts`.
fn keys_of(map: &MapShape, before: &str) -> Vec<String> {
    let of_one = |key: &shape::PlanKey| match &key.shape {
        Shape::Map(below) => keys_of(below, &format!("{before}{}.", key.name)),
        _ => vec![format!("{before}{}", key.name)],
    };
    map.keys.iter().flat_map(of_one).collect()
}

impl Settings {
    /// These settings with `changes`, which [`read`] has accepted.
    #[must_use]
    pub fn with<'a>(&self, changes: impl IntoIterator<Item = (&'a String, &'a Option<String>)>) -> Self {
        let mut settings = self.clone();
        for (key, value) in changes {
            if let Some(value) = value {
                settings::take_in(&mut settings, &tree(key, value), &mut Collected::default());
            }
        }
        settings
    }

    /// What differs in `after`.
    #[must_use]
    pub fn changes_to(&self, after: &Self) -> Vec<SettingChange> {
        let keys = keys_of(&keys::SETTINGS, "").into_iter();
        let changed = keys.filter_map(|key| {
            let (from, to) = (self.shown(&key)?, after.shown(&key)?);
            (from != to).then_some(SettingChange { key, from, to })
        });
        changed.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(word: &str) -> String {
        read(&[word]).unwrap_err().join("\n")
    }

    #[test]
    fn every_setting_is_shown_as_a_plan_writes_it_and_can_be_set_or_is_refused_with_the_reason() {
        let settings = Settings::default();
        let keys = keys_of(&keys::SETTINGS, "");
        assert!(keys.contains(&"swap.window".to_owned()));
        for key in keys {
            let value = settings.shown(&key).unwrap_or_else(|| panic!("{key} is not shown"));
            match FIXED.iter().find(|(fixed, _)| **fixed == key) {
                Some((_, why)) => assert!(refused(&format!("{key}={value}")).contains(why)),
                None => {
                    let changes = read(&[format!("{key}={value}")]).unwrap();
                    assert_eq!(settings.with(&changes), settings, "{key}={value}");
                }
            }
        }
    }

    #[test]
    fn what_is_set_is_what_the_plan_would_say() {
        let words = [
            "workers=8",
            "wal_budget=16GiB",
            "swap.window=02:00-05:00 Europe/Berlin",
            "swap.terminate_blockers=all",
            "throttle.query=select false",
            "throttle.max_replica_lag=none",
            "finish=after_soak",
            "soak=plan",
        ];
        let (before, changes) = (Settings::default(), read(&words).unwrap());
        let changed: Vec<String> =
            before.changes_to(&before.with(&changes)).iter().map(ToString::to_string).collect();
        let expected = [
            "workers: 4 -> 8",
            "wal_budget: 8GiB -> 16GiB",
            "throttle.max_replica_lag: 10s -> none",
            "throttle.query: none -> select false",
            "swap.window: none -> 02:00-05:00 Europe/Berlin",
            "swap.terminate_blockers: never -> all",
            "finish: manual -> after_soak",
        ];
        assert_eq!(changed, expected);
        assert_eq!(before.with(&read(&["swap.window=none"]).unwrap()), before);
    }

    #[test]
    fn what_cannot_be_set_is_refused_as_the_plan_s_reader_would() {
        for (word, says) in [
            ("workers", "`workers` is not of the form KEY=VALUE"),
            ("wokers=8", "`wokers` is not a key of `settings`; did you mean `workers`?"),
            ("swap.atempts=8", "`atempts` is not a key of `swap`; did you mean `attempts`?"),
            ("workers=0", "`workers` must be a whole number from 1 to 64, not `0`"),
            ("workers=", "`workers` must be a whole number from 1 to 64, not nothing"),
            ("swap.attempts=many", "`swap.attempts` must be a whole number from 1 to 10000, not `many`"),
            (
                "wal_budget=16",
                "`wal_budget` must be a size from 1MiB to 64TiB, not `16`; a number and a unit",
            ),
            ("swap=3", "`swap` has several settings: name one, as in `swap.lock_timeout=...`"),
            ("swap=plan", "`swap` has several settings"),
            ("workers.most=3", "`workers` is a single setting"),
            ("finish=after", "`finish` must be one of `manual`, `after_soak`, not `after`"),
            ("swap.window=2-5 UTC", "write `HH:MM-HH:MM ZONE`"),
            ("throttle.query=select 1; select 2", "`query`"),
            ("throttle.max_active_sessions=0", "from 1 to 1000000, or `none`, not `0`"),
        ] {
            assert!(refused(word).contains(says), "{word}: {}", refused(word));
        }
        let both = read(&["workers=0", "soak=24", "finish=manual", "finish=manual"]).unwrap_err();
        assert_eq!(both.len(), 3, "all mistakes at once: {both:?}");
    }
}
