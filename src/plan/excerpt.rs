//! Parts of a plan, changed and written as YAML again: with the variables of the environment as they are in the plan, and
//! without its comments.

use std::fmt::{Display, Formatter, Result as Written};
use std::path::Path;

use super::problem::{Collected, Problems};
use super::yaml::{self, Node, Scalar, Value, Word};

/// A key of a plan's first level, with its value.
pub(crate) struct Section {
    key: String,
    node: Node,
}

impl Section {
    /// Those of these keys that the plan in the file at `path` has, in the given order.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(crate) fn load(path: &Path, keys: &[&str]) -> Result<Vec<Self>, Problems> {
        let (_, text) = super::file::read(path)?;
        Ok(Self::of(&text, keys))
    }

    /// The same of a plan's text.
    pub(crate) fn of(text: &str, keys: &[&str]) -> Vec<Self> {
        // A scalar keeps its text if it has a variable: whatever the value is, it is not written.
        let Some(root) = yaml::read(text, &|_| Some(String::new()), &mut Collected::default()) else {
            return Vec::new();
        };
        let of = |key: &&str| root.get(key).map(|node| Self { key: (*key).to_owned(), node: node.clone() });
        keys.iter().filter_map(of).collect()
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Gives a key of the section another value.
    pub(crate) fn set(&mut self, key: &str, text: &str) {
        self.replace(key, |_| quoted(text));
    }

    /// Puts these before the others in a list of the section, or makes one.
    pub(crate) fn put_first(&mut self, key: &str, items: &[impl Display]) {
        let at = self.node.at;
        self.replace(key, |before| {
            let more = items.iter().map(|item| Node { at, value: quoted(&item.to_string()) });
            Value::List(more.chain(before.items().iter().cloned()).collect())
        });
    }

    fn replace(&mut self, key: &str, by: impl FnOnce(&Node) -> Value) {
        let at = self.node.at;
        let Value::Map(entries) = &mut self.node.value else { return };
        match entries.iter_mut().find(|(word, _)| word.text == key) {
            Some((_, node)) => node.value = by(node),
            None => {
                let value = by(&Node { at, value: Value::Broken });
                entries.push((Word { at, text: key.to_owned() }, Node { at, value }));
            }
        }
    }
}

fn quoted(text: &str) -> Value {
    Value::Scalar(Scalar { text: text.to_owned(), written: None, plain: false })
}

impl Display for Section {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        write!(f, "{}:", self.key)?;
        write_value(f, &self.node.value, 2)
    }
}

/// Writes what follows a colon, to the end of its last line.
fn write_value(f: &mut impl std::fmt::Write, value: &Value, indent: usize) -> Written {
    match value {
        Value::Scalar(scalar) => writeln!(f, " {}", Text(scalar)),
        Value::Map(entries) if entries.is_empty() => writeln!(f, " {{}}"),
        Value::List(items) if items.is_empty() => writeln!(f, " []"),
        Value::Map(entries) => {
            writeln!(f)?;
            for (word, node) in entries {
                write!(f, "{:indent$}{}:", "", word.text)?;
                write_value(f, &node.value, indent + 2)?;
            }
            Ok(())
        }
        Value::List(items) => {
            writeln!(f)?;
            for item in items {
                let mut written = String::new();
                write_value(&mut written, &item.value, indent + 2)?;
                write!(f, "{:indent$}- {}", "", written.trim_start())?;
            }
            Ok(())
        }
        Value::Broken | Value::Unset(_) => writeln!(f),
    }
}

/// A scalar as the plan has it: what is not in quotes there needs none here, unless it has several lines.
struct Text<'a>(&'a Scalar);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        let text = self.0.written.as_ref().unwrap_or(&self.0.text);
        match text.as_str() {
            "" if self.0.plain => f.write_str("null"),
            text if self.0.plain && !text.contains('\n') => f.write_str(text),
            // YAML reads a string of JSON.
            text => f.write_str(&serde_json::to_string(text).map_err(|_| std::fmt::Error)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let text = r##"{version: 1, settings: {soak: "1d", workers: 3}, database: {url: '${URL}'},
            hooks: [[notify, "a b: #c", '']], gates: [{name: ok, sql: "select 1\n where 'x'"}], tables: []}"##;
        let written: String = Section::of(text, &["database", "settings", "nothing", "gates", "hooks"])
            .iter()
            .map(Section::to_string)
            .collect();
        insta::assert_snapshot!(written, @r#"
        database:
          url: "${URL}"
        settings:
          soak: "1d"
          workers: 3
        gates:
          - name: ok
            sql: "select 1\n where 'x'"
        hooks:
          - - notify
            - "a b: #c"
            - ""
        "#);
        let again: String = Section::of(&written, &["database", "settings", "gates", "hooks"])
            .iter()
            .map(Section::to_string)
            .collect();
        assert_eq!(written, again);
    }
}
