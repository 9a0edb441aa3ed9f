//! Other sessions: who is active, who holds what, who is in the way. All queries of `pg_stat_activity`, of locks and of
//! prepared transactions are made here.
//!
//! Invariant: an answer is never "nobody" because the role may not see. PostgreSQL shows the state of other roles'
//! sessions to members of `pg_read_all_stats` only, and to all others NULL without a warning; a query that needs that
//! right fails with [`ActivityError::Blind`] without it. The right is checked in the same statement, because it can be
//! revoked at any time. No query text is read: it may hold row values.

use std::fmt;
use std::time::Duration;

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::ours::{LIKE_OURS, NOT_OURS};
use super::{Ident, Literal, QName};

/// Why a question about other sessions has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    /// The role is not a member of `pg_read_all_stats`.
    #[error("role {0} cannot see the sessions of other roles, so it cannot know whom it would harm")]
    Blind(Ident),
    /// The server rejected the query, or the connection was lost.
    #[error("other sessions could not be examined: {}", super::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
}

impl ActivityError {
    /// Whether a new session may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Postgres(error) => super::is_transient(error),
            Self::Blind(_) => false,
        }
    }

    /// The GRANT that is missing, for [`Self::Blind`].
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Blind(role) => Some(grant_sight(role)),
            Self::Postgres(_) => None,
        }
    }
}

/// The statement that lets `role` see other sessions.
#[must_use]
pub fn grant_sight(role: &Ident) -> String {
    format!("grant pg_read_all_stats to {role}")
}

/// Another session; text that the role may not see is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The process id of its backend.
    pub pid: i32,
    /// The role that it logged in as.
    pub user: String,
    /// The database that it is connected to.
    pub database: String,
    /// Its `application_name`.
    pub application: String,
    /// `backend_type`: `client backend`, `autovacuum worker`, `walsender`, ...
    pub kind: String,
    /// `state`: `active`, `idle in transaction`, ...
    pub state: String,
    /// The age of its transaction; `None` if it has none open.
    pub transaction: Option<Duration>,
    /// An autovacuum to prevent wraparound, which PostgreSQL does not cancel for others.
    pub prevents_wraparound: bool,
}

impl Backend {
    /// Whether it is idle in an open transaction.
    #[must_use]
    pub fn is_idle_in_transaction(&self) -> bool {
        self.state.starts_with("idle in transaction")
    }

    /// Whether it is an autovacuum that PostgreSQL cancels for whoever waits longer than `deadlock_timeout`.
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

/// A transaction prepared for two-phase commit: it holds locks and has no session.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Its global transaction identifier.
    pub gid: String,
    /// The role that prepared it.
    pub owner: String,
    /// The database where it has to be committed or rolled back.
    pub database: String,
    /// When it was prepared, in UTC, as text.
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

/// A session or a prepared transaction that is in the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Holder {
    /// A session that holds or requested a lock.
    Backend(Backend),
    /// A prepared transaction, which has no session.
    Prepared(Prepared),
}

impl Holder {
    /// The SQL that ends it.
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
    /// The locked object, for display.
    pub on: String,
    /// The requested lock mode, in lower case.
    pub mode: String,
    /// The table, if it is one that LOCK TABLE takes.
    pub table: Option<QName>,
    /// Who holds it, or requested it earlier.
    pub holders: Vec<Holder>,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}, held by ", self.mode, self.on)?;
        let holders: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        f.write_str(&if holders.is_empty() {
            "a session that has ended".to_owned()
        } else {
            holders.join("; ")
        })
    }
}

pub(super) const SEES: &str =
    "(SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS sees, current_user::text AS me) AS s";

/// The columns that [`Backend::of`] reads, after the one that says whether the role may see.
pub(super) const BACKEND: &str = "s.sees, a.pid, coalesce(a.usename::text, ''), coalesce(a.datname::text, ''), \
    coalesce(a.application_name, ''), coalesce(a.backend_type, ''), coalesce(a.state, ''), \
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8, \
    coalesce(a.backend_type = 'autovacuum worker' AND a.query LIKE '%(to prevent wraparound)', false), s.me";

/// Restricts to sessions of this database.
pub(super) const HERE: &str = "a.datid = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// The sessions of runs that hold a consistent point of this database.
pub const POINTS: &str = "SELECT FROM pg_catalog.pg_stat_activity a WHERE a.backend_xmin IS NOT NULL \
    AND a.datname = pg_catalog.current_database() AND a.application_name ~ '^projh-bluegreen [^ ]+ (slot|snapshot)$'";

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

/// Checks that the role may see the sessions of other roles.
///
/// # Errors
/// [`ActivityError::Blind`] if it does not.
pub async fn expect_sight(client: &Client) -> Result<(), ActivityError> {
    backends(client, "false", &[]).await.map(drop)
}

/// Sessions of this database whose snapshot is older than transaction `xid`; `of_runs`: those of runs, too. Prepared
/// transactions have no snapshot.
///
/// # Errors
/// If the role may not see them, or the query fails.
pub async fn snapshots_older_than(
    client: &Client,
    xid: u64,
    of_runs: bool,
) -> Result<Vec<Backend>, ActivityError> {
    // age() takes no epoch. A parallel worker's leader has the worker's snapshot too.
    let whose = if of_runs { "a.pid <> pg_backend_pid()" } else { NOT_OURS };
    let condition = format!(
        "a.backend_xmin IS NOT NULL AND {HERE} AND {whose} \
         AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker') AND age(a.backend_xmin) > age($1::text::xid)"
    );
    backends(client, &condition, &[&(xid & 0xFFFF_FFFF).to_string()]).await
}

/// Client sessions with a transaction open for longer than this: those of the whole server that hold up a consistent
/// point, and those of this database that have a snapshot.
///
/// # Errors
/// If the role may not see them, or the query fails.
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

/// Transactions of the whole server that have written and are still open, oldest first: a consistent point waits
/// for each of them.
///
/// # Errors
/// If the role may not see them, or the query fails.
pub async fn writers(client: &Client) -> Result<Vec<Holder>, ActivityError> {
    let prepared = prepared(client).await?.into_iter().map(Holder::Prepared);
    let writers = backends(client, "a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid()", &[]).await?;
    Ok(prepared.chain(writers.into_iter().map(Holder::Backend)).collect())
}

/// Every prepared transaction of the server, oldest first.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn prepared(client: &Client) -> Result<Vec<Prepared>, ActivityError> {
    let rows = client.query(&format!("{PREPARED} ORDER BY x.prepared"), &[]).await?;
    Ok(rows.iter().map(Prepared::of).collect())
}

/// The number of active client sessions of the whole server, which share its processors; ours are not counted.
///
/// # Errors
/// If the role may not see them, or the query fails.
pub async fn active_clients(client: &Client) -> Result<u64, ActivityError> {
    let condition = format!("a.state = 'active' AND a.backend_type = 'client backend' AND {NOT_OURS}");
    let active = backends(client, &condition, &[]).await?;
    Ok(active.len() as u64)
}

/// Client sessions of this database that were connected before `moment`, in seconds since 1970.
///
/// # Errors
/// If the role may not see them, or the query fails.
pub async fn sessions_since_before(client: &Client, moment: f64) -> Result<Vec<Backend>, ActivityError> {
    let condition = format!(
        "a.backend_start < to_timestamp($1) AND a.backend_type = 'client backend' AND {HERE} AND {NOT_OURS}"
    );
    backends(client, &condition, &[&moment]).await
}

/// Replay lag of the slowest standby in seconds; 0 if there is none.
///
/// # Errors
/// If the role may not see the standbys, or the query fails.
pub async fn replay_lag(client: &Client) -> Result<f64, ActivityError> {
    let sql = format!(
        "SELECT s.sees, s.me, coalesce(extract(epoch FROM max(r.replay_lag)), 0)::float8 FROM {SEES} \
         LEFT JOIN pg_stat_replication r ON r.application_name NOT {LIKE_OURS} GROUP BY 1, 2"
    );
    let row = client.query_one(&sql, &[]).await?;
    if row.get(0) { Ok(row.get(2)) } else { Err(ActivityError::Blind(Ident(row.get(1)))) }
}

/// The lock that session `pid` waits for now, and who is in the way: without the right to see them, process ids.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
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

/// Terminates a client session of this database if it is still in the state that it was seen in.
///
/// # Errors
/// If the server rejected it, or the connection was lost.
pub async fn terminate(client: &Client, backend: &Backend) -> Result<bool, tokio_postgres::Error> {
    let sql = format!(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a WHERE a.pid = $1 AND {HERE} AND {NOT_OURS} \
         AND a.backend_type = 'client backend' AND coalesce(a.state, '') = $2"
    );
    let row = client.query_opt(&sql, &[&backend.pid, &backend.state]).await?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Whether a transaction has used one of these sequences and has not locked one of these tables: whoever locks the
/// tables first would wait for a client that waits for them.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
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
