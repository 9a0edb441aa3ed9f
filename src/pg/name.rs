//! Names as PostgreSQL has them, and the only way they get into SQL text: quoted.
//!
//! Invariant: whatever bytes a name holds, its `Display` is one identifier (or one
//! qualified name) to the server's parser. Values never come this way; they are bound.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier in bytes that PostgreSQL keeps (`NAMEDATALEN - 1`).
pub const MAX_BYTES: usize = 63;

/// One identifier: a column, a role, an index inside its table's schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ident(pub String);

impl Ident {
    /// The bare text, for catalog look-ups by value and for people.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For people: quoted only where it must be.
    #[must_use]
    pub fn plain(&self) -> String {
        let text = self.as_str();
        let is_plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
        if is_plain { text.to_owned() } else { self.to_string() }
    }
}

impl From<&str> for Ident {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Ident {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A relation's (or type's, or sequence's) name with its schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QName {
    /// The schema's name.
    pub schema: Ident,
    /// The relation's own name.
    pub name: Ident,
}

impl QName {
    /// A name from its two parts, unquoted.
    pub fn new(schema: impl Into<Ident>, name: impl Into<Ident>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The same name in another schema.
    #[must_use]
    pub fn in_schema(&self, schema: &Ident) -> Self {
        Self { schema: schema.clone(), name: self.name.clone() }
    }

    /// For people: `public.appointments`, quoted only where it must be.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("{}.{}", self.schema.plain(), self.name.plain())
    }
}

impl fmt::Display for QName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A string literal. For the few places of SQL where no parameter can be bound (DDL).
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&postgres_protocol::escape::escape_literal(self.0))
    }
}

/// `"a", "b", "c"`: a list for SQL.
pub fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_cannot_end_it() {
        let name = QName::new("pub\"lic", "a; drop table x");
        assert_eq!(name.to_string(), "\"pub\"\"lic\".\"a; drop table x\"");
    }

    #[test]
    fn people_see_quotes_only_where_they_are_needed() {
        assert_eq!(QName::new("public", "Termine").plain(), "public.\"Termine\"");
        assert_eq!(QName::new("public", "appointments").plain(), "public.appointments");
    }
}
