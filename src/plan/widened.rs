//! What becomes of a key that the new primary key widens: of its uniqueness, and of the foreign keys that reference it.

use serde::{Deserialize, Serialize};

use super::problem::Collected;
use super::yaml::Node;

/// What becomes of foreign keys that reference columns on which the plan leaves no unique key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundForeignKeys {
    /// The plan is refused because of them.
    #[default]
    Refuse,
    /// They are dropped in the swap, and come back in a rollback.
    Drop,
    /// They reference a table of the keys instead, which triggers maintain.
    Registry,
    /// They get the columns by which the key was widened.
    Composite,
}

/// Whether the old primary key stays unique where the new one is wider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Uniqueness {
    /// A table of the keys keeps it unique across partitions.
    Registry,
    /// It does not.
    None,
}

/// Reads both keys of a table, whose words have been checked.
pub(super) fn read(node: &Node, found: &mut Collected) -> (Option<InboundForeignKeys>, Option<Uniqueness>) {
    let word = |key: &str| node.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone());
    let inbound = word("inbound_foreign_keys").and_then(|text| match text.as_str() {
        "refuse" => Some(InboundForeignKeys::Refuse),
        "drop" => Some(InboundForeignKeys::Drop),
        "registry" => Some(InboundForeignKeys::Registry),
        "composite" => Some(InboundForeignKeys::Composite),
        _ => None,
    });
    let uniqueness = word("uniqueness").and_then(|text| match text.as_str() {
        "registry" => Some(Uniqueness::Registry),
        "none" => Some(Uniqueness::None),
        _ => None,
    });
    if let (Some(InboundForeignKeys::Registry), Some(Uniqueness::None), Some(at)) =
        (inbound, uniqueness, node.get("uniqueness").map(|node| node.at))
    {
        found.add_with_hint(
            at,
            "`uniqueness: none` contradicts `inbound_foreign_keys: registry`".to_owned(),
            "foreign keys reference a key that is unique: leave `uniqueness` out".to_owned(),
        );
    }
    (inbound, uniqueness)
}
