//! What the server says of a run's slot, and how far green is behind.

use tokio_postgres::Client;

use crate::pg::Lsn;
use crate::pg::RunObjects;

/// A run's slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// Bytes until the server gives the slot up; none if it never does.
    pub safe_bytes: Option<i64>,
    /// WAL that the server may not reuse.
    pub retained_bytes: u64,
    /// WAL between its end and what was applied, durably.
    pub lag_bytes: u64,
    /// The end of the WAL.
    pub end: Lsn,
}

/// The position that the journal has is behind where nothing was to be applied, and the one that the
/// server has is behind where it was not acknowledged yet.
const SQL: &str = "SELECT coalesce(s.wal_status, 'lost'), s.safe_wal_size, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), greatest(s.confirmed_flush_lsn, j.applied_lsn)), 0)::bigint, \
    pg_current_wal_lsn() \
    FROM pg_replication_slots s LEFT JOIN projh_bluegreen.stream j ON j.run = $1 \
    WHERE s.slot_name = $2";

impl Slot {
    /// The slot of a run; none before it is made and after it is dropped.
    ///
    /// # Errors
    /// If the server said no.
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
