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
    /// Who has granted them, if that is not the owner: a REVOKE ... CASCADE from that role takes them away, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantor: Option<Ident>,
}

impl Grant {
    fn to(&self) -> String {
        let option = if self.grantable { " WITH GRANT OPTION" } else { "" };
        format!("{}{option}", role(self.grantee.as_ref()))
    }

    /// GRANT on a table or a sequence: `on` is `TABLE "a"."b"` or `SEQUENCE "a"."b"`.
    pub(crate) fn statement(&self, on: &str) -> Statement {
        self.granting(&self.privileges.join(", "), on)
    }

    fn granting(&self, privileges: &str, on: &str) -> Statement {
        let sql = format!("GRANT {privileges} ON {on} TO {}", self.to());
        Statement::new(
            "grant",
            match &self.grantor {
                Some(role) => format!("SET LOCAL ROLE {role}; {sql}; SET LOCAL ROLE NONE"),
                None => sql,
            },
        )
    }

    /// Lets whoever has granted these use a schema of the run, until that is closed; the owner needs not be let in.
    pub(super) fn admit<'a>(grants: impl IntoIterator<Item = &'a Self>, home: &Ident) -> Vec<Statement> {
        let mut roles: Vec<&Ident> = grants.into_iter().filter_map(|grant| grant.grantor.as_ref()).collect();
        roles.sort();
        roles.dedup();
        let admit = |role: &Ident| Statement::new("grant", format!("GRANT USAGE ON SCHEMA {home} TO {role}"));
        roles.into_iter().map(admit).collect()
    }

    /// The same privileges, granted by the owner.
    pub(super) fn by_owner(&self) -> Self {
        Self { grantor: None, ..self.clone() }
    }

    /// GRANT on one column of a table.
    pub(super) fn column_statement(&self, table: &QName, column: &Ident) -> Statement {
        let privileges = list(self.privileges.iter().map(|privilege| format!("{privilege} ({column})")));
        self.granting(&privileges, &format!("TABLE {table}"))
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
