//! Privileges of one grantee on one object.

use serde::{Deserialize, Serialize};

use crate::pg::sql::Statement;
use crate::pg::{Ident, QName, list};

/// Privileges of one grantee, all with or all without the grant option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// The grantee; `None` is PUBLIC.
    pub grantee: Option<Ident>,
    /// Whether they come WITH GRANT OPTION.
    pub grantable: bool,
    /// SELECT, INSERT and so on.
    pub privileges: Vec<String>,
}

impl Grant {
    fn to(&self) -> String {
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("{}{option}", role(self.grantee.as_ref()))
    }

    /// GRANT on a table or a sequence: `on` is `TABLE "a"."b"` or `SEQUENCE "a"."b"`.
    pub(crate) fn statement(&self, on: &str) -> Statement {
        Statement::new("grant", format!("GRANT {} ON {on} TO {}", self.privileges.join(", "), self.to()))
    }

    /// GRANT on one column of a table.
    pub(super) fn column_statement(&self, table: &QName, column: &Ident) -> Statement {
        let privileges = list(self.privileges.iter().map(|privilege| format!("{privilege} ({column})")));
        Statement::new("grant", format!("GRANT {privileges} ON TABLE {table} TO {}", self.to()))
    }
}

/// The same grants, sorted, so that they can be compared.
pub(super) fn sorted(grants: &[Grant]) -> Vec<Grant> {
    let mut grants = grants.to_vec();
    for grant in &mut grants {
        grant.privileges.sort();
    }
    grants.sort();
    grants
}

pub(super) fn role(name: Option<&Ident>) -> String {
    name.map_or_else(|| "PUBLIC".to_owned(), ToString::to_string)
}
