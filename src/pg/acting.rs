//! With whose rights a statement runs.
//!
//! Whatever reads or writes the rows of a table computes its expressions: constraints, domains, generated columns,
//! defaults, indexes, the plan's own. Their functions belong to the table's owner, and run with the rights of the current
//! role. Invariant: such statements run as the table's owner, for one transaction; the journal, slots and DDL are the
//! operator's, the role that the program connects as.
//!
//! This keeps functions that act with the current role's rights from having the operator's. It is no wall against a hostile
//! owner: a function may RESET ROLE, and is the operator then. Who does not trust an owner executes the plan as a role
//! that is no superuser and has no rights but those that `check` asks for.

use std::fmt;

use postgres_types::ToSql;
use tokio_postgres::{Client, Row};

use super::{Ident, rolled_back};

/// Gives the rest of a transaction back to the operator; what was deferred to its end is done before, as the owner.
pub const AS_OPERATOR: &str = "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE";

/// The role that the rest of a transaction acts as; its `Display` is the statement that says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting(Option<Ident>);

impl Acting {
    /// As this role; as the operator where there is none.
    #[must_use]
    pub const fn role(role: Option<Ident>) -> Self {
        Self(role)
    }

    /// Asks in a transaction of its own, which is rolled back. None may be open on `client`.
    ///
    /// # Errors
    /// If the server rejects the question.
    pub async fn ask(
        &self,
        client: &Client,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        rolled_back(client, &format!("BEGIN; {self}"), client.query(sql, params)).await.flatten()
    }
}

impl fmt::Display for Acting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(role) => write!(f, "SET LOCAL ROLE {role}"),
            None => f.write_str("SET LOCAL ROLE NONE"),
        }
    }
}
