//! Parses YAML into a tree that knows the position of each value, with `${NAME}` expanded.
//!
//! The tree is our own, not serde's, because a deserializer stops at its first error, and a plan's problems are
//! reported all at once. Plain scalars keep their text: `010` stays `010`.
//!
//! Invariant: a value of the environment is only ever the text of one scalar: it cannot add keys, and [`Scalar::shown`]
//! does not contain it.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::environment::{Env, Unfilled, interpolate};
use super::problem::{Collected, Position};

/// More nodes than any plan has: the limit for a document that aliases expand.
const MAX_NODES: usize = 100_000;
/// Deeper than any plan is nested.
const MAX_DEPTH: usize = 32;

/// A value and its position; the position of a block (`|`, `>`) is its first line.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Word, Node)>),
    /// It could not be read. The problem has been reported, so others ignore the value.
    Broken,
    /// `database.url` with a variable that is not set: a problem only for whoever needs it.
    Unset(Unfilled),
}

/// A key and its position.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) at: Position,
    pub(super) text: String,
}

/// A single value, as text.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// The text in the plan, if the environment changed it.
    pub(super) written: Option<String>,
    /// Not quoted: it may also be a number, a boolean or null.
    pub(super) plain: bool,
}

impl Scalar {
    /// For messages: shortened, and without values of the environment.
    pub(super) fn shown(&self) -> String {
        const LONGEST: usize = 60;
        let text = self.written.as_deref().unwrap_or(&self.text);
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", text[..end].trim_end()),
            None => text.to_owned(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Only `true` and `false`: YAML's `yes` and `off` surprise people.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" if self.plain => Some(true),
            "false" if self.plain => Some(false),
            _ => None,
        }
    }
}

impl Node {
    /// The value of `key`, if this is a map and has a value there that is not null.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|(word, _)| word.text == key)
            .map(|(_, node)| node)
            .filter(|n| !n.is_null())
    }

    pub(super) fn entries(&self) -> &[(Word, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// The kind of value in words, for messages: `a list`.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Scalar(_) if self.is_null() => "nothing",
            Value::Scalar(_) | Value::Broken | Value::Unset(_) => "a single value",
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::Scalar(_) | Value::Broken | Value::Unset(_) => 1,
            Value::List(items) => 1 + items.iter().map(Node::size).sum::<usize>(),
            Value::Map(entries) => 1 + entries.iter().map(|(_, node)| 1 + node.size()).sum::<usize>(),
        }
    }
}

/// Reads one document; `None` if it is not YAML or has no content, which `found` then says.
pub(super) fn read(text: &str, env: Env<'_>, found: &mut Collected) -> Option<Node> {
    let options =
        granit_parser::options! { emit_comments: false, block_nesting_limit: 64, flow_nesting_limit: 64 };
    let mut tree = Tree { env, found, stack: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0 };
    for next in Parser::new_from_str_with_options(text, options) {
        let step = match next {
            Ok((event, span)) => tree.take(event, span),
            Err(error) => {
                let message = format!("this is not valid YAML: {}", error.info());
                let at = position(error.marker());
                tree.found.add_with_hint(at, message, hint(&error.info(), text, at));
                Err(Stop)
            }
        };
        if step.is_err() {
            return None;
        }
    }
    let root = tree.root.filter(|root| !root.is_null());
    if root.is_none() && found.is_empty() {
        let hint = "begin with `version: 1`, `name: ...` and `tables:`".to_owned();
        found.add_with_hint(Position { line: 1, column: 1 }, "the plan is empty", hint);
    }
    root
}

/// What a mistake in the YAML itself most likely is.
fn hint(info: &str, text: &str, at: Position) -> Option<String> {
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    let hint = if line[..indent].contains('\t') {
        "indent with spaces: YAML allows no tabs there"
    } else if info.contains("after double-quoted scalar") || info.contains("after single-quoted scalar") {
        "quote the value as a whole, as in '\"Schema\".\"Table\"'"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// Reading cannot continue; the reason has been reported.
struct Stop;

/// A list or map that is not complete yet.
struct Open {
    at: Position,
    anchor: usize,
    value: Value,
    /// The key whose value comes next.
    key: Option<Word>,
}

struct Tree<'a> {
    env: Env<'a>,
    found: &'a mut Collected,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let at = position(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(at, tag.is_some());
                self.scalar(at, &text, style, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(at, tag.is_some());
                self.open(at, anchor, Value::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(at, tag.is_some());
                self.open(at, anchor, Value::Map(Vec::new()))
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => self.put(Node { at: open.at, value: open.value }, open.anchor),
                None => Ok(()),
            },
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    self.nodes += node.size();
                    self.put(Node { at, value: node.value }, 0)
                }
                None => self.stop(at, "an alias inside its own anchor never ends"),
            },
            Event::DocumentStart(..) if self.root.is_some() => {
                self.stop(at, "a plan is one YAML document; here a second one begins")
            }
            _ => Ok(()),
        }
    }

    fn stop(&mut self, at: Position, message: &str) -> Result<(), Stop> {
        self.found.add(at, message);
        Err(Stop)
    }

    fn refuse_tag(&mut self, at: Position, tagged: bool) {
        if tagged {
            self.found.add(at, "YAML tags (`!...`) have no meaning in a plan");
        }
    }

    fn open(&mut self, at: Position, anchor: usize, value: Value) -> Result<(), Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return self.stop(at, "this is nested deeper than any plan can be");
        }
        if self.waits_for_key() {
            return self.stop(at, "a key must be a single word");
        }
        self.stack.push(Open { at, anchor, value, key: None });
        Ok(())
    }

    fn waits_for_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { value: Value::Map(_), key: None, .. }))
    }

    fn scalar(&mut self, at: Position, text: &str, style: ScalarStyle, anchor: usize) -> Result<(), Stop> {
        if self.waits_for_key() {
            let word = Word { at, text: text.to_owned() };
            if let Some(open) = self.stack.last_mut() {
                open.key = Some(word);
            }
            return Ok(());
        }
        let value = match interpolate(text, self.env) {
            Ok(filled) => {
                let written = (filled != text).then(|| text.to_owned());
                Value::Scalar(Scalar { text: filled, written, plain: style == ScalarStyle::Plain })
            }
            Err(unfilled) if unfilled.unset && self.is_connection() => Value::Unset(unfilled),
            Err(Unfilled { message, hint, .. }) => {
                self.found.add_with_hint(at, message, hint);
                Value::Broken
            }
        };
        self.put(Node { at, value }, anchor)
    }

    /// Whether the next value is that of `database.url`.
    fn is_connection(&self) -> bool {
        let path = self.stack.iter().map(|open| open.key.as_ref().map(|key| key.text.as_str()));
        path.eq([Some("database"), Some("url")])
    }

    /// Adds a complete value to the list or map that it belongs to.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        if self.waits_for_key() {
            return self.stop(node.at, "a key must be a single word");
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return self.stop(node.at, "with its aliases, this is larger than any plan can be");
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open { value: Value::Map(entries), key, .. }) => {
                if let Some(word) = key.take() {
                    insert(entries, word, node, self.found);
                }
            }
            Some(Open { value: Value::List(items), .. }) => items.push(node),
            Some(_) => {}
        }
        Ok(())
    }
}

fn insert(entries: &mut Vec<(Word, Node)>, word: Word, node: Node, found: &mut Collected) {
    match entries.iter().find(|(first, _)| first.text == word.text) {
        Some((first, _)) => {
            let hint = format!("it is first written on line {}; keep one of the two", first.at.line);
            found.add_with_hint(word.at, format!("`{}` is written twice", word.text), hint);
        }
        None => entries.push((word, node)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Node>, Option<String>) {
        let mut found = Collected::default();
        let env = |name: &str| (name == "WHO").then(|| "a: [1]".to_owned());
        let node = read(text, &env, &mut found);
        (node, found.into_problems("plan.yaml", text).map(|problems| problems.to_string()))
    }

    #[test]
    fn each_value_knows_its_place() {
        let (node, problems) = parse("a: 1\nb:\n  - x\n  - {c: y}\n  - >-\n    folded\n    text\n");
        assert_eq!(problems, None);
        let node = node.unwrap();
        let items = node.get("b").unwrap().items();
        assert_eq!(items[0].at, Position { line: 3, column: 5 });
        assert_eq!(items[2].scalar().unwrap().text, "folded text");
        assert_eq!(items[2].at, Position { line: 6, column: 5 });
    }

    #[test]
    fn the_environment_fills_values_only_and_never_adds_structure() {
        let (node, problems) = parse("x: ${WHO} # ${NOT_ME}\n${WHO}: y\nz: ${NOBODY:-d}-${WHO:-e}\n");
        assert_eq!(problems, None);
        let node = node.unwrap();
        assert_eq!(node.get("x").unwrap().scalar().unwrap().text, "a: [1]");
        assert_eq!(node.get("x").unwrap().scalar().unwrap().shown(), "${WHO}");
        assert_eq!(node.entries()[1].0.text, "${WHO}");
        assert_eq!(node.get("z").unwrap().scalar().unwrap().text, "d-a: [1]");
    }

    #[test]
    fn what_is_not_in_the_environment_is_a_problem_each() {
        let (_, problems) = parse("x: ${NOBODY}\ny: [1, '${ALSO']\nz: ${A B}\n");
        let problems = problems.unwrap();
        assert!(problems.contains(":1:4: the environment variable `NOBODY` is not set"), "{problems}");
        assert!(problems.contains("plan.yaml:2:8: `${` without a closing `}`"), "{problems}");
        assert!(problems.contains(":3:4: `${A B}` does not name an environment variable"), "{problems}");
    }

    #[test]
    fn aliases_repeat_but_cannot_explode() {
        let (node, problems) = parse("a: &x [1, 2]\nb: *x\n");
        assert_eq!(problems, None);
        assert_eq!(node.unwrap().get("b").unwrap().items().len(), 2);

        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..6 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
        }
        let (node, problems) = parse(&bomb);
        assert!(node.is_none());
        assert!(problems.unwrap().contains("larger than any plan"));
    }

    #[test]
    fn broken_documents_are_told_apart() {
        for (text, expected) in [
            ("", "the plan is empty"),
            ("# nothing\n", "the plan is empty"),
            ("a: [1\nb: 2\n", "this is not valid YAML"),
            ("a: 1\n---\nb: 2\n", "a second one begins"),
            ("a: 1\nb: 2\na: 3\n", "`a` is written twice"),
            ("? [a]\n: 1\n", "a key must be a single word"),
            ("a: !secret x\n", "tags"),
            (&format!("{}{}", "[".repeat(40), "]".repeat(40)), "nested deeper"),
        ] {
            let (_, problems) = parse(text);
            assert!(problems.as_deref().unwrap_or("").contains(expected), "{text}: {problems:?}");
        }
    }
}
