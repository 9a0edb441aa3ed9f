//! With whose rights a statement runs.
//!
//! Whatever reads or writes the rows of a table computes its expressions: constraints, domains, generated columns,
//! defaults, indexes, the plan's own. Their functions belong to the table's owner, and run with the rights of the current
//! role. Invariant: such statements run as the table's owner, for one transaction; the journal, slots and DDL are the
//! operator's, the role that the program connects as.
//!
//! This keeps functions that run with the current role's rights from getting the operator's. It is no protection
//! against a hostile owner: a function may RESET ROLE, and is the operator then. Where an owner is not trusted, execute
//! the plan as a role that is no superuser and has no rights but those that `check` asks for.

use std::fmt;

use postgres_types::ToSql;
use tokio_postgres::{Client, Row};

use super::{Ident, rolled_back};

/// Gives the rest of a transaction back to the operator. Deferred constraints are checked first, as the owner.
pub const AS_OPERATOR: &str = "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL ROLE NONE";

/// The role for the rest of a transaction; its `Display` is the SET LOCAL ROLE statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acting(Option<Ident>);

impl Acting {
    /// Acts as `role`, or as the operator if it is `None`.
    #[must_use]
    pub const fn role(role: Option<Ident>) -> Self {
        Self(role)
    }

    /// Runs a query as this role in a transaction of its own, which is rolled back. None may be open on `client`.
    ///
    /// # Errors
    /// If the server rejects the query, or the connection is lost.
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
