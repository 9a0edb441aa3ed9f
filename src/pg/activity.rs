//! Other sessions: who is at work, who holds what, who is in the way. Every question to `pg_stat_activity`, to the
//! locks and to the prepared transactions is asked here.
//!
//! Invariant: an answer is never "nobody" because the role may not see. PostgreSQL shows the state of other roles'
//! sessions to members of `pg_read_all_stats` only, and shows NULL to all others without a word; a question whose answer
//! needs that right ends with [`ActivityError::Blind`] without it. The right is read by the statement that needs it,
//! for it can be revoked at any time. No query's text is read out: it may hold row values.

use std::fmt;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::ours::{LIKE_OURS, NOT_OURS};
use super::{Ident, Literal, QName};

/// Why a question about other sessions has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// The role may not see other roles' sessions.
    #[error("role {0} cannot see the sessions of other roles, and so cannot know whom it would harm")]
    Blind(Ident),
    /// The server refused the question, or was gone.
    #[error("other sessions could not be looked at: {}", super::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

impl ActivityError {
    /// Whether a new session may get further.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres(error) => super::is_transient(error),
            Self::Blind(_) => false,
        }
    }

    /// What to type, where the role may not see.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Blind(role) => Some(grant_sight(role)),
            Self::Postgres(_) => None,
        }
    }
}

/// Lets a role see the sessions of others.
#[must_use]
pub fn grant_sight(role: &Ident) -> String {
    format!("grant pg_read_all_stats to {role}")
}

/// A session of somebody else. What the role may not see of it is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The server's process.
    pub pid: i32,
    /// Its role.
    pub user: String,
    /// Its database.
    pub database: String,
    /// What it calls itself.
    pub application: String,
    /// `client backend`, `autovacuum worker`, `walsender`, ...
    pub kind: String,
    /// `active`, `idle in transaction`, ...
    pub state: String,
    /// How long its transaction has been open.
    pub transaction: Option<Duration>,
    /// An autovacuum that PostgreSQL does not cancel for anybody.
    pub prevents_wraparound: bool,
}

impl Backend {
    /// It waits for its client in the middle of a transaction.
    #[must_use]
    pub fn is_idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }

    /// An autovacuum that steps aside for whoever waits longer than `deadlock_timeout`.
    #[must_use]
    pub fn steps_aside(&self) -> bool {
        self.kind == "autovacuum worker" && !self.prevents_wraparound
    }

    pub(super) fn of(row: &Row) -> Option<Self> {
        Some(Self {
            pid: row.get::<_, Option<i32>>(1)?,
            user: row.get(2),
            database: row.get(3),
            application: row.get(4),
            kind: row.get(5),
            state: row.get(6),
            transaction: row.get::<_, Option<f64>>(7).map(|s| Duration::from_secs_f64(s.max(0.0))),
            prevents_wraparound: row.get(8),
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == "autovacuum worker" {
            write!(f, "process {}, autovacuum", self.pid)?;
            f.write_str(if self.prevents_wraparound { " to prevent wraparound" } else { "" })?;
        } else {
            write!(f, "process {} of {} ({})", self.pid, self.user, self.application)?;
        }
        if let Some(open) = self.transaction {
            write!(f, ", in a transaction for {} s", open.as_secs())?;
        }
        if self.state.is_empty() { Ok(()) } else { write!(f, ", state {}", self.state) }
    }
}

/// A transaction that was prepared for two-phase commit: it has locks, and no session.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its global identifier.
    pub gid: String,
    /// Who prepared it.
    pub owner: String,
    /// The database in which it can be ended.
    pub database: String,
    /// When it was prepared, in UTC.
    pub since: String,
}

impl Prepared {
    fn of(row: &Row) -> Self {
        Self { gid: row.get(0), owner: row.get(1), database: row.get(2), since: row.get(3) }
    }
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "prepared transaction {} of {}", Literal(&self.gid), self.owner)?;
        write!(f, ", prepared at {} UTC", self.since)
    }
}

/// Somebody who is in the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// A session.
    Backend(Backend),
    /// A transaction without one.
    Prepared(Prepared),
}

impl Holder {
    /// What to type to end it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Backend(backend) => format!("select pg_terminate_backend({})", backend.pid),
            Self::Prepared(prepared) => {
                let (gid, database) = (Literal(&prepared.gid), Ident(prepared.database.clone()));
                format!("commit prepared {gid}, or rollback prepared {gid}, in database {database}")
            }
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(backend) => backend.fmt(f),
            Self::Prepared(prepared) => {
                let gid = Literal(&prepared.gid);
                write!(f, "{prepared} (end it: rollback prepared {gid}, or commit prepared {gid})")
            }
        }
    }
}

/// A lock that a session waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// What is locked.
    pub on: String,
    /// The mode that was asked for.
    pub mode: String,
    /// The table, where it is one that LOCK TABLE takes.
    pub table: Option<QName>,
    /// Who has it, or asked for it before.
    pub holders: Vec<Holder>,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, held by ", self.mode, self.on)?;
        let holders: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        f.write_str(&if holders.is_empty() { "somebody who is gone".to_owned() } else { holders.join("; ") })
    }
}

pub(super) const SEES: &str =
    "(SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees, current_user::text AS me) AS s";

/// The columns that [`Backend::of`] reads, behind whether the role sees.
pub(super) const BACKEND: &str = "s.sees, a.pid, coalesce(a.usename::text, ''), coalesce(a.datname::text, ''), \
    coalesce(a.application_name, ''), coalesce(a.backend_type, ''), coalesce(a.state, ''), \
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
    coalesce(a.backend_type = 'autovacuum worker' AND a.query LIKE '%(to prevent wraparound)', false), s.me";

/// Sessions of this database.
pub(super) const HERE: &str = "a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())";

const PREPARED: &str = "SELECT x.gid, x.owner::text, x.database::text, \
    to_char(x.prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM pg_prepared_xacts x";

async fn backends(
    client: &Client,
    condition: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Backend>, ActivityError> {
    let sql = format!(
        "SELECT {BACKEND} FROM {SEES} LEFT JOIN pg_stat_activity a ON {condition} ORDER BY a.xact_start"
    );
    let rows = client.query(&sql, params).await?;
    match rows.first() {
        Some(row) if !row.get::<_, bool>(0) => Err(ActivityError::Blind(Ident(row.get(9)))),
        _ => Ok(rows.iter().filter_map(Backend::of).collect()),
    }
}

/// Whether the role sees what other roles' sessions do.
///
/// # Errors
/// [`ActivityError::Blind`] if it does not.
pub async fn expect_sight(client: &Client) -> Result<(), ActivityError> {
    backends(client, "false", &[]).await.map(drop)
}

/// Sessions of this database with a snapshot that is older than transaction `xid`. Prepared transactions have none.
///
/// # Errors
/// If they cannot be seen.
pub async fn snapshots_older_than(client: &Client, xid: u64) -> Result<Vec<Backend>, ActivityError> {
    // A 32-bit xid for age(); the epoch's bits are of no use there. A parallel worker's leader has its snapshot too.
    let xid = (xid & 0xFFFF_FFFF).to_string();
    let condition = format!(
        "a.backend_xmin IS NOT NULL AND {HERE} AND {NOT_OURS} \
         AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker') AND age(a.backend_xmin) > age($1::text::xid)"
    );
    backends(client, &condition, &[&xid]).await
}

/// Client sessions of the whole server, whose transactions have been open for longer than this and hold up a
/// consistent point, or of this database with a snapshot.
///
/// # Errors
/// If they cannot be seen.
pub async fn open_transactions(
    client: &Client,
    longer_than: Duration,
) -> Result<Vec<Backend>, ActivityError> {
    let condition = format!(
        "a.xact_start < clock_timestamp() - make_interval(secs => $1) \
         AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL AND {HERE}) AND {NOT_OURS} \
         AND a.backend_type = 'client backend'"
    );
    backends(client, &condition, &[&longer_than.as_secs_f64()]).await
}

/// Who has written something in a transaction that is still open, in the whole server, the oldest first: a
/// consistent point waits for each of them.
///
/// # Errors
/// If they cannot be seen.
pub async fn writers(client: &Client) -> Result<Vec<Holder>, ActivityError> {
    let prepared = prepared(client).await?.into_iter().map(Holder::Prepared);
    let writers = backends(client, "a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()", &[]).await?;
    Ok(prepared.chain(writers.into_iter().map(Holder::Backend)).collect())
}

/// Every prepared transaction of the server, the oldest first.
///
/// # Errors
/// If the server refused the question.
pub async fn prepared(client: &Client) -> Result<Vec<Prepared>, ActivityError> {
    let rows = client.query(&format!("{PREPARED} ORDER BY x.prepared"), &[]).await?;
    Ok(rows.iter().map(Prepared::of).collect())
}

/// Client sessions that are at work right now, in the whole server: they share its processors.
///
/// # Errors
/// If they cannot be seen.
pub async fn active_clients(client: &Client) -> Result<u64, ActivityError> {
    let condition = format!("a.state = 'active' AND a.backend_type = 'client backend' AND {NOT_OURS}");
    let active = backends(client, &condition, &[]).await?;
    Ok(active.len() as u64)
}

/// Client sessions of this database that were there before this moment, in seconds since 1970.
///
/// # Errors
/// If they cannot be seen.
pub async fn sessions_since_before(client: &Client, moment: f64) -> Result<Vec<Backend>, ActivityError> {
    let condition = format!(
        "a.backend_start < to_timestamp($1) AND a.backend_type = 'client backend' AND {HERE} AND {NOT_OURS}"
    );
    backends(client, &condition, &[&moment]).await
}

/// Seconds that the slowest standby needs until it has replayed what is written; 0 without one.
///
/// # Errors
/// If the standbys cannot be seen.
pub async fn replay_lag(client: &Client) -> Result<f64, ActivityError> {
    let sql = format!(
        "SELECT s.sees, s.me, coalesce(extract(epoch FROM max(r.replay_lag)), 0)::float8 FROM {SEES} \
         LEFT JOIN pg_stat_replication r ON r.application_name NOT {LIKE_OURS} GROUP BY 1, 2"
    );
    let row = client.query_one(&sql, &[]).await?;
    if row.get(0) { Ok(row.get(2)) } else { Err(ActivityError::Blind(Ident(row.get(1)))) }
}

/// The lock that session `pid` waits for at this moment, and who is in the way. Whoever may not see is told the
/// processes at least.
///
/// # Errors
/// If the server refused the question.
pub async fn wait_of(client: &Client, pid: i32) -> Result<Option<Wait>, ActivityError> {
    let sql = "SELECT pg_blocking_pids($1), l.locktype, lower(regexp_replace(replace(l.mode, 'Lock', ''), \
               '(.)([A-Z])', '\\1 \\2', 'g')), n.nspname::text, c.relname::text, c.relkind IN ('r', 'p') \
               FROM pg_locks l LEFT JOIN pg_class c ON c.oid = l.relation \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
               LEFT JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = $1 AND NOT l.granted LIMIT 1";
    let Some(row) = client.query_opt(sql, &[&pid]).await? else { return Ok(None) };
    let pids: Vec<i32> = row.get(0);
    let name = row.get::<_, Option<String>>(3).zip(row.get::<_, Option<String>>(4));
    let name = name.map(|(schema, name)| QName { schema: Ident(schema), name: Ident(name) });
    let on = name.as_ref().map_or_else(|| format!("a {}", row.get::<_, String>(1)), QName::plain);
    let sql = format!("SELECT {BACKEND} FROM {SEES} JOIN pg_stat_activity a ON a.pid = ANY($1)");
    let found = client.query(&sql, &[&pids]).await?;
    let mut holders: Vec<Holder> = found.iter().filter_map(Backend::of).map(Holder::Backend).collect();
    if pids.contains(&0) {
        let sql = format!(
            "{PREPARED} WHERE EXISTS (SELECT FROM pg_locks h JOIN pg_locks w ON w.pid = $1 AND NOT w.granted \
             AND h.locktype = w.locktype AND h.database IS NOT DISTINCT FROM w.database \
             AND h.relation IS NOT DISTINCT FROM w.relation AND h.transactionid IS NOT DISTINCT FROM w.transactionid \
             WHERE h.granted AND h.pid IS NULL AND h.virtualtransaction IN (SELECT o.virtualtransaction FROM pg_locks o \
             WHERE o.locktype = 'transactionid' AND o.transactionid = x.transaction AND o.pid IS NULL))"
        );
        let rows = client.query(&sql, &[&pid]).await?;
        holders.extend(rows.iter().map(|row| Holder::Prepared(Prepared::of(row))));
    }
    let table = name.filter(|_| row.get::<_, Option<bool>>(5).unwrap_or(false));
    Ok(Some(Wait { on, mode: row.get(2), table, holders }))
}

/// Ends a client's session of this database, if it still is what it was when it was seen.
///
/// # Errors
/// If the server refused it.
pub async fn terminate(client: &Client, backend: &Backend) -> Result<bool, tokio_postgres::Error> {
    let sql = format!(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.pid = $1 AND {HERE} AND {NOT_OURS} \
         AND a.backend_type = 'client backend' AND coalesce(a.state, '') = $2"
    );
    let row = client.query_opt(&sql, &[&backend.pid, &backend.state]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Whether somebody has used one of these sequences in a transaction that has not locked one of these tables: who takes
/// the tables first would wait for a client that waits for them.
///
/// # Errors
/// If the server refused the question.
pub async fn use_sequences_before_tables(
    client: &Client,
    sequences: &[QName],
    tables: &[QName],
) -> Result<bool, ActivityError> {
    let names = |of: &[QName]| of.iter().map(ToString::to_string).collect::<Vec<String>>();
    let sql = "WITH held AS (SELECT l.virtualtransaction, l.relation FROM pg_locks l WHERE l.locktype = 'relation' \
               AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())), \
               of AS (SELECT ARRAY(SELECT to_regclass(n)::oid FROM unnest($1::text[]) n) AS sequences, \
               ARRAY(SELECT to_regclass(n)::oid FROM unnest($2::text[]) n) AS tables) \
               SELECT EXISTS (SELECT FROM of, held s WHERE s.relation = ANY(of.sequences) AND NOT EXISTS \
               (SELECT FROM held t WHERE t.relation = ANY(of.tables) AND t.virtualtransaction = s.virtualtransaction))";
    Ok(client.query_one(sql, &[&names(sequences), &names(tables)]).await?.get(0))
}

/// The server's `deadlock_timeout`, how long a session waits for a lock before it looks for a deadlock, whose victim it
/// may be; and whether the role may set one of its own.
///
/// # Errors
/// If the server refused the question.
pub async fn deadlock_timeout(client: &Client) -> Result<(Duration, bool), tokio_postgres::Error> {
    let sql = "SELECT setting::bigint, context = 'superuser' AND current_setting('is_superuser') = 'on' \
               FROM pg_settings WHERE name = 'deadlock_timeout'";
    let row = client.query_one(sql, &[]).await?;
    Ok((Duration::from_millis(u64::try_from(row.get::<_, i64>(0)).unwrap_or(1_000)), row.get(1)))
}
