//! The encoding that texts travel in between a session and the server.
//!
//! A session of ours speaks UTF-8, and so do names, statements and messages. But a database whose encoding is another
//! one may hold bytes that have no form in UTF-8. So rows on their way through a session (the stream, its changes,
//! keys that are read again, binary forms that are hashed) travel as the database stores them.
//!
//! Invariant: while they do, the session carries out prepared statements and no text with a name in it.

use postgres_types::ToSql;
use tokio_postgres::{Client, Error, Row};

/// The encoding of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding(String);

/// Lets texts travel as the database stores them, whatever that is.
pub(crate) const AS_STORED: &str = "SELECT set_config('client_encoding', getdatabaseencoding(), false)";

impl Encoding {
    /// That of the database that `client` is connected to.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub async fn of(client: &Client) -> Result<Self, Error> {
        let row = client.query_one("SELECT pg_catalog.getdatabaseencoding()::text", &[]).await?;
        Ok(Self(row.get(0)))
    }

    /// From now on, rows travel through `client` as they are stored. In a transaction that is rolled back, this is too.
    ///
    /// # Errors
    /// If the server rejects it.
    pub async fn as_stored(&self, client: &Client) -> Result<(), Error> {
        self.set(client, AS_STORED).await
    }

    /// From now on, `client` takes statements again.
    ///
    /// # Errors
    /// If the server rejects it.
    pub async fn as_utf8(&self, client: &Client) -> Result<(), Error> {
        self.set(client, "SET client_encoding = 'UTF8'").await
    }

    /// The one row that a statement gives, which reads values as they are stored: some hashes are of the form in which
    /// values travel.
    ///
    /// # Errors
    /// If the server rejects it, or there is not one row.
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
