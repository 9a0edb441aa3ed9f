//! The planner's statistics of columns that were encrypted: if the old table is kept, they have plaintext that is easy to overlook.

use tokio_postgres::Client;

use crate::hangs_on::{Column, Green, Source};
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Literal, QName};

impl Green {
    /// Blue's columns with plaintext.
    fn plain_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter_map(|column| match &column.source {
            Source::Encrypted(how) if how.previous.is_none() => self.blue.column(&how.blue),
            _ => None,
        })
    }

    /// Removes the statistics of those columns of blue, which is `table` by now: only ALTER COLUMN TYPE does so for whoever is
    /// no superuser, with the same type without a rewrite. ANALYZE gathers none where the target is 0. What cannot be altered,
    /// as a view uses it, is left; the target tells it apart.
    pub(super) fn scrub(&self, table: &QName) -> Vec<Statement> {
        let scrub = |column: &Column| {
            let (name, data_type) = (&column.name, &column.data_type);
            let collate =
                column.collation.as_ref().map_or_else(String::new, |name| format!(" COLLATE {name}"));
            let body = format!(
                "BEGIN ALTER TABLE {table} ALTER COLUMN {name} SET STATISTICS 0, \
                 ALTER COLUMN {name} TYPE {data_type}{collate}; EXCEPTION WHEN OTHERS THEN NULL; END"
            );
            let sql = format!("DO {}", Literal(&body));
            Statement::on(table, LockMode::AccessExclusive, "remove the statistics of plaintext in", sql)
        };
        self.plain_columns().map(scrub).collect()
    }

    /// The columns whose statistics [`Green::scrub`] could not remove, as `schema.table.column`.
    ///
    /// # Errors
    /// If the server rejects the query, or the connection is lost.
    pub async fn unscrubbed(
        &self,
        client: &Client,
        table: &QName,
    ) -> Result<Vec<String>, tokio_postgres::Error> {
        let names: Vec<&str> = self.plain_columns().map(|column| column.name.as_str()).collect();
        let sql = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = ANY ($2) \
                   AND attstattarget IS DISTINCT FROM 0 ORDER BY attnum";
        let rows = client.query(sql, &[&table.to_string(), &names]).await?;
        Ok(rows.iter().map(|row| format!("{}.{}", table.plain(), row.get::<_, String>(0))).collect())
    }
}
