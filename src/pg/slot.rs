//! The run's slot as the server reports it, and how far green is behind.

use tokio_postgres::Client;

use crate::pg::Lsn;
use crate::pg::RunObjects;

/// A run's slot, read at one moment.
#[derive(Clone, Debug)]
pub struct Slot {
    /// `reserved`, `extended`, `unreserved` or `lost`, as in `pg_replication_slots`.
    pub wal_status: String,
    /// Bytes of WAL until the server invalidates the slot; `None` if it never does.
    pub safe_bytes: Option<i64>,
    /// Bytes of WAL that the server has to keep for the slot.
    pub retained_bytes: u64,
    /// Bytes of WAL between its end and what was durably applied.
    pub lag_bytes: u64,
    /// The end of the WAL.
    pub end: Lsn,
}

/// The journal's position lags where nothing had to be applied, the server's where it was not acknowledged yet:
/// the greater one counts.
const SQL: &str = "SELECT coalesce(s.wal_status, 'lost'), s.safe_wal_size, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), greatest(s.confirmed_flush_lsn, j.applied_lsn)), 0)::bigint, \
    pg_current_wal_lsn() \
    FROM pg_replication_slots s LEFT JOIN projh_bluegreen.stream j ON j.run = $1 \
    WHERE s.slot_name = $2";

impl Slot {
    /// The slot of a run; `None` before it is made and after it is dropped.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub async fn of(client: &Client, run: &str) -> Result<Option<Self>, tokio_postgres::Error> {
        let row = client.query_opt(SQL, &[&run, &RunObjects::of(run).slot().as_str()]).await?;
        let bytes = |bytes: Option<i64>| u64::try_from(bytes.unwrap_or(0)).unwrap_or(0);
        Ok(row.map(|row| Self {
            wal_status: row.get(0),
            safe_bytes: row.get(1),
            retained_bytes: bytes(row.get(2)),
            lag_bytes: bytes(row.get(3)),
            end: row.get(4),
        }))
    }
}
