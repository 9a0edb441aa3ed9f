//! The run's slot as the server reports it, and how far green is behind.

use tokio_postgres::{Client, Row};

use crate::pg::RunObjects;
use crate::pg::{Colour, Lsn};

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
    /// The table whose changes are read from it.
    pub source: Colour,
}

/// The journal's position lags where nothing had to be applied, the server's where it was not acknowledged yet:
/// the greater one counts. A slot that has no `wal_status` is being created, and reserves nothing so far.
const SQL: &str = "SELECT s.wal_status, s.safe_wal_size, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn), 0)::bigint, \
    greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), greatest(s.confirmed_flush_lsn, j.applied_lsn)), 0)::bigint, \
    pg_current_wal_lsn(), n.source = 'green' \
    FROM (VALUES ($2, 'blue'), ($3, 'green')) n (slot, source) JOIN pg_replication_slots s ON s.slot_name = n.slot AND s.wal_status IS NOT NULL \
    LEFT JOIN projh_bluegreen.stream j ON j.run = $1 AND j.source = n.source";

impl Slot {
    /// The slots of a run: none before the copy and after the end, two while there is a way back.
    ///
    /// # Errors
    /// If the server rejected the query, or the connection was lost.
    pub async fn of(client: &Client, run: &str) -> Result<Vec<Self>, tokio_postgres::Error> {
        let ours = RunObjects::of(run);
        let names = (ours.slot(Colour::Blue), ours.slot(Colour::Green));
        let rows = client.query(SQL, &[&run, &names.0.as_str(), &names.1.as_str()]).await?;
        let bytes = |bytes: Option<i64>| u64::try_from(bytes.unwrap_or(0)).unwrap_or(0);
        let slot = |row: &Row| Self {
            wal_status: row.get(0),
            safe_bytes: row.get(1),
            retained_bytes: bytes(row.get(2)),
            lag_bytes: bytes(row.get(3)),
            end: row.get(4),
            source: if row.get(5) { Colour::Green } else { Colour::Blue },
        };
        Ok(rows.iter().map(slot).collect())
    }
}
