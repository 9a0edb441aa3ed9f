//! Room for green, its indexes, and the WAL of all of it.
//!
//! PostgreSQL does not tell how much room there is. Where the server runs on this machine and its
//! data directory can be asked about, a run that cannot fit is refused; elsewhere the need is told.

use std::path::Path;

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
    let tables =
        subjects.iter().map(|s| s.definition.table.table_bytes + s.definition.table.index_bytes).sum();
    let need = Need::of(tables, cx.plan.settings.wal_budget_bytes);
    let sql = "SELECT current_setting('data_directory', true), inet_server_addr() IS NULL \
               OR inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1'";
    // Only superusers and pg_read_all_settings may know the directory.
    let room = match session.query_one(sql, &[]).await {
        Ok(row) if row.get(1) => row.get::<_, Option<String>>(0).and_then(|data| Room::of(Path::new(&data))),
        Ok(_) => None,
        Err(error) if error.is_closed() => return Err(Error::doing("asking for the data directory")(error)),
        Err(_) => None,
    };
    Ok(decide(&need, room))
}

/// Bytes that a run needs.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// Green once: heap, TOAST, indexes.
    green: u64,
    /// The WAL of writing it.
    wal: u64,
}

impl Need {
    /// WAL: about as much again at its peak, for it is recycled at checkpoints, but never more than
    /// the slot may hold back.
    fn of(tables: u64, wal_budget: u64) -> Self {
        Self { green: tables, wal: tables.min(wal_budget) }
    }
}

/// Bytes that are free.
#[derive(Clone, Copy, Debug)]
enum Room {
    /// On one filesystem for data and WAL.
    Shared(u64),
    /// WAL has a filesystem of its own.
    Apart { data: u64, wal: u64 },
}

impl Room {
    fn of(data: &Path) -> Option<Self> {
        let all = rustix::fs::statvfs(data).ok()?;
        let free = |of: &rustix::fs::StatVfs| of.f_bavail.saturating_mul(of.f_frsize);
        let wal = rustix::fs::statvfs(data.join("pg_wal")).ok().filter(|wal| wal.f_fsid != all.f_fsid);
        Some(wal.map_or_else(
            || Self::Shared(free(&all)),
            |wal| Self::Apart { data: free(&all), wal: free(&wal) },
        ))
    }
}

fn decide(need: &Need, room: Option<Room>) -> Vec<Finding> {
    let Some(room) = room else {
        let what = format!("the run needs about {} of disk on the server", ByteSize(need.green + need.wal));
        return vec![Finding::server("disk", what, "make sure that there is as much").into_note()];
    };
    let needs = match room {
        Room::Shared(free) => {
            vec![("green and its WAL", need.green + need.wal, free, "or lower settings.wal_budget")]
        }
        Room::Apart { data, wal } => vec![
            ("green", need.green, data, "or migrate fewer tables in one plan"),
            ("WAL", need.wal, wal, "or lower settings.wal_budget"),
        ],
    };
    let refusal = |(of, need, free, other): (&str, u64, u64, &str)| {
        let what =
            format!("{of} will need about {} of disk, and {} are free", ByteSize(need), ByteSize(free));
        (free < need).then(|| Finding::server("disk", what, format!("make room, {other}")))
    };
    needs.into_iter().filter_map(refusal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn refusals(need: Need, room: Room) -> Vec<String> {
        decide(&need, Some(room))
            .into_iter()
            .filter(Finding::is_refusal)
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn wal_is_as_much_as_the_tables_or_the_budget() {
        assert_eq!(Need::of(3 * GIB, 8 * GIB).wal, 3 * GIB);
        assert_eq!(Need::of(30 * GIB, 8 * GIB).wal, 8 * GIB);
    }

    #[test]
    fn data_and_wal_must_fit_together_on_one_filesystem() {
        let need = Need { green: 3 * GIB, wal: 2 * GIB };
        assert!(refusals(need, Room::Shared(5 * GIB)).is_empty());
        let refused = refusals(need, Room::Shared(5 * GIB - 1));
        assert_eq!(refused, ["green and its WAL will need about 5.0 GiB of disk, and 5.0 GiB are free"]);
    }

    #[test]
    fn apart_each_must_fit_by_itself() {
        let need = Need { green: 3 * GIB, wal: 2 * GIB };
        assert!(refusals(need, Room::Apart { data: 3 * GIB, wal: 2 * GIB }).is_empty());
        assert_eq!(refusals(need, Room::Apart { data: 9 * GIB, wal: GIB }).len(), 1);
        assert_eq!(refusals(need, Room::Apart { data: GIB, wal: GIB }).len(), 2);
    }

    #[test]
    fn where_nothing_is_known_the_need_is_a_note() {
        let told = decide(&Need { green: GIB, wal: GIB }, None);
        assert!(told.iter().all(|finding| !finding.is_refusal() && finding.what.contains("2.0 GiB")));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn a_directory_of_this_machine_has_room() {
        assert!(matches!(Room::of(Path::new("/")), Some(Room::Shared(free)) if free > 0));
        assert!(Room::of(Path::new("/no/such/directory")).is_none());
    }
}
