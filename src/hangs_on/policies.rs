//! Row-level security policies.
//!
//! They are made on green while it still has blue's column names, so that the server itself
//! rewrites them when a column is renamed. A policy that reads its own table again would then
//! read blue for ever: it is made in the swap, when the name means green.

use serde::{Deserialize, Serialize};

use super::Question;
use crate::pg::{Ident, QName, list};

pub(super) const POLICIES: Question =
    Question { what: "its policies", sql: include_str!("../../sql/catalog/policies.sql") };

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: Ident,
    /// PERMISSIVE; otherwise RESTRICTIVE.
    pub permissive: bool,
    /// SELECT, INSERT, UPDATE, DELETE or ALL.
    pub command: String,
    /// For whom; `None` is PUBLIC.
    pub roles: Vec<Option<Ident>>,
    /// USING, as SQL text.
    pub using: Option<String>,
    /// WITH CHECK, as SQL text.
    pub check: Option<String>,
    /// The table's columns that it reads.
    pub columns: Vec<Ident>,
    /// COMMENT ON POLICY.
    pub comment: Option<String>,
}

impl Policy {
    /// CREATE POLICY, and its comment.
    pub(super) fn create(&self, table: &QName) -> Vec<String> {
        let roles = list(self.roles.iter().map(|role| match role {
            Some(role) => role.to_string(),
            None => "PUBLIC".to_owned(),
        }));
        let using = self.using.as_ref().map(|sql| format!(" USING ({sql})")).unwrap_or_default();
        let check = self.check.as_ref().map(|sql| format!(" WITH CHECK ({sql})")).unwrap_or_default();
        let kind = if self.permissive { "PERMISSIVE" } else { "RESTRICTIVE" };
        let create = format!(
            "CREATE POLICY {} ON {table} AS {kind} FOR {} TO {roles}{using}{check}",
            self.name, self.command
        );
        let what = format!("POLICY {} ON {table}", self.name);
        std::iter::once(create).chain(super::table::comment_on(&what, self.comment.as_ref())).collect()
    }

    /// Whether its text names its own table. A name inside a string literal counts too: such a
    /// policy is made in the swap, which is right for every policy.
    pub(super) fn reads(&self, table: &QName) -> bool {
        let name = table.plain();
        let quoted = table.to_string();
        self.using.iter().chain(&self.check).any(|sql| sql.contains(&name) || sql.contains(&quoted))
    }
}
