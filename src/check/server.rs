//! The server's version and settings.

use super::Finding;
use crate::error::{Doing, Error};
use crate::pg::Ident;
use crate::pg::connect::Session;

/// `server_version_num` of the oldest version that is supported.
const OLDEST: u32 = 140_000;

pub(super) async fn check(session: &Session) -> Result<Vec<Finding>, Error> {
    let mut findings: Vec<Finding> = version(session.server_version_num()).into_iter().collect();
    let sql = "SELECT coalesce(current_setting('effective_wal_level', true), current_setting('wal_level')), \
               current_setting('effective_wal_level', true) IS NOT NULL, pg_is_in_recovery(), \
               current_setting('default_transaction_read_only'), current_user::text, current_database()::text, \
               pg_catalog.getdatabaseencoding()::text";
    let row = session.query_one(sql, &[]).await.doing("reading settings")?;
    let (wal_level, is_standby, read_only): (String, bool, String) = (row.get(0), row.get(2), row.get(3));
    if is_standby {
        findings.push(Finding::server("primary", "the server is a standby", "connect to the primary"));
    }
    if !may_decode(&wal_level, row.get(1)) {
        let what = format!("wal_level is `{wal_level}`, and logical decoding needs `logical`");
        let hint = "alter system set wal_level = 'logical'; then restart the server";
        findings.push(Finding::server("wal_level", what, hint));
    }
    // The server checks no text there, and gives nobody the ones that are not UTF-8 as such.
    if row.get::<_, &str>(6) == "SQL_ASCII" {
        let what =
            "the database has no encoding (SQL_ASCII), so that its texts may be of any, and not be read";
        let hint = "migrate in a database with an encoding: pg_dump --encoding=..., createdb --encoding=UTF8";
        findings.push(Finding::server("encoding", what, hint));
    }
    if read_only == "on" {
        let what = "default_transaction_read_only is on for this role or database";
        // What is set for a role in a database counts more than all that is set elsewhere.
        let (role, database) = (Ident(row.get(4)), Ident(row.get(5)));
        let hint =
            format!("alter role {role} in database {database} set default_transaction_read_only = off");
        findings.push(Finding::server("read_only", what, hint));
    }
    Ok(findings)
}

/// Whether a logical slot can be made, as far as the settings tell. A server that has `effective_wal_level`
/// (PostgreSQL 19 and later) raises it from `replica` when the first slot is made; there the probe has the word.
fn may_decode(wal_level: &str, rises: bool) -> bool {
    wal_level == "logical" || rises && wal_level == "replica"
}

fn version(number: u32) -> Option<Finding> {
    let what =
        || format!("the server is version {}, and 14 is the oldest that is supported", number / 10_000);
    (number < OLDEST).then(|| Finding::server("version", what(), "upgrade the server"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replica_is_enough_where_the_server_raises_it() {
        assert!(may_decode("logical", false) && may_decode("replica", true));
        assert!(!may_decode("replica", false) && !may_decode("minimal", true));
    }

    #[test]
    fn version_14_is_the_oldest() {
        assert_eq!(version(140_000), None);
        assert_eq!(version(180_001), None);
        let refusal = version(130_022);
        assert!(refusal.is_some_and(|refusal| refusal.is_refusal() && refusal.what.contains("version 13")));
    }
}
