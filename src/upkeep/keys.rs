//! Tables of keys ("registry") of a table: they lose the keys of a partition that leaves it, in a transaction before that.
//!
//! The server sees only rows that reference the partition itself. A row that references a key is kept from coming by locks on
//! the keys, not by one on a table; once the keys have gone, the foreign keys refuse it.

use serde::Deserialize;
use tokio_postgres::Client;

use super::Work;
use super::found::refused;
use crate::error::{Doing, Error};
use crate::hangs_on;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Ident, Literal, QName};

/// A table of keys, as found in the catalog.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeyTable {
    name: QName,
    /// Named as the columns of the table.
    columns: Vec<Ident>,
    referencing: Vec<Referencing>,
}

/// A foreign key that references it.
#[derive(Clone, Debug, Deserialize)]
struct Referencing {
    child: QName,
    name: Ident,
    /// That a row `c` of the child references a row `p` of the partition.
    matches: String,
}

impl KeyTable {
    /// Those of a table.
    pub(super) async fn of(client: &Client, table: u32) -> Result<Vec<Self>, Error> {
        const SQL: &str = include_str!("../../sql/catalog/key_tables.sql");
        let row = client.query_one(SQL, &[&table]).await.doing("reading the tables of keys")?;
        let read = |source| hangs_on::Error::Shape { what: "its tables of keys", source }.into();
        serde_json::from_value(row.get(0)).map_err(read)
    }

    /// The statements of one transaction.
    fn forget(&self, partition: &QName) -> Vec<Statement> {
        let keys = &self.name;
        let same: Vec<String> =
            self.columns.iter().map(|column| format!("k.{column} = p.{column}")).collect();
        let same = same.join(" AND ");
        let lock = format!(
            "SELECT count(*) FROM (SELECT FROM {keys} k JOIN {partition} p ON {same} FOR UPDATE OF k) locked"
        );
        let mut statements =
            vec![Statement::on(keys, LockMode::RowShare, "lock the partition's keys in", lock)];
        statements.extend(self.referencing.iter().map(|of| {
            let body = format!(
                "BEGIN IF EXISTS ({}) THEN RAISE foreign_key_violation USING MESSAGE = {}; END IF; END",
                of.rows(partition),
                Literal(&of.told(partition))
            );
            let sql = format!("DO {}", Literal(&body));
            Statement::on(&of.child, LockMode::AccessShare, "look for rows that reference them in", sql)
        }));
        let delete = format!("DELETE FROM {keys} k USING {partition} p WHERE {same}");
        statements.push(Statement::on(keys, LockMode::RowExclusive, "delete them from", delete));
        statements
    }
}

impl Referencing {
    fn rows(&self, partition: &QName) -> String {
        format!("SELECT FROM {} c JOIN {partition} p ON {}", self.child, self.matches)
    }

    fn told(&self, partition: &QName) -> String {
        format!(
            "rows of {} reference rows of {}, which would leave the table (foreign key {})",
            self.child.plain(),
            partition.plain(),
            self.name.plain()
        )
    }
}

impl Work<'_> {
    /// Deletes the keys of a partition that leaves the table, in one transaction; none if the table has no table of keys.
    pub(super) fn forget_keys(&self, old: &QName) -> Vec<Statement> {
        self.found.key_tables.iter().flat_map(|keys| keys.forget(old)).collect()
    }

    /// Refuses if others reference rows of a partition that would leave.
    pub(super) async fn refuse_referenced(&self, client: &Client, old: &QName) -> Result<(), Error> {
        for of in self.found.key_tables.iter().flat_map(|keys| &keys.referencing) {
            let sql = format!("SELECT EXISTS ({})", of.rows(old));
            let row =
                client.query_one(&sql, &[]).await.doing("looking for rows that reference a partition")?;
            if row.get(0) {
                let hint = "delete or change those first, or keep more partitions";
                return Err(refused(self.found.name(), of.told(old), hint));
            }
        }
        Ok(())
    }
}
