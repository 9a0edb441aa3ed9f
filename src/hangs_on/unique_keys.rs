//! What the unique indexes of a table say is unique, and queries for duplicates that an index does not know of: one
//! that has lost entries lets them in.

use tokio_postgres::Client;

use crate::pg::{Ident, QName, list};

const UNIQUE_KEYS: &str = include_str!("../../sql/catalog/unique_keys.sql");
/// Reads rows without indexes, so that none hides what it has lost.
pub const WITHOUT_INDEXES: &str = "set local enable_indexscan = off; set local enable_indexonlyscan = off; set local enable_bitmapscan = off";

/// A unique index of a table, as the condition that it enforces.
pub struct UniqueKey {
    /// The table's name.
    pub table: QName,
    /// The index's name.
    pub index: Ident,
    /// The key, as SQL over the table's columns.
    keys: String,
    /// A WHERE clause for the rows that the index compares; empty for all rows.
    rows: String,
}

impl UniqueKey {
    /// The unique indexes of a table.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn of(client: &Client, table: &QName) -> Result<Vec<Self>, tokio_postgres::Error> {
        let rows = client.query(UNIQUE_KEYS, &[&table.to_string()]).await?;
        let key = |row: &tokio_postgres::Row| {
            let keys = list(row.get::<_, Vec<String>>("keys"));
            let mut conditions: Vec<String> = row.get::<_, Option<String>>("predicate").into_iter().collect();
            if !row.get::<_, bool>("nulls_are_keys") {
                conditions.push(format!("num_nulls({keys}) = 0"));
            }
            let rows = if conditions.is_empty() {
                String::new()
            } else {
                format!(" where {}", conditions.join(" and "))
            };
            Self { table: table.clone(), index: Ident(row.get("name")), keys, rows }
        };
        Ok(rows.iter().map(key).collect())
    }

    /// The query that counts the keys of several rows.
    #[must_use]
    pub fn count_twins(&self) -> String {
        format!("select count(*) from (select {}) as projh_twins", self.grouped(&self.table.to_string()))
    }

    /// The query that finds the rows of such keys.
    #[must_use]
    pub fn find_twins(&self) -> String {
        format!("select {}, array_agg(ctid) {}", self.keys, self.grouped(&self.table.plain()))
    }

    /// What to type if several rows have the same key.
    #[must_use]
    pub fn hint(&self) -> String {
        let index = QName::new(self.table.schema.clone(), self.index.clone());
        format!(
            "find the rows: begin; {WITHOUT_INDEXES}; {}; commit; delete the wrong ones by their ctid; \
             then: reindex index {}",
            self.find_twins(),
            index.plain()
        )
    }

    fn grouped(&self, table: &str) -> String {
        format!("from {table}{} group by {} having count(*) > 1", self.rows, self.keys)
    }
}
