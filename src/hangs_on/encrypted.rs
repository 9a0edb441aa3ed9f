//! Columns whose values are encrypted on the way.

use serde::{Deserialize, Serialize};

use crate::pg::Ident;
use crate::phi::{Format, KeyId};

/// How green has the values of a column of blue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encrypted {
    /// The column of blue that it replaces.
    pub blue: Ident,
    /// The format.
    pub format: Format,
    /// The key that encrypts.
    pub key: KeyId,
    /// Format and key of blue's values, if they are encrypted, too; `None` if they are not, or have no way back.
    pub previous: Option<(Format, KeyId)>,
    /// The columns of the row's key that values of the format aes-gcm are bound to; `None` for all.
    #[serde(default)]
    pub bound_to: Option<Vec<Ident>>,
    /// The blind index and the tag that blue has of these values already, by their columns: they are copied, and compared with
    /// the values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<(Ident, BlindIndex)>,
}

/// An HMAC of the values of a column of blue: their blind index, or their tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlindIndex {
    /// The column of blue.
    pub of: Ident,
    /// Its key.
    pub key: KeyId,
    /// Of a tag, the encrypted column whose values it binds to their rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_of: Option<Ident>,
}

impl BlindIndex {
    /// In words.
    #[must_use]
    pub fn what(&self) -> &'static str {
        if self.tag_of.is_some() { "tag" } else { "blind index" }
    }
}
