//! Free connections: on the server, to the database, for the role.

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::Ident;
use crate::pg::connect::Session;
use crate::plan::Plan;

/// Connections beside the workers': journal, pace, apply, marker, the phase's own, two snapshots, and two that compare.
const BESIDE_WORKERS: i64 = 9;
/// Connection limits also count a stream, and the connection that creates a slot.
const STREAMS: i64 = 2;

const FREE: &str = "
SELECT current_setting('max_connections')::bigint - coalesce(current_setting('reserved_connections', true)::bigint, 0)
       - CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::bigint END
       - (SELECT sum(numbackends) FROM pg_stat_database)::bigint,
       CASE WHEN d.datconnlimit >= 0 AND NOT r.rolsuper THEN d.datconnlimit -
           (SELECT count(*) FROM pg_stat_activity WHERE datid = d.oid) END,
       CASE WHEN r.rolconnlimit >= 0 AND NOT r.rolsuper THEN r.rolconnlimit -
           (SELECT count(*) FROM pg_stat_activity WHERE usesysid = r.oid) END,
       r.rolname::text, d.datname::text
FROM pg_roles r, pg_database d WHERE r.rolname = session_user AND d.datname = current_database()";

pub(super) async fn check(plan: &Plan, session: &Session) -> Result<Vec<Finding>, Error> {
    let workers = plan.settings.workers;
    lacking(session, &format!("a run with {workers} workers needs up to"), workers, BESIDE_WORKERS).await
}

/// A finding if there are too few for so many workers more.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn more(session: &Session, workers: usize) -> Result<Vec<Finding>, Error> {
    lacking(session, &format!("{workers} more workers need"), workers, 0).await
}

/// What limits leave too few connections to `who`, workers and others.
async fn lacking(session: &Session, who: &str, workers: usize, beside: i64) -> Result<Vec<Finding>, Error> {
    let row = session.query_one(FREE, &[]).await.doing("counting connections")?;
    let needed = i64::try_from(workers).unwrap_or(i64::MAX).saturating_add(beside);
    let (role, database) = (Ident(row.get(3)), Ident(row.get(4)));
    let limits = [
        (
            row.get::<_, Option<i64>>(0),
            needed,
            "on the server".to_owned(),
            "raise max_connections".to_owned(),
        ),
        (
            row.get(1),
            needed + STREAMS,
            format!("to database {database}"),
            format!("alter database {database} connection limit -1"),
        ),
        (
            row.get(2),
            needed + STREAMS,
            format!("for role {role}"),
            format!("alter role {role} connection limit -1"),
        ),
    ];
    // This connection will be closed by then.
    let too_few =
        limits.into_iter().filter_map(|(free, needed, of, hint)| Some((free? + 1, needed, of, hint)));
    let finding = |(free, needed, of, hint): (i64, i64, String, String)| {
        let free = free.max(0);
        let what = format!("{free} connections are free {of}, and {who} {needed}");
        Finding::server(CheckId::Connections, what, format!("lower settings.workers, or {hint}"))
    };
    Ok(too_few.filter(|(free, needed, ..)| free < needed).map(finding).collect())
}
