//! Room for green, its indexes, and the WAL of all of it.
//!
//! PostgreSQL does not tell how much room there is. Where the server runs on this machine and its
//! data directory can be asked about, a run that cannot fit is refused; elsewhere the need is told.

use bytesize::ByteSize;

use super::{Finding, Subject};
use crate::engine::Context;
use crate::error::Error;
use crate::pg::connect::Session;

pub(super) async fn check(
    cx: &Context,
    session: &Session,
    subjects: &[Subject<'_>],
) -> Result<Vec<Finding>, Error> {
    // Green once (heap, TOAST, indexes), and the WAL of writing it: about as much again at its peak,
    // for it is recycled at checkpoints, but never more than the slot may hold back.
    let tables: u64 =
        subjects.iter().map(|s| s.definition.table.table_bytes + s.definition.table.index_bytes).sum();
    let wal = tables.min(cx.plan.settings.wal_budget_bytes);
    let need = tables + wal;
    let sql = "SELECT current_setting('data_directory', true), inet_server_addr() IS NULL \
               OR inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1'";
    let row = session.query_one(sql, &[]).await;
    // Only superusers and pg_read_all_settings may know the directory.
    let Ok(row) = row else { return Ok(vec![note(need)]) };
    let (directory, is_local): (Option<String>, bool) = (row.get(0), row.get(1));
    let free = directory.filter(|_| is_local).and_then(|directory| {
        let of = rustix::fs::statvfs(directory.as_str()).ok()?;
        Some(of.f_bavail * of.f_frsize)
    });
    match free {
        Some(free) if free < need => {
            let what = format!(
                "the run needs about {} of disk ({} for green, {} for WAL), and {} are free",
                ByteSize(need),
                ByteSize(tables),
                ByteSize(wal),
                ByteSize(free)
            );
            Ok(vec![Finding::server("disk", what, "make room, or lower settings.wal_budget")])
        }
        Some(_) => Ok(Vec::new()),
        None => Ok(vec![note(need)]),
    }
}

fn note(need: u64) -> Finding {
    let what = format!("the run needs about {} of disk on the server", ByteSize(need));
    Finding::server("disk", what, "make sure that there is as much").as_note()
}
