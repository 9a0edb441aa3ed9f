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

/// The role that reads the rows on both sides of a foreign key: this one, or the operator if row security is forced on either
/// table, which hides rows from the owner.
///
/// # Errors
/// If the server rejects the query, or the connection is lost.
pub async fn acting(
    client: &Client,
    table: &QName,
    key: &str,
    acting: &Acting,
) -> Result<Acting, tokio_postgres::Error> {
    let sql = "SELECT coalesce(bool_or(t.relrowsecurity AND t.relforcerowsecurity AND NOT (o.rolsuper OR o.rolbypassrls)), false) \
               FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_roles o ON o.oid = c.relowner \
               JOIN pg_class t ON t.oid IN (k.conrelid, k.confrelid) \
               WHERE k.conrelid = to_regclass($1) AND k.contype = 'f' AND k.conname = $2";
    let is_hidden: bool = client.query_one(sql, &[&table.to_string(), &key]).await?.get(0);
    Ok(if is_hidden { Acting::default() } else { acting.clone() })
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
        let reader = self::acting(client, table, row.get(0), acting).await?;
        let rows = match reader.ask(client, &format!("select count(*) as projh_orphans {select}"), &[]).await
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
