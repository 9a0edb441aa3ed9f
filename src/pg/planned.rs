//! Queries that a session plans once.
//!
//! The guard's queries have some twenty joins each, so that planning takes longer than executing; they are asked every
//! second of a soak, and under the swap's lock.

use serde_json::Value;
use tokio_postgres::{Client, Error, Row};

/// For sessions that look few rows up in large tables, by keys: a plan over many partitions takes longer to make than to
/// execute, and the server does not know how few rows it will be.
pub const LOOK_UP_BY_KEY: &str = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off; \
                                         SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan";

/// A query under a name of its own in each session that asks it.
pub(crate) struct Planned {
    /// The name of the prepared statement.
    pub(crate) name: &'static str,
    /// The types of its parameters.
    pub(crate) types: &'static str,
    /// Its text.
    pub(crate) sql: &'static str,
}

impl Planned {
    /// Its rows. `args` is a list of SQL literals, because EXECUTE takes no parameters. Not to be called twice at a time in one
    /// session.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub(crate) async fn query(&self, client: &Client, args: &str) -> Result<Vec<Row>, Error> {
        let Self { name, types, sql } = self;
        let known = "SELECT EXISTS (SELECT FROM pg_catalog.pg_prepared_statements WHERE name = $1)";
        if !client.query_one(known, &[name]).await?.get::<_, bool>(0) {
            client.batch_execute(&format!("PREPARE {name} ({types}) AS {sql}")).await?;
        }
        client.query(&format!("EXECUTE {name} ({args})"), &[]).await
    }

    /// The JSON value of its only row.
    ///
    /// # Errors
    /// As [`Planned::query`].
    pub(crate) async fn json(&self, client: &Client, args: &str) -> Result<Value, Error> {
        let rows = self.query(client, args).await?;
        rows.first().map_or(Ok(Value::Null), |row| row.try_get(0))
    }
}
