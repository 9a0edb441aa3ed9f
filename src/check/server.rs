//! The server's version and settings.

use tokio_postgres::Row;

use super::{CheckId, Finding};
use crate::error::{Doing, Error};
use crate::pg::Ident;
use crate::pg::connect::Session;

/// `server_version_num` of the oldest version that is supported.
const OLDEST: u32 = 140_000;

pub(super) fn version(number: u32) -> Option<Finding> {
    let what =
        || format!("the server is version {}, and 14 is the oldest that is supported", number / 10_000);
    (number < OLDEST).then(|| Finding::server(CheckId::Version, what(), "upgrade the server"))
}

pub(super) async fn primary(session: &Session) -> Result<Option<Finding>, Error> {
    let is_standby: bool = ask(session, "SELECT pg_is_in_recovery()").await?.get(0);
    let refusal = || Finding::server(CheckId::Primary, "the server is a standby", "connect to the primary");
    Ok(is_standby.then(refusal))
}

pub(super) async fn wal_level(session: &Session) -> Result<Option<Finding>, Error> {
    let sql = "SELECT coalesce(current_setting('effective_wal_level', true), current_setting('wal_level')), \
               current_setting('effective_wal_level', true) IS NOT NULL";
    let row = ask(session, sql).await?;
    let level: String = row.get(0);
    if may_decode(&level, row.get(1)) {
        return Ok(None);
    }
    let what = format!("wal_level is `{level}`, and logical decoding needs `logical`");
    let hint = "alter system set wal_level = 'logical'; then restart the server";
    Ok(Some(Finding::server(CheckId::WalLevel, what, hint)))
}

/// Whether the settings allow a logical slot. A server that has `effective_wal_level`
/// (PostgreSQL 19 and later) raises it from `replica` when the first slot is created; there the probe decides.
fn may_decode(wal_level: &str, rises: bool) -> bool {
    wal_level == "logical" || rises && wal_level == "replica"
}

/// In a database without an encoding the server neither validates texts nor converts them to the client's encoding.
pub(super) async fn encoding(session: &Session) -> Result<Option<Finding>, Error> {
    let row = ask(session, "SELECT pg_catalog.getdatabaseencoding()::text").await?;
    if row.get::<_, &str>(0) != "SQL_ASCII" {
        return Ok(None);
    }
    let what =
        "the database has no encoding (SQL_ASCII): its texts may be in any, and cannot be read reliably";
    let hint = "migrate in a database with an encoding: pg_dump --encoding=..., createdb --encoding=UTF8";
    Ok(Some(Finding::server(CheckId::Encoding, what, hint)))
}

pub(super) async fn read_only(session: &Session) -> Result<Option<Finding>, Error> {
    let sql = "SELECT current_setting('default_transaction_read_only'), current_user::text, current_database()::text";
    let row = ask(session, sql).await?;
    if row.get::<_, &str>(0) != "on" {
        return Ok(None);
    }
    let what = "default_transaction_read_only is on for this role or database";
    // A setting for a role in a database overrides all others.
    let (role, database) = (Ident(row.get(1)), Ident(row.get(2)));
    let hint = format!("alter role {role} in database {database} set default_transaction_read_only = off");
    Ok(Some(Finding::server(CheckId::ReadOnly, what, hint)))
}

async fn ask(session: &Session, sql: &str) -> Result<Row, Error> {
    session.query_one(sql, &[]).await.doing("reading settings")
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
