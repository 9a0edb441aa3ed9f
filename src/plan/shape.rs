//! The shape of a plan's YAML: its keys, and the kind of value that each has.
//!
//! Invariant: the plan's keys are listed here only. The reader checks a plan against this table ([`check`]), and the
//! JSON Schema is generated from it ([`super::schema`]), so the two cannot disagree about a key, a word or a limit.

use std::time::Duration;

use super::problem::{Collected, nearest};
use super::value;
use super::yaml::{Node, Scalar, Value, Word};

/// What a value must look like.
#[derive(Debug)]
pub(super) enum Shape {
    /// A map with these keys.
    Map(&'static MapShape),
    /// A map whose keys the user names.
    MapOf(&'static Shape),
    List {
        of: &'static Shape,
        min: usize,
    },
    /// One of a few fixed words.
    Word(&'static [&'static str]),
    Bool,
    Integer {
        min: u64,
        max: u64,
    },
    Size {
        min: u64,
        max: u64,
    },
    Duration {
        min: Duration,
        max: Duration,
    },
    /// Text that is validated later; the pattern is for editors.
    Text {
        pattern: Option<&'static str>,
    },
    /// A single value of this shape, or the word `none`.
    OrNone(&'static Shape),
    /// Any single value, including null.
    Any,
    /// The first of these that fits the value's kind (map, list, single value).
    Either(&'static [Shape]),
}

/// One key of a map.
#[derive(Debug)]
pub(super) struct PlanKey {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

impl PlanKey {
    /// Whether the key may have no value: only where that means "all defaults".
    pub(super) fn may_be_empty(&self) -> bool {
        match self.shape {
            Shape::Map(map) => map.rules.is_empty() && map.keys.iter().all(|key| !key.required),
            _ => false,
        }
    }
}

/// The keys of a map.
#[derive(Debug)]
pub(super) struct MapShape {
    /// How messages call it: `a table`.
    pub(super) what: &'static str,
    pub(super) keys: &'static [PlanKey],
    /// Reserved keys that a later version will support.
    pub(super) later: &'static [&'static str],
    /// Rules between keys, each as a JSON Schema; the reader implements them in Rust.
    pub(super) rules: &'static [&'static str],
}

/// Reports whatever in `node` does not have `shape`. `name` is how messages call the value.
pub(super) fn check(node: &Node, shape: &Shape, name: &str, found: &mut Collected) {
    match (shape, &node.value) {
        (_, Value::Broken | Value::Unset(_)) => {}
        (Shape::Either(shapes), _) => match shapes.iter().find(|shape| fits_kind(shape, node)) {
            Some(shape) if !node.is_null() => check(node, shape, name, found),
            _ => wrong_kind(node, shape, name, found),
        },
        (Shape::Map(map), Value::Map(_)) => check_map(node, map, found),
        (Shape::MapOf(of), Value::Map(entries)) => {
            for (word, value) in entries {
                check(value, of, &word.text, found);
            }
        }
        (Shape::List { of, min }, Value::List(items)) => {
            if items.len() < *min {
                let plural = if *min == 1 { "entry" } else { "entries" };
                found.add(node.at, format!("`{name}` needs at least {min} {plural}"));
            }
            for item in items {
                check(item, of, name, found);
            }
        }
        (Shape::Any, Value::Scalar(_)) => {}
        (_, Value::Scalar(scalar)) if !scalar.is_null() && fits_kind(shape, node) => {
            check_scalar(node, scalar, shape, name, found);
        }
        _ => wrong_kind(node, shape, name, found),
    }
}

fn fits_kind(shape: &Shape, node: &Node) -> bool {
    match (shape, &node.value) {
        (Shape::Map(_) | Shape::MapOf(_), Value::Map(_)) | (Shape::List { .. }, Value::List(_)) => true,
        (Shape::Map(_) | Shape::MapOf(_) | Shape::List { .. }, _) => false,
        (Shape::Either(shapes), _) => shapes.iter().any(|shape| fits_kind(shape, node)),
        (_, value) => matches!(value, Value::Scalar(_)),
    }
}

fn wrong_kind(node: &Node, shape: &Shape, name: &str, found: &mut Collected) {
    found.add(node.at, format!("`{name}` must be {}, not {}", expected(shape), node.kind()));
}

/// A shape in words, for messages: `a whole number from 1 to 64`.
pub(super) fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Map(_) | Shape::MapOf(_) => "a map".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Word([only]) => format!("`{only}`"),
        Shape::Word(words) => format!("one of `{}`", words.join("`, `")),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Integer { min, max } if min == max => min.to_string(),
        Shape::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Shape::Size { min, max } => {
            format!("a size from {} to {}", value::show_size(*min), value::show_size(*max))
        }
        Shape::Duration { min, max } => {
            format!("a duration from {} to {}", value::show_duration(*min), value::show_duration(*max))
        }
        Shape::Text { .. } => "text".to_owned(),
        Shape::OrNone(of) => format!("{}, or `none`", expected(of)),
        Shape::Any => "a single value".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}

fn check_map(node: &Node, map: &'static MapShape, found: &mut Collected) {
    let mut meant = Vec::new();
    for (word, value) in node.entries() {
        match map.keys.iter().find(|key| key.name == word.text) {
            None => meant.extend(unknown_key(word, map, found)),
            Some(key) if value.is_null() && key.may_be_empty() => {}
            Some(key) => check(value, &key.shape, key.name, found),
        }
    }
    for key in map.keys.iter().filter(|key| key.required && !meant.contains(&key.name)) {
        if !node.entries().iter().any(|(word, _)| word.text == key.name) {
            found.add_with_hint(
                node.at,
                format!("`{}` is missing from {}", key.name, map.what),
                format!("`{}: ...` {}", key.name, key.about),
            );
        }
    }
}

/// Reports an unknown key, and returns the one that was probably meant.
pub(super) fn unknown_key(
    word: &Word,
    map: &'static MapShape,
    found: &mut Collected,
) -> Option<&'static str> {
    if map.later.contains(&word.text.as_str()) {
        found.add(word.at, format!("`{}` is not supported by this version yet", word.text));
        return None;
    }
    let known: Vec<&'static str> = map.keys.iter().map(|key| key.name).collect();
    let near = nearest(&word.text, known.iter().copied());
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys of {} are `{}`", map.what, known.join("`, `")),
    };
    found.add_with_hint(word.at, format!("`{}` is not a key of {}", word.text, map.what), hint);
    near
}

fn check_scalar(node: &Node, scalar: &Scalar, shape: &Shape, name: &str, found: &mut Collected) {
    let (good, hint) = judged(scalar, shape);
    if !good {
        let message = format!("`{name}` must be {}, not `{}`", expected(shape), scalar.shown());
        found.add_with_hint(node.at, message, hint);
    }
}

/// Whether a single value has a shape, and what to write if it has not.
fn judged(scalar: &Scalar, shape: &Shape) -> (bool, Option<String>) {
    let text = scalar.text.as_str();
    match shape {
        Shape::OrNone(_) if text == "none" => (true, None),
        Shape::OrNone(of) => judged(scalar, of),
        Shape::Word(words) => {
            let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            (words.contains(&text), near)
        }
        Shape::Bool => (scalar.as_bool().is_some(), Some("without quotes".to_owned())),
        Shape::Integer { min, max } => {
            (text.parse::<u64>().is_ok_and(|number| (*min..=*max).contains(&number)), None)
        }
        Shape::Size { min, max } => (
            value::size(text).is_some_and(|size| (*min..=*max).contains(&size)),
            Some("a number and a unit, as in `64KiB`, `16MiB`, `8GiB`".to_owned()),
        ),
        Shape::Duration { min, max } => (
            value::duration(text).is_some_and(|d| (*min..=*max).contains(&d)),
            Some("a number and a unit, as in `300ms`, `2s`, `30m`, `24h`".to_owned()),
        ),
        Shape::Text { .. } => (!text.trim().is_empty(), None),
        _ => (true, None),
    }
}
