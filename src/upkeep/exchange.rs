//! The transactions that lock the table: what is in them, and what makes them begin again.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Work;
use super::found::Partition;
use crate::error::{Doing, Error};
use crate::pg::activity;
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{AS_OPERATOR, Ident, Literal, QName};
use crate::phase::is_lock_wait;

/// How often something begins again if the partition was changed meanwhile.
const TRIES: u32 = 3;
/// How long the transaction that exchanges the partitions may take.
const EXCHANGE: &str = "2s";
const DOING: &str = "locking the table";

/// The file of a relation: another one has rows that no trigger has noted.
pub(super) async fn file_of(client: &Client, relation: &QName) -> Result<String, Error> {
    let sql = "SELECT coalesce(pg_relation_filenode(to_regclass($1)), 0)::text";
    Ok(client.query_one(sql, &[&relation.to_string()]).await.doing(DOING)?.get(0))
}

/// Fails, for [`again_if_changed`], if a partition has another file, or on another condition.
pub(super) fn unchanged(old: &QName, file: &str, otherwise: &str) -> Statement {
    let body = format!(
        "BEGIN IF coalesce(pg_catalog.pg_relation_filenode({}), 0) <> {file} OR {otherwise} THEN \
         RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = {}; END IF; END",
        Literal(&old.to_string()),
        Literal(&format!("{} was changed meanwhile", old.plain()))
    );
    Statement::new("see that nothing was changed unnoticed", format!("DO {}", Literal(&body)))
}

/// Does something, and some more times if [`unchanged`] fails, or a lock is not granted.
pub(super) async fn again_if_changed(
    client: &Session,
    once: impl AsyncFn() -> Result<(), Error>,
) -> Result<(), Error> {
    for tried in 1.. {
        match once().await {
            Err(Error::Postgres { source, .. })
                if (source.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
                    || is_lock_wait(&source))
                    && tried < TRIES =>
            {
                client.batch_execute("ROLLBACK").await.doing(DOING)?;
            }
            done => return done,
        }
    }
    Ok(())
}

impl Work<'_> {
    /// The transaction that clients wait for.
    pub(super) fn exchange(&self, default: &Partition, key: &[Ident], file: &str) -> Vec<Statement> {
        let (home, parent, old) = (self.home(), self.found.name(), &default.name);
        let twin = self.twin();
        let acting = self.found.table.table.acting();
        let replace = format!("{acting}; {}; {AS_OPERATOR}", self.replace(default, key));
        let mut statements = vec![
            Statement::new("limit its time", format!("SET LOCAL statement_timeout = '{EXCHANGE}'")),
            self.lock_both(old),
            unchanged(old, file, "false"),
            self.uncompared(),
            Statement::new("replace the rows that were changed last", replace),
            Statement::making(old, "detach", format!("ALTER TABLE {parent} DETACH PARTITION {old}")),
            Statement::making(old, "drop", format!("DROP TABLE {old}")),
        ];
        let names = || self.missing.iter().map(|(leaf, _)| &leaf.name).chain([&old.name]);
        statements.extend(names().map(|name| {
            let built = QName { schema: home.clone(), name: name.clone() };
            Statement::making(
                &built,
                "take from the twin",
                format!("ALTER TABLE {twin} DETACH PARTITION {built}"),
            )
        }));
        for (leaf, _) in &self.missing {
            statements.extend(self.attach_leaf(leaf));
            let placed = QName { schema: self.schema().clone(), name: leaf.name.clone() };
            let drop = format!("ALTER TABLE {placed} DROP CONSTRAINT projh_range");
            statements.push(Statement::making(&placed, "drop the CHECK of", drop));
        }
        let like = self.found.default_itself.as_ref().unwrap_or(&self.found.sibling);
        statements.extend(self.attach(old, "DEFAULT", like));
        let drop = format!("DROP SCHEMA {home} CASCADE");
        statements.push(Statement::new("drop the private schema", drop));
        statements
    }

    /// Fails if a run is comparing rows at a point before this transaction: it would not find those that were replaced since.
    fn uncompared(&self) -> Statement {
        let message = format!("a run compares {}", self.found.name().plain());
        let body = format!(
            "BEGIN IF EXISTS ({}) THEN RAISE object_in_use USING MESSAGE = {}; END IF; END",
            activity::POINTS,
            Literal(&message)
        );
        Statement::new("see that no run compares the table", format!("DO {}", Literal(&body)))
    }

    /// Locks the table and one of its partitions.
    pub(super) fn lock_both(&self, old: &QName) -> Statement {
        let parent = self.found.name();
        let sql = format!(
            "LOCK TABLE ONLY {parent} IN ACCESS EXCLUSIVE MODE; LOCK TABLE {old} IN ACCESS EXCLUSIVE MODE"
        );
        Statement::new("lock the table and the partition: from here on clients wait", sql)
            .locking(parent, LockMode::AccessExclusive)
            .locking(old, LockMode::AccessExclusive)
    }
}
