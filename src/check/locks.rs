//! Locks: every partition and each of its indexes is locked separately, and the server's lock table has a
//! fixed size that all sessions share.
//!
//! The most are needed when all partitions are truncated in one transaction (because blue was
//! truncated): each with its indexes, its TOAST table and that table's index.

use super::{CheckId, Finding, Subject};
use crate::error::{Doing, Error};
use crate::hangs_on::Green;
use crate::pg::connect::Session;

/// Relations of a partition beside its indexes: itself, its TOAST table, and that table's index.
const RELATIONS_OF_A_LEAF: i64 = 3;
/// One of so many parts of the server's locks is left to clients.
const PART_FOR_CLIENTS: i64 = 4;

pub(super) async fn check(session: &Session, subjects: &[Subject<'_>]) -> Result<Vec<Finding>, Error> {
    let greens = subjects.iter().filter_map(|subject| Some(&subject.design.as_ref()?.green));
    let needed: i64 = greens.map(needed).sum();
    // As many as the server's lock table has room for.
    let sql = "SELECT current_setting('max_locks_per_transaction')::bigint, current_setting('max_connections')::bigint \
               + current_setting('autovacuum_max_workers')::bigint + 1 + current_setting('max_worker_processes')::bigint \
               + current_setting('max_wal_senders')::bigint + current_setting('max_prepared_transactions')::bigint";
    let row = session.query_one(sql, &[]).await.doing("counting locks")?;
    let (each, backends): (i64, i64) = (row.get(0), row.get(1));
    let all = each * backends;
    if needed <= all - all / PART_FOR_CLIENTS {
        return Ok(Vec::new());
    }
    let enough = (needed * PART_FOR_CLIENTS / (PART_FOR_CLIENTS - 1) / backends + 1).max(each + 1);
    let what = format!(
        "the partitions and their indexes need {needed} locks at once, and the server has {all} for all sessions"
    );
    let hint = format!(
        "alter system set max_locks_per_transaction = {enough}; and restart the server, or make fewer partitions"
    );
    Ok(vec![Finding::server(CheckId::Locks, what, hint)])
}

fn needed(green: &Green) -> i64 {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let each = RELATIONS_OF_A_LEAF + count(green.indexes.len());
    count(green.row_holders().len()).saturating_mul(each)
}
