//! The server's version and settings.

use super::Finding;
use crate::error::Error;
use crate::pg::connect::Session;

const OLDEST: u32 = 140_000;

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let version = session.server_version_num();
    if version < OLDEST {
        let what =
            format!("the server is version {}, and 14 is the oldest that is supported", version / 10_000);
        findings.push(Finding::server("version", what, "upgrade the server"));
    }
    let sql = "SELECT current_setting('wal_level'), pg_is_in_recovery(), current_setting('default_transaction_read_only')";
    let row = session.query_one(sql, &[]).await.map_err(Error::doing("reading settings"))?;
    let (wal_level, is_standby, read_only): (String, bool, String) = (row.get(0), row.get(1), row.get(2));
    if is_standby {
        findings.push(Finding::server("primary", "the server is a standby", "connect to the primary"));
    }
    if wal_level != "logical" {
        let what = format!("wal_level is `{wal_level}`, and logical decoding needs `logical`");
        let mend = "alter system set wal_level = 'logical'; then restart the server";
        findings.push(Finding::server("wal_level", what, mend));
    }
    if read_only == "on" {
        let what = "default_transaction_read_only is on for this role or database";
        findings.push(Finding::server(
            "read_only",
            what,
            "alter role ... set default_transaction_read_only = off",
        ));
    }
    Ok(findings)
}
