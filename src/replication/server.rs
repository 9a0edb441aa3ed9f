//! Which server it is.

use std::fmt;

use tokio_postgres::Client;

/// A server, and the timeline of its WAL. Another one has other WAL from some position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `None` where the role may not ask for it.
    pub(super) system: Option<String>,
    pub(super) timeline: String,
}

impl Server {
    /// The server of a session; it has to be a primary.
    ///
    /// # Errors
    /// If the server rejected a query, or the connection was lost.
    pub async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        // Of the last checkpoint is the timeline that `pg_control_checkpoint` has: one that was promoted just now has another.
        let sql = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int::text, \
                   has_function_privilege('pg_control_system()', 'EXECUTE')";
        let row = client.query_one(sql, &[]).await?;
        let (timeline, may_ask) = (row.get(0), row.get(1));
        let system = match may_ask {
            true => {
                let sql = "SELECT system_identifier::text FROM pg_control_system()";
                Some(client.query_one(sql, &[]).await?.get(0))
            }
            false => None,
        };
        Ok(Self { system, timeline })
    }

    /// Whether the other one is this one, as far as it is known.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.timeline == other.timeline && (self.system.is_none() || self.system == other.system)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.system {
            Some(system) => write!(f, "system {system}, timeline {}", self.timeline),
            None => write!(f, "timeline {}", self.timeline),
        }
    }
}
