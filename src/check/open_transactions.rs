//! Transactions that are open for long: they hold up the consistent points, and the swap.

use super::Finding;
use crate::error::Error;
use crate::pg::connect::Session;
use crate::pg::{Ident, Literal};

/// Seconds after which a transaction is worth a note.
const LONG_S: f64 = 5.0;

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    let sql = "SELECT format('process %s of %s (%s), state %s, open for %s s', pid, usename, application_name, state, \
               round(extract(epoch FROM clock_timestamp() - xact_start))), pid \
               FROM pg_stat_activity WHERE xact_start < clock_timestamp() - make_interval(secs => $1) \
               AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) AND pid <> pg_backend_pid() \
               AND backend_type = 'client backend'";
    let rows = session.query(sql, &[&LONG_S]).await.map_err(Error::doing("looking for open transactions"))?;
    let mut findings: Vec<Finding> = rows
        .iter()
        .map(|row| {
            let what = format!("an open transaction will hold up the run: {}", row.get::<_, String>(0));
            let mend = format!("end it, or wait: select pg_terminate_backend({})", row.get::<_, i32>(1));
            Finding::server("open transactions", what, mend).into_note()
        })
        .collect();
    let sql = "SELECT gid, to_char(prepared, 'YYYY-MM-DD HH24:MI'), database::text FROM pg_prepared_xacts ORDER BY gid";
    for row in session.query(sql, &[]).await.map_err(Error::doing("looking for prepared transactions"))? {
        let (gid, since): (String, String) = (row.get(0), row.get(1));
        let what = format!("a prepared transaction `{gid}` of {since} keeps a slot from being made");
        let (gid, database) = (Literal(&gid), Ident(row.get(2)));
        let mend = format!("commit prepared {gid}, or rollback prepared {gid}, in database {database}");
        findings.push(Finding::server("prepared transactions", what, mend));
    }
    Ok(findings)
}
