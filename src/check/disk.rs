//! Room for green, its indexes, and the WAL of all of it.
//!
//! PostgreSQL does not report how much room there is. If the server runs on this machine and its
//! directories are accessible, a run that cannot fit is refused; otherwise the need is a note.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::pg::connect::Session;
use crate::plan::Plan;

pub(super) async fn check(
    plan: &Plan,
    session: &Session,
    subjects: &[Subject<'_>],
) -> Result<Vec<Finding>, Error> {
    let data = data_directory(session).await?;
    let mut needs = Vec::new();
    for subject in subjects {
        let table = &subject.definition.table;
        let place = tablespace(session, table.oid).await?.or_else(|| data.clone());
        needs.push(Need { what: "green", bytes: table.table_bytes + table.index_bytes, place });
    }
    // About as much again at its peak, as WAL is recycled at checkpoints, but never more than the slot
    // may hold back.
    let wal = needs.iter().map(|need| need.bytes).sum::<u64>().min(plan.settings.wal_budget_bytes);
    let place = data.map(|data| Some(data.join("pg_wal")).filter(|wal| wal.exists()).unwrap_or(data));
    needs.push(Need { what: "its WAL", bytes: wal, place });
    let is_local = is_local(session).await?;
    Ok(decide(&needs, &|place| if is_local { Volume::of(place) } else { None }))
}

/// Bytes that a run needs somewhere.
#[derive(Clone, Debug)]
struct Need {
    what: &'static str,
    bytes: u64,
    /// `None` if the server does not say.
    place: Option<PathBuf>,
}

/// A filesystem and its free bytes.
#[derive(Clone, Copy, Debug)]
struct Volume {
    device: u64,
    free: u64,
}

impl Volume {
    fn of(place: &Path) -> Option<Self> {
        let device = std::fs::metadata(place).ok()?.dev();
        let room = rustix::fs::statvfs(place).ok()?;
        Some(Self { device, free: room.f_bavail.saturating_mul(room.f_frsize) })
    }
}

/// Whether the server's directories are on this machine, judging by its address.
async fn is_local(session: &Session) -> Result<bool, Error> {
    let sql = "SELECT inet_server_addr() IS NULL OR inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1'";
    let row = session.query_one(sql, &[]).await.doing("asking for the server's address")?;
    Ok(row.get(0))
}

/// The server's data directory; `None` if the role may not read it (only superusers and pg_read_all_settings may).
async fn data_directory(session: &Session) -> Result<Option<PathBuf>, Error> {
    match session.query_one("SELECT current_setting('data_directory', true)", &[]).await {
        Ok(row) => Ok(row.get::<_, Option<String>>(0).map(PathBuf::from)),
        Err(error) if error.is_closed() => Err(error).doing("asking for the data directory"),
        Err(_) => Ok(None),
    }
}

/// The directory of a table's tablespace; `None` if that is inside the data directory.
async fn tablespace(session: &Session, table: u32) -> Result<Option<PathBuf>, Error> {
    let sql = "SELECT nullif(pg_tablespace_location(coalesce(nullif(c.reltablespace, 0), d.dattablespace)), '') \
               FROM pg_class c, pg_database d WHERE c.oid = $1 AND d.datname = current_database()";
    let row = session.query_one(sql, &[&table]).await.doing("asking for a tablespace")?;
    Ok(row.get::<_, Option<String>>(0).map(PathBuf::from))
}

fn decide(needs: &[Need], volume_of: &dyn Fn(&Path) -> Option<Volume>) -> Vec<Finding> {
    let mut volumes: Vec<(Volume, Vec<&Need>)> = Vec::new();
    let mut unknown = 0;
    for need in needs {
        let Some(volume) = need.place.as_deref().and_then(volume_of) else {
            unknown += need.bytes;
            continue;
        };
        match volumes.iter_mut().find(|(known, _)| known.device == volume.device) {
            Some((_, needs)) => needs.push(need),
            None => volumes.push((volume, vec![need])),
        }
    }
    let mut findings: Vec<Finding> =
        volumes.iter().filter_map(|(volume, needs)| refusal(*volume, needs)).collect();
    if unknown > 0 {
        let what = format!("the run needs about {} of disk on the server", ByteSize(unknown));
        findings.push(Finding::server(CheckId::Disk, what, "make sure that this much is free").into_note());
    }
    findings
}

fn refusal(volume: Volume, needs: &[&Need]) -> Option<Finding> {
    let bytes: u64 = needs.iter().map(|need| need.bytes).sum();
    if bytes <= volume.free {
        return None;
    }
    let mut of: Vec<&str> = needs.iter().map(|need| need.what).collect();
    of.dedup();
    let place = needs.first().and_then(|need| need.place.as_deref()).unwrap_or(Path::new("?"));
    let what = format!(
        "{} will need about {} of disk at {}, and {} are free there",
        of.join(" and "),
        ByteSize(bytes),
        place.display(),
        ByteSize(volume.free)
    );
    let hint = if of.contains(&"its WAL") {
        "make room, or lower settings.wal_budget"
    } else {
        "make room, or migrate fewer tables in one plan"
    };
    Some(Finding::server(CheckId::Disk, what, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn need(what: &'static str, gib: u64, place: &str) -> Need {
        Need { what, bytes: gib * GIB, place: Some(place.into()) }
    }

    /// `/a` and what is under it is one filesystem, everything else another.
    fn told(needs: &[Need], a: u64, other: u64) -> Vec<Finding> {
        decide(needs, &|place| {
            let in_a = place.starts_with("/a");
            Some(Volume { device: u64::from(in_a), free: if in_a { a } else { other } })
        })
    }

    #[test]
    fn what_is_on_one_filesystem_must_fit_together() {
        let needs = [need("green", 1, "/a/x"), need("green", 2, "/a/y"), need("its WAL", 2, "/a/pg_wal")];
        assert!(told(&needs, 5 * GIB, 0).is_empty());
        let refused = told(&needs, 5 * GIB - 1, 9 * GIB);
        assert_eq!(
            refused[0].what,
            "green and its WAL will need about 5.0 GiB of disk at /a/x, and 5.0 GiB are free there"
        );
        assert!(refused.len() == 1 && refused[0].is_refusal());
    }

    #[test]
    fn apart_each_must_fit_by_itself() {
        let needs = [need("green", 3, "/a"), need("its WAL", 2, "/b")];
        assert!(told(&needs, 3 * GIB, 2 * GIB).is_empty());
        assert_eq!(told(&needs, 9 * GIB, GIB).len(), 1);
        assert_eq!(told(&needs, GIB, GIB).len(), 2);
    }

    #[test]
    fn where_nothing_is_known_the_need_is_a_note() {
        let needs = [need("green", 1, "/a"), Need { place: None, ..need("its WAL", 1, "") }];
        let told = decide(&needs, &|_| None);
        assert!(told.iter().all(|finding| !finding.is_refusal() && finding.what.contains("2.0 GiB")));
        assert_eq!(told.len(), 1);
    }

    #[test]
    fn a_directory_of_this_machine_has_room() {
        assert!(matches!(Volume::of(Path::new("/")), Some(Volume { free, .. }) if free > 0));
        assert!(Volume::of(Path::new("/no/such/directory")).is_none());
    }
}
