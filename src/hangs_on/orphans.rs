//! Rows that a foreign key should not let be: a restore with its triggers disabled leaves them under a key that is
//! called valid. Green's own key can then not become valid.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::pg::{Acting, QName};

const SQL: &str = include_str!("../../sql/catalog/orphans.sql");

/// What was found below one foreign key.
pub struct Orphans {
    /// The key.
    pub key: String,
    /// The table that it points at.
    pub references: String,
    /// From FOREIGN KEY on, without NOT VALID.
    pub definition: String,
    /// From FROM on; the referencing table is called `fk` there.
    pub select: String,
    /// How many rows; none where the table's owner may not read the other table.
    pub rows: Option<i64>,
}

/// Counts the rows that point at no row: below the key of that name, or below each one that is valid.
///
/// # Errors
/// If the server rejects the question for another reason than a missing right.
pub async fn count(
    client: &Client,
    table: &QName,
    acting: &Acting,
    key: Option<&str>,
) -> Result<Vec<Orphans>, tokio_postgres::Error> {
    let mut found = Vec::new();
    for row in client.query(SQL, &[&table.to_string(), &key]).await? {
        let select: String = row.get(3);
        let rows = match acting.ask(client, &format!("select count(*) as projh_orphans {select}"), &[]).await
        {
            Ok(rows) => rows.first().map(|row| row.get(0)),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => None,
            Err(error) => return Err(error),
        };
        let (key, references, definition) = (row.get(0), row.get(1), row.get(2));
        found.push(Orphans { key, references, definition, select, rows });
    }
    Ok(found)
}
