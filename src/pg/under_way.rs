//! What other sessions do to a table that gets in the way of a run: rewrites, index builds, other DDL.

use std::fmt;

use tokio_postgres::Client;

use super::QName;
use super::activity::{BACKEND, Backend, HERE, SEES};
use super::ours::NOT_OURS;

/// How a statement or a lock gets in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// VACUUM FULL, CLUSTER, REPACK: when it ends, the table has another file.
    Rewrite,
    /// CREATE INDEX, REINDEX: when it ends, the table has another definition.
    Index,
    /// Holds or waits for ACCESS EXCLUSIVE, which nobody can read beside.
    Exclusive,
    /// Holds or waits for another lock that conflicts with DDL.
    Lock,
}

/// A statement or a lock of another session.
#[derive(Clone, Debug, PartialEq)]
pub struct UnderWay {
    /// How it gets in the way.
    pub kind: Kind,
    /// The command (`VACUUM FULL`), or the lock's mode.
    pub command: String,
    /// The session that executes or holds it.
    pub backend: Backend,
}

impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.command, self.backend)
    }
}

/// What is in progress on a table, apart from an autovacuum that PostgreSQL would cancel for us.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn on_table(client: &Client, table: &QName) -> Result<Vec<UnderWay>, tokio_postgres::Error> {
    let sql = "SELECT to_regclass('pg_catalog.pg_stat_progress_repack') IS NOT NULL";
    // It exists from PostgreSQL 19 on.
    let repack = client.query_one(sql, &[]).await?.get(0);
    let rewrites = if repack { "pg_stat_progress_repack" } else { "pg_stat_progress_cluster" };
    let sql = format!(
        "WITH rel AS (SELECT to_regclass($1)::oid AS oid), \
         progress AS (SELECT pid, relid, command, true AS rewrites FROM {rewrites} \
           UNION ALL SELECT pid, relid, command, false FROM pg_stat_progress_create_index), \
         lock AS (SELECT l.pid, l.mode, l.granted FROM pg_locks l, rel WHERE l.locktype = 'relation' \
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.relation = rel.oid \
           AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
           'AccessExclusiveLock')) \
         SELECT {BACKEND}, p.command, p.rewrites, l.mode = 'AccessExclusiveLock', l.granted, \
           upper(regexp_replace(replace(l.mode, 'Lock', ''), '(.)([A-Z])', '\\1 \\2', 'g')) \
         FROM {SEES} CROSS JOIN rel JOIN pg_stat_activity a ON {HERE} AND {NOT_OURS} \
         LEFT JOIN LATERAL (SELECT command, rewrites FROM progress WHERE pid = a.pid AND relid = rel.oid LIMIT 1) p ON true \
         LEFT JOIN LATERAL (SELECT mode, granted FROM lock WHERE pid = a.pid \
           ORDER BY mode = 'AccessExclusiveLock' DESC LIMIT 1) l ON true \
         WHERE p.command IS NOT NULL OR l.mode IS NOT NULL ORDER BY a.xact_start"
    );
    let rows = client.query(&sql, &[&table.to_string()]).await?;
    let seen = rows.iter().filter_map(|row| {
        let backend = Backend::of(row)?;
        let lock = || {
            let verb = if row.get(13) { "that holds" } else { "that waits for" };
            format!("a statement {verb} {}", row.get::<_, String>(14))
        };
        let (kind, command) = match (row.get::<_, Option<String>>(10), row.get::<_, Option<bool>>(11)) {
            (Some(command), Some(true)) => (Kind::Rewrite, command),
            (Some(command), _) => (Kind::Index, command),
            (None, _) if row.get(12) => (Kind::Exclusive, lock()),
            (None, _) => (Kind::Lock, lock()),
        };
        Some(UnderWay { kind, command, backend })
    });
    Ok(seen.filter(|seen| !seen.backend.steps_aside()).collect())
}
