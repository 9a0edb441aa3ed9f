//! The parts of a table's definition, and the objects that depend on it.
//!
//! One file per kind, each with the same verbs: its struct is what was *found* in the catalog, and its `Part` says how
//! green gets it, how it changes hands in the swap, and how to see what has changed. `PARTS` lists them; the scripts of
//! [`crate::green`] put the statements in order.
//!
//! Invariant: this module executes catalog queries only. The statements that it makes are correct under any
//! `search_path`, because every name in them is qualified. Text from the plan (`using`, new columns, new indexes) is
//! the exception; it is the user's.

mod blockers;
mod canonical;
mod checks;
mod columns;
mod compatibility;
mod defaults_elsewhere;
mod definition;
mod encrypted;
mod fingerprint;
mod fitted;
mod foreign_keys;
mod functions;
mod grant;
mod inbound;
mod indexes;
mod key;
mod leaf_keys;
mod materialized;
mod old_shape;
pub mod orphans;
mod part;
mod partitions;
mod policies;
mod policies_elsewhere;
mod privileges;
mod publications;
mod published;
mod registry;
mod row_functions;
mod rules;
mod sequences;
mod shape;
mod statistics;
mod strangers;
mod table;
mod triggers;
pub mod unique_keys;
mod views;
mod widened;

use serde::de::DeserializeOwned;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

pub use blockers::{Around, Blocker, BlockerKind, blockers};
pub(crate) use columns::late_defaults;
pub use columns::{Column, Generated, Identity};
pub(crate) use compatibility::{Compatibility, steps as compatibility_steps};
pub(crate) use defaults_elsewhere::DefaultElsewhere;
pub(crate) use definition::PARTS;
pub use definition::{Definition, read};
pub(crate) use definition::{read_columns, read_table};
pub use encrypted::{BlindIndex, Encrypted};
pub use fingerprint::{About, Change, Fingerprint, How};
pub(crate) use inbound::InboundKey;
pub use indexes::{GreenIndex, Index};
pub use key::{KeyColumn, KeySource, NoKey, TableKey};
pub(crate) use materialized::MaterializedView;
pub use part::Conflict;
pub(crate) use part::{Compared, Dependent};
pub(crate) use policies::late_policies;
pub(crate) use privileges::{seal, seal_schema};
pub use published::{Published, published};
pub use registry::KeyRegistry;
pub use row_functions::RowFunction;
pub use sequences::Sequence;
pub(crate) use sequences::{integer_type, type_max, users_of_dropped};
pub use shape::{Green, GreenColumn, GreenPartition, Homes, Source, without_length};
pub use strangers::strangers;
pub(crate) use table::tablespace_clause;
pub use table::{ReplicaIdentity, ReplicaIdentityKind, Table};
pub(crate) use triggers::told;
pub use widened::Widened;
pub(crate) use widened::{Fate, redirect};

/// The catalog could not be read, or contains something that this module does not understand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such table, or the role may not see it.
    #[error("there is no table {0}")]
    NoTable(String),
    /// The server rejected the query, or the connection was lost.
    #[error("the catalog could not be queried for {what}: {}", crate::pg::describe(source))]
    Catalog {
        /// What was queried, as a noun: "its indexes".
        what: &'static str,
        /// The driver's error.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The answer does not have the shape that every known version returns.
    #[error("the catalog's answer about {what} is not understood")]
    Shape {
        /// What was queried, as a noun: "its indexes".
        what: &'static str,
        /// The JSON reader's error.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether a new session may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Catalog { source, .. } => crate::pg::is_transient(source),
            Self::NoTable(_) | Self::Shape { .. } => false,
        }
    }
}

/// A catalog query: its name for errors, and its SQL, which takes the table's oid and returns one JSON value.
struct Question {
    what: &'static str,
    sql: &'static str,
}

impl Question {
    async fn ask<T: DeserializeOwned>(&self, client: &Client, oid: u32) -> Result<T, Error> {
        let row = client.query_one(self.sql, &[&oid]).await.map_err(|source| self.failed(source))?;
        let answer: serde_json::Value = row.try_get(0).map_err(|source| self.failed(source))?;
        serde_json::from_value(answer).map_err(|source| Error::Shape { what: self.what, source })
    }

    fn failed(&self, source: tokio_postgres::Error) -> Error {
        Error::Catalog { what: self.what, source }
    }
}

/// Runs `reading` with `search_path = pg_catalog`, so that every name in a definition is qualified, and restores
/// the session's own path.
async fn with_bare_path<T>(
    client: &Client,
    reading: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let failed = |source| Error::Catalog { what: "the search path", source };
    let sql = "select current_setting('search_path'), set_config('search_path', 'pg_catalog', false)";
    let rows = client.query_typed(sql, &[]).await.map_err(failed)?;
    let path: Option<String> = rows.first().map(|row| row.try_get(0)).transpose().map_err(failed)?;
    // As the sessions of a run have it.
    let Some(path) = path.filter(|path| path != "pg_catalog") else { return reading.await };
    let read = reading.await;
    let restored = client.execute("select set_config('search_path', $1, false)", &[&path]).await;
    let value = read?; // in a failed transaction, the rollback restores the path
    restored.map_err(failed)?;
    Ok(value)
}

/// Looks up the table's oid.
pub(crate) async fn oid_of(client: &Client, table: &crate::pg::QName) -> Result<u32, Error> {
    let failed = |source| Error::Catalog { what: "the table's oid", source };
    let sql = "select c.oid from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
               where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')";
    let name = [&table.schema, &table.name].map(|part| part.as_str());
    let rows =
        client.query_typed(sql, &[(&name[0], Type::NAME), (&name[1], Type::NAME)]).await.map_err(failed)?;
    let row = rows.first().ok_or_else(|| Error::NoTable(table.plain()))?;
    row.try_get(0).map_err(failed)
}
