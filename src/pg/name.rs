//! PostgreSQL's names, and the only way that they get into SQL text: quoted.
//!
//! Invariant: whatever bytes a name holds, its `Display` is one identifier (or one
//! qualified name) to the server's parser. Values never come this way; they are bound.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest identifier in bytes that PostgreSQL keeps (`NAMEDATALEN - 1`).
pub const MAX_BYTES: usize = 63;

/// One identifier: a column, a role, an index within its table's schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ident(pub String);

impl Ident {
    /// The bare text, for catalog look-ups by value and for display.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For display: quoted only if it has to be.
    #[must_use]
    pub fn plain(&self) -> String {
        let text = self.as_str();
        let is_plain = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '$');
        if is_plain { text.to_owned() } else { self.to_string() }
    }

    /// As a plan has it: YAML takes its own quotes away, and SQL's have to be left.
    #[must_use]
    pub fn in_plan(&self) -> String {
        let plain = self.plain();
        if plain.starts_with('"') { format!("'{}'", plain.replace('\'', "''")) } else { plain }
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

/// The schema-qualified name of a relation, type or sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QName {
    /// The schema that it is in.
    pub schema: Ident,
    /// The name within the schema.
    pub name: Ident,
}

impl QName {
    /// A qualified name from its two parts, unquoted.
    pub fn new(schema: impl Into<Ident>, name: impl Into<Ident>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// The same name in another schema.
    #[must_use]
    pub fn in_schema(&self, schema: &Ident) -> Self {
        Self { schema: schema.clone(), name: self.name.clone() }
    }

    /// For display: `public.appointments`, quoted only if it has to be.
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

/// A string literal, for statements that take no parameters (DDL).
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&postgres_protocol::escape::escape_literal(self.0))
    }
}

/// The first `most` of some texts, and how many more there are.
#[must_use]
pub fn some(texts: &[String], most: usize, between: &str) -> String {
    let told = texts.iter().take(most).cloned().collect::<Vec<_>>().join(between);
    match texts.len().saturating_sub(most) {
        0 => told,
        more => format!("{told}{between}and {more} more"),
    }
}

/// A comma-separated list for SQL: `"a", "b", "c"`.
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
    fn a_plan_needs_the_quotes_of_sql_within_those_of_yaml() {
        let written = ["status", "Id", "it's"].map(|name| Ident::from(name).in_plan());
        assert_eq!(written, ["status", "'\"Id\"'", "'\"it''s\"'"]);
    }

    #[test]
    fn people_see_quotes_only_where_they_are_needed() {
        assert_eq!(QName::new("public", "Termine").plain(), "public.\"Termine\"");
        assert_eq!(QName::new("public", "appointments").plain(), "public.appointments");
    }
}
