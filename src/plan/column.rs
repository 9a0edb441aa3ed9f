//! `columns` and `add_columns`: what differs between blue's columns and green's.
//!
//! Invariant: no two columns of green that the plan mentions have the same name, and each change either can be reversed
//! or says that it cannot.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::pg::Ident;

use super::problem::{Collected, Position};

use super::yaml::{Node, Word};
use super::{AddColumn, phi, sql};
use crate::phi::{Format, KeyId, KeysPlan};

/// The change of a column of blue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnChange {
    /// Green does not have it.
    Drop,
    /// Another name, another type, or both.
    Change {
        /// Green's name for it; `None` keeps blue's.
        rename: Option<Ident>,
        /// Green's type, as SQL text; `None` keeps blue's.
        data_type: Option<String>,
        /// SQL over blue's columns that gives green's value; `None` casts.
        using: Option<String>,
        /// SQL over green's columns that gives blue's value back; `None` casts.
        back: Option<String>,
        /// The plan accepts that rolling back after the swap loses this column's new values.
        one_way: bool,
        /// Green's default, as SQL text; `None` converts blue's by `using`, or by the cast.
        #[serde(skip_serializing_if = "Option::is_none")]
        default: Option<String>,
    },
    /// Encrypted on the way.
    Encrypt {
        /// Green's name for it; `None` keeps blue's.
        into: Option<Ident>,
        /// How.
        format: Format,
        /// The key that encrypts.
        key: KeyId,
        /// Format and key that blue's values are encrypted with, and on the way back are again.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<(Format, KeyId)>,
        /// The columns of the row's key that values of the format aes-gcm are bound to; `None` for all.
        #[serde(skip_serializing_if = "Option::is_none")]
        bound_to: Option<Vec<Ident>>,
        /// The name of the column with the blind index, if there is one.
        blind_index: Option<Ident>,
        /// The blind index's key.
        index_key: Option<KeyId>,
        /// The name of the column with the tag, if there is one, and the tag's key.
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<(Ident, KeyId)>,
        /// As for other changes: for values that are encrypted already, without `previous`.
        one_way: bool,
    },
}

impl ColumnChange {
    /// The names that green has for what becomes of a column of blue.
    fn green_names<'a>(&'a self, blue: &'a Ident) -> impl Iterator<Item = &'a Ident> {
        let names = match self {
            Self::Drop => [None; 3],
            Self::Change { rename, .. } => [Some(rename.as_ref().unwrap_or(blue)), None, None],
            Self::Encrypt { into, blind_index, tag, .. } => {
                let tag = tag.as_ref().map(|(name, _)| name);
                [Some(into.as_ref().unwrap_or(blue)), blind_index.as_ref(), tag]
            }
        };
        names.into_iter().flatten()
    }
}

/// A table's columns, as far as the plan mentions them.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// The changes of blue's columns, by blue's name.
    pub(super) changed: BTreeMap<Ident, ColumnChange>,
    /// The columns that only green has.
    pub(super) added: Vec<AddColumn>,
}

impl Columns {
    /// Reports `name` if green has no column of this name.
    pub(super) fn require(&self, name: &Ident, at: Position, found: &mut Collected) {
        let is_green = self.green_names().any(|green| green == name);
        match self.changed.get(name).filter(|_| !is_green) {
            Some(ColumnChange::Drop) => {
                found.add(at, format!("`{}` is a column that this plan drops", name.as_str()));
            }
            Some(
                ColumnChange::Change { rename: Some(new), .. }
                | ColumnChange::Encrypt { into: Some(new), .. },
            ) => {
                let hint = format!("the new table calls it `{}`", new.as_str());
                found.add_with_hint(at, format!("`{}` is renamed by this plan", name.as_str()), hint);
            }
            _ => {}
        }
    }

    /// The names that the plan gives to green's columns.
    fn green_names(&self) -> impl Iterator<Item = &Ident> {
        let changed = self.changed.iter().flat_map(|(blue, change)| change.green_names(blue));
        changed.chain(self.added.iter().map(|column| &column.name))
    }
}

/// Reads `columns` and `add_columns` of a table whose shape has been checked.
pub(super) fn read(table: &Node, keys: Option<&KeysPlan>, found: &mut Collected) -> Columns {
    let mut columns = Columns::default();
    for (word, node) in table.get("columns").map_or(&[][..], Node::entries) {
        let Some(blue) = blue_name(word, found) else { continue };
        let change = match node.get("encrypt") {
            Some(_) => phi::encrypt(node, &blue, keys, found),
            None => change(node, &blue, found),
        };
        let Some(change) = change else { continue };
        let mut own = Vec::new();
        for green in change.green_names(&blue) {
            match own.contains(&green) {
                true => found.add(word.at, of_one_name(green)),
                false => refuse_same_name(&columns, green, word.at, found),
            }
            own.push(green);
        }
        if columns.changed.insert(blue, change).is_some() {
            found.add(word.at, format!("`{}` is in `columns` twice", word.text));
        }
    }
    for item in table.get("add_columns").map_or(&[][..], Node::items) {
        let Some((name, definition)) = sql::take(item, "add_columns", sql::column, found) else { continue };
        refuse_same_name(&columns, &name, item.at, found);
        columns.added.push(AddColumn { name, definition });
    }
    columns
}

fn refuse_same_name(columns: &Columns, name: &Ident, at: Position, found: &mut Collected) {
    if columns.green_names().any(|other| other == name) {
        found.add(at, of_one_name(name));
    }
}

fn of_one_name(name: &Ident) -> String {
    format!("two columns of the new table would be called `{}`", name.as_str())
}

fn blue_name(word: &Word, found: &mut Collected) -> Option<Ident> {
    match sql::ident(&word.text) {
        Ok(name) => Some(name),
        Err(problem) => {
            found.add_with_hint(word.at, format!("`{}`: {}", word.text, problem.message), problem.hint);
            None
        }
    }
}

fn change(node: &Node, blue: &Ident, found: &mut Collected) -> Option<ColumnChange> {
    if node.scalar().is_some() {
        return Some(ColumnChange::Drop); // `drop` is the only word that the shape accepts
    }
    if node.is_null() {
        return None;
    }
    let mut sql_of = |key: &str| node.get(key).and_then(|value| sql::take(value, key, sql::fragment, found));
    let (data_type, using, back) = (sql_of("type"), sql_of("using"), sql_of("back"));
    let default = sql_of("default");
    let rename = node.get("rename").and_then(|value| sql::take(value, "rename", sql::ident, found));
    let one_way = node.get("one_way").and_then(|v| v.scalar()?.as_bool()).unwrap_or(false);
    check_way_back(node, one_way, found);
    if let Some(value) = node.get("rename").filter(|_| rename.as_ref() == Some(blue)) {
        found.add(value.at, format!("`{}` already has this name", blue.as_str()));
    }
    Some(ColumnChange::Change { rename, data_type, using, back, one_way, default })
}

fn check_way_back(node: &Node, one_way: bool, found: &mut Collected) {
    let has = |key: &str| node.get(key).is_some();
    if !has("rename") && !has("type") && !has("using") {
        let hint = "write `drop`, or `{rename: ...}`, `{type: ...}`, `{using: ..., back: ...}`".to_owned();
        found.add_with_hint(node.at, "no change is given for this column", hint);
    } else if has("back") && !has("type") && !has("using") {
        found.add(node.at, "`back` has nothing to undo: there is no `type` and no `using`");
    }
    if has("default") && !has("type") && !has("using") {
        found.add(node.at, "`default` goes with a new `type` or `using`, and there is neither");
    }
    if has("back") && one_way {
        found.add_with_hint(
            node.at,
            "`one_way: true` says there is no way back, and `back` gives one",
            "keep one of the two".to_owned(),
        );
    } else if has("using") && !has("back") && !one_way {
        found.add_with_hint(
            node.at,
            "`using` has no way back",
            "give `back: <SQL over the new columns>`, or accept with `one_way: true` that a rollback after \
             the swap loses this column's new values"
                .to_owned(),
        );
    }
}
