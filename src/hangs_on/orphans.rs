//! Rows that violate a foreign key: a restore with triggers disabled leaves them under a key that is marked valid.
//! Green's own key could then not be validated.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::pg::{Acting, QName};

const SQL: &str = include_str!("../../sql/catalog/orphans.sql");

/// The orphans of one foreign key.
pub struct Orphans {
    /// The foreign key's name.
    pub key: String,
    /// The referenced table.
    pub references: String,
    /// The definition from FOREIGN KEY on, without NOT VALID.
    pub definition: String,
    /// The query for the rows, from FROM on; the referencing table has the alias `fk`.
    pub select: String,
    /// The number of rows; `None` if the table's owner may not read the referenced table.
    pub rows: Option<i64>,
}

/// Counts the rows that reference no row: for the key of that name, or for each valid key.
///
/// # Errors
/// If the server rejects the query for another reason than a missing privilege.
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
