//! Partitions that are older than the plan keeps: archived, or dropped.
//!
//! DETACH needs the table for a moment. CONCURRENTLY it does not; but a table with a default partition does not have that,
//! and it would not be in the transaction that deletes the partition's keys. A partition that is archived is moved to its
//! schema first, so that one whose DETACH was interrupted is found again.

use super::Work;
use super::exchange::again_if_changed;
use super::found::Partition;
use crate::error::{Doing, Error};
use crate::pg::QName;
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement, joined};
use crate::phase::locks::Patience;
use crate::plan::Then;

impl Work<'_> {
    /// Every statement, in order.
    pub(super) fn retirement(&self, old: &Partition) -> Vec<Statement> {
        if self.found.key_tables.is_empty() {
            return self.retire(old);
        }
        let mut statements = self.watch(&old.name);
        statements.extend(self.leave(old));
        statements
    }

    /// The statements that retire a partition whose keys are not kept elsewhere, or have been deleted.
    pub(super) fn retire(&self, old: &Partition) -> Vec<Statement> {
        let parent = self.found.name();
        let on =
            |name: &QName, verb: &str, sql: String| Statement::on(name, LockMode::AccessExclusive, verb, sql);
        let detach = |name: &QName, how: &str| {
            let sql = format!("ALTER TABLE {parent} DETACH PARTITION {name}{how}");
            on(parent, "detach a partition of", sql).locking(name, LockMode::AccessExclusive)
        };
        let is_briefly_locked = self.found.default().is_some() || !self.found.key_tables.is_empty();
        let how = match (old.detaching, is_briefly_locked) {
            (true, _) => " FINALIZE",
            (false, false) => " CONCURRENTLY",
            (false, true) => "",
        };
        if self.then == Then::Drop {
            let how = if old.detaching { how } else { "" };
            return vec![detach(&old.name, how), on(&old.name, "drop", format!("DROP TABLE {}", old.name))];
        }
        let Some(retention) = &self.found.by.retention else { return Vec::new() };
        let schema = retention.archive(self.schema());
        let archived = old.name.in_schema(&schema);
        let make = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        let mut statements = vec![Statement::new("create the archive's schema", make)];
        if old.name != archived {
            let sql = format!("ALTER TABLE {} SET SCHEMA {schema}", old.name);
            statements.push(on(&old.name, "move to the archive:", sql));
        }
        statements.push(detach(&archived, how));
        statements
    }

    pub(super) async fn retire_now(
        &self,
        client: &Session,
        patience: &Patience<'_>,
        old: &Partition,
    ) -> Result<(), Error> {
        let doing = "retiring a partition";
        // One that a DETACH has left half detached has no rows that clients of the table see.
        if !self.found.key_tables.is_empty() && old.detaching {
            patience.execute(client, &joined(&self.forget(&old.name)), doing).await?;
            client.batch_execute("COMMIT").await.doing(doing)?;
        } else if !self.found.key_tables.is_empty() {
            return again_if_changed(client, async || self.leave_now(client, patience, old).await).await;
        }
        let statements = self.retire(old);
        let by_itself = |statement: &Statement| statement.sql.ends_with(" CONCURRENTLY");
        let (alone, together): (Vec<Statement>, Vec<Statement>) = statements.into_iter().partition(by_itself);
        patience.execute(client, &joined(&together), doing).await?;
        client.batch_execute("COMMIT").await.doing(doing)?;
        for statement in alone {
            // It waits for transactions, not they for it.
            client.batch_execute(&statement.sql).await.doing(doing)?;
        }
        Ok(())
    }
}
