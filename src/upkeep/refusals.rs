//! What is refused before anything is changed.

use tokio_postgres::Client;

use super::Work;
use super::found::{Found, Partition, refused};
use crate::error::{Doing, Error};
use crate::pg::QName;
use crate::plan::Then;
use crate::plan::partition::Leaf;

const DOING: &str = "looking for what is in the way";

impl Work<'_> {
    /// What depends on a partition that would be replaced or dropped.
    pub(super) async fn refuse_dependents(&self, client: &Client) -> Result<(), Error> {
        if let Some(default) = self.found.default().filter(|_| !self.missing.is_empty() && !self.is_direct())
        {
            self.refuse_default(client, default).await?;
        }
        let dropped = self.old.iter().filter(|_| self.then == Then::Drop);
        for old in dropped {
            if let Some(dependent) = old.dependents.first() {
                let what = format!("{dependent} depends on {}, which would be dropped", old.name.plain());
                return Err(refused(self.found.name(), what, "drop it first"));
            }
        }
        for old in &self.old {
            self.refuse_referenced(client, &old.name).await?;
        }
        Ok(())
    }

    /// The default partition is replaced by another table: what depends on it, or knows its rows, would be lost.
    async fn refuse_default(&self, client: &Client, default: &Partition) -> Result<(), Error> {
        let (table, name) = (self.found.name(), default.name.plain());
        let rows = "its rows cannot be moved without blocking clients";
        if let Some(dependent) = default.dependents.first() {
            let what =
                format!("{dependent} depends on default partition {name}, which would be replaced: {rows}");
            return Err(refused(table, what, "drop it, and create it again afterwards"));
        }
        if !default.own.is_empty() {
            let own = default.own.join(", ");
            let what = format!(
                "default partition {name} would be replaced, and has what its parent has not: {own}; {rows}"
            );
            return Err(refused(
                table,
                what,
                "drop that, and create it again afterwards; or give it to the table itself",
            ));
        }
        if !default.leaf {
            return Err(refused(
                table,
                format!("default partition {name} is no ordinary table: {rows}"),
                "move its rows by hand",
            ));
        }
        let sql = "SELECT (SELECT min(pubname::text) FROM pg_publication WHERE puballtables), \
                   current_setting('server_version_num')::int < 150000 AND EXISTS (SELECT FROM pg_publication_rel \
                   WHERE prrelid = to_regclass($1))";
        let row = client.query_one(sql, &[&table.to_string()]).await.doing(DOING)?;
        if let Some(publication) = row.get::<_, Option<String>>(0) {
            let what = format!(
                "publication {publication} is FOR ALL TABLES: its subscribers would stop at the tables that are built: {rows}"
            );
            return Err(refused(table, what, "replace it by one that lists its tables"));
        }
        if row.get(1) {
            let what = format!(
                "before version 15 a publication misses rows of a partition that is attached with rows: {rows}"
            );
            return Err(refused(table, what, "wait until nobody follows the table"));
        }
        Ok(())
    }
}

/// Names of new partitions that something else has.
pub(super) async fn refuse_taken(
    client: &Client,
    found: &Found<'_>,
    missing: &[(Leaf, u64)],
) -> Result<(), Error> {
    let schema = found.by.schema.as_ref().unwrap_or(&found.name().schema);
    for (leaf, _) in missing {
        let name = QName { schema: schema.clone(), name: leaf.name.clone() };
        let sql = "SELECT to_regclass($1) IS NOT NULL OR to_regtype($1) IS NOT NULL";
        let row = client.query_one(sql, &[&name.to_string()]).await.doing("looking for names")?;
        if row.get(0) {
            let what = format!("{} already exists, and is not a partition with this range", name.plain());
            let hint = format!("drop, rename or attach it: {}", leaf.bound);
            return Err(refused(found.name(), what, hint));
        }
    }
    Ok(())
}
