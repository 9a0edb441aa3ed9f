//! The client encoding of rows that pass through a session.
//!
//! Our sessions use UTF-8 for names, statements and messages. A database in another encoding may hold bytes that have
//! no form in UTF-8, so rows that pass through a session (the stream, its changes, keys that are read again, binary
//! forms that are hashed) travel in the database's own encoding.
//!
//! Invariant: while they do, the session executes prepared statements only, and no text that holds a name.

use postgres_types::ToSql;
use tokio_postgres::{Client, Error, Row};

/// The encoding of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding(String);

/// Sets the client encoding to that of the database.
pub(crate) const AS_STORED: &str = "SELECT set_config('client_encoding', getdatabaseencoding(), false)";

impl Encoding {
    /// Reads the encoding of the database that `client` is connected to.
    ///
    /// # Errors
    /// If the query fails.
    pub async fn of(client: &Client) -> Result<Self, Error> {
        let row = client.query_one("SELECT pg_catalog.getdatabaseencoding()::text", &[]).await?;
        Ok(Self(row.get(0)))
    }

    /// From now on, rows pass through `client` in the database's encoding. A rollback undoes this too.
    ///
    /// # Errors
    /// If the server rejects the statement, or the connection is lost.
    pub async fn as_stored(&self, client: &Client) -> Result<(), Error> {
        self.set(client, AS_STORED).await
    }

    /// From now on, `client` uses UTF-8 and takes statements again.
    ///
    /// # Errors
    /// If the server rejects the statement, or the connection is lost.
    pub async fn as_utf8(&self, client: &Client) -> Result<(), Error> {
        self.set(client, "SET client_encoding = 'UTF8'").await
    }

    /// Runs a query that returns one row, in the database's encoding: some hashes are computed over the form
    /// in which values travel.
    ///
    /// # Errors
    /// If the query fails or does not return one row.
    pub async fn query_one(
        &self,
        client: &Client,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        let statement = client.prepare(sql).await?;
        self.as_stored(client).await?;
        let row = client.query_one(&statement, params).await?;
        self.as_utf8(client).await?;
        Ok(row)
    }

    async fn set(&self, client: &Client, sql: &str) -> Result<(), Error> {
        if self.0 == "UTF8" { Ok(()) } else { client.batch_execute(sql).await }
    }
}
