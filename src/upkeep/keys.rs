//! Tables of keys ("registry") of a table: they lose the keys of a partition in the transaction that detaches it.
//!
//! What takes long in it is done before it locks the table, while clients go on: it locks the keys, looks for rows that reference
//! them, and deletes them. A trigger, which is there before that, notes changes of the partition's rows; if one was noted by the
//! time the table is locked, all is undone and begun again. So the rows that leave are those whose keys were deleted, and
//! none of them is referenced: once its key is locked, a row that references it waits, and then the foreign key refuses it.

use std::time::Duration;

use serde::Deserialize;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Work;
use super::exchange::{file_of, unchanged};
use super::found::{Partition, refused};
use super::moved::unwatch;
use crate::crash;
use crate::error::{Doing, Error};
use crate::hangs_on::{self, seal};
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Ident, Literal, QName};
use crate::phase::is_lock_wait;
use crate::phase::locks::Patience;

const DOING: &str = "detaching a partition with its keys";
/// How often the table is tried to be locked once its partition's keys are, and the time in between.
const LOCK_TRIES: u32 = 20;
const LOCK_EVERY: Duration = Duration::from_millis(200);

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

    /// Deletes the keys of a partition's rows, except those that rows of other partitions have, too.
    fn forget(&self, table: &QName, partition: &QName) -> Vec<Statement> {
        let keys = &self.name;
        let equal = |row: &str| {
            let each: Vec<String> =
                self.columns.iter().map(|column| format!("k.{column} = {row}.{column}")).collect();
            each.join(" AND ")
        };
        let same = equal("p");
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
        let elsewhere = format!(
            "SELECT FROM {table} t WHERE {} AND t.tableoid NOT IN (SELECT relid FROM pg_catalog.pg_partition_tree({}))",
            equal("t"),
            Literal(&partition.to_string())
        );
        let delete =
            format!("DELETE FROM {keys} k USING {partition} p WHERE {same} AND NOT EXISTS ({elsewhere})");
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
    /// Has changes of a partition noted that is about to leave.
    pub(super) fn watch(&self, old: &QName) -> Vec<Statement> {
        let key: &[Ident] = self.found.key_tables.first().map_or(&[], |keys| &keys.columns);
        let mut statements = vec![unwatch(old)];
        statements.extend(self.make_home());
        statements.extend(self.table_of_keys(&self.noted(), key));
        statements.push(seal(&self.home()));
        statements.extend(self.trigger(old, key));
        statements
    }

    /// What takes long in the transaction in which it leaves.
    pub(super) fn forget(&self, old: &QName) -> Vec<Statement> {
        // Before the table is locked, not at the end.
        let mut statements =
            vec![Statement::new("check deferred constraints at once", "SET CONSTRAINTS ALL IMMEDIATE")];
        let of = |keys: &KeyTable| keys.forget(self.found.name(), old);
        statements.extend(self.found.key_tables.iter().flat_map(of));
        statements
    }

    /// The rest of it, once the table is locked; `file` is the one that it had when its changes began to be noted.
    fn go(&self, old: &Partition, file: &str) -> Vec<Statement> {
        let noted = format!("EXISTS (SELECT FROM {})", self.noted());
        let mut statements = vec![unchanged(&old.name, file, &noted)];
        let drop = format!("DROP SCHEMA {} CASCADE", self.home());
        statements.push(Statement::new("drop the private schema", drop));
        statements.extend(self.retire(old));
        statements
    }

    /// The transaction in which it leaves.
    pub(super) fn leave(&self, old: &Partition) -> Vec<Statement> {
        let mut statements = self.forget(&old.name);
        statements.push(self.lock_both(&old.name));
        statements.extend(self.go(old, "<its file>"));
        statements
    }

    pub(super) async fn leave_now(
        &self,
        client: &Session,
        patience: &Patience<'_>,
        old: &Partition,
    ) -> Result<(), Error> {
        patience.execute(client, &joined(&self.watch(&old.name)), DOING).await?;
        client.batch_execute("COMMIT").await.doing(DOING)?;
        crash::point("partition watched");
        let file = file_of(client, &old.name).await?;
        // Whoever holds the table for long is waited for without the keys' locks.
        let lock = self.lock_both(&old.name).sql;
        patience.execute(client, &lock, DOING).await?;
        client.batch_execute("ROLLBACK").await.doing(DOING)?;
        let forgotten = patience.execute(client, &joined(&self.forget(&old.name)), DOING).await;
        if let Err(Error::Postgres { source, .. }) = &forgotten
            && source.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION)
        {
            client.batch_execute("ROLLBACK").await.doing(DOING)?;
            self.refuse_referenced(client, &old.name).await?;
        }
        forgotten?;
        self.lock_at_last(client, &lock).await?;
        client.batch_execute(&joined(&self.go(old, &file))).await.doing(DOING)?;
        crash::point("before a partition leaves");
        client.batch_execute("COMMIT").await.doing(DOING)
    }

    /// Locks the table in the transaction that has deleted the keys, which stay so while a lock is not granted.
    async fn lock_at_last(&self, client: &Session, lock: &str) -> Result<(), Error> {
        for tried in 1.. {
            client.batch_execute("SAVEPOINT locks").await.doing(DOING)?;
            match client.batch_execute(lock).await {
                Err(error) if is_lock_wait(&error) && tried < LOCK_TRIES => {
                    client.batch_execute("ROLLBACK TO SAVEPOINT locks").await.doing(DOING)?;
                    tokio::time::sleep(LOCK_EVERY).await;
                }
                outcome => return outcome.doing(DOING),
            }
        }
        Ok(())
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
