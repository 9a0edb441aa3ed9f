//! The statements of an attempt to swap whose text is known beforehand.

use crate::lane::feed::MESSAGE_PREFIX;
use crate::lifecycle::Prepared;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Literal, QName, list};
use crate::plan::SwapSettings;

/// In the order of their execution.
pub(crate) struct Statements {
    /// Begins the transaction, with its time-outs.
    pub(crate) begin: Statement,
    /// Keeps autovacuum away from green; does not hold up the feed, and no client waits behind it, so
    /// it may take as long as autovacuum takes to step aside.
    pub(crate) lock_green: Statement,
    /// From here on the time-outs of the live tables' lock.
    pub(crate) time_outs: Statement,
    /// Every live table, then the tables that their foreign keys point at, each once.
    pub(crate) locked: Vec<QName>,
    /// The lock on all of them, at once; clients wait behind it.
    pub(crate) lock_live: Statement,
    /// What is exchanged, each with its lane: one round trip.
    pub(crate) exchange: Vec<(usize, Statement)>,
    /// The exact boundary in the stream.
    pub(crate) boundary: Statement,
}

impl Statements {
    pub(crate) fn of(prepared: &Prepared, run: &str, settings: &SwapSettings) -> Self {
        let lock_timeout = settings.lock_timeout.as_millis();
        let statement_timeout = settings.max_write_stall.as_millis().max(lock_timeout + 1);
        let locked = locked(prepared);
        let greens: Vec<QName> = prepared.lanes.iter().map(|lane| lane.green.at_home()).collect();
        Self {
            begin: Statement::new(
                "begin a transaction",
                "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
                    SET LOCAL synchronous_commit = on",
            ),
            lock_green: lock(&greens, LockMode::ShareUpdateExclusive, "keep autovacuum away from green"),
            time_outs: Statement::new(
                "set the time-outs",
                format!(
                    "SET LOCAL lock_timeout = {lock_timeout}; SET LOCAL statement_timeout = {statement_timeout}"
                ),
            ),
            lock_live: lock(
                &locked,
                LockMode::AccessExclusive,
                "lock the live tables: from here on clients wait",
            ),
            locked,
            exchange: exchange(prepared),
            boundary: Statement::new(
                "mark the exact boundary in the stream",
                format!(
                    "SELECT pg_logical_emit_message(true, {}, {})",
                    Literal(MESSAGE_PREFIX),
                    Literal(&format!("swap:{run}"))
                ),
            ),
        }
    }
}

fn locked(prepared: &Prepared) -> Vec<QName> {
    let mut locks: Vec<QName> = prepared.lanes.iter().map(|lane| lane.table.clone()).collect();
    for lane in &prepared.lanes {
        for lock in lane.green.locks() {
            if !locks.contains(&lock) {
                locks.push(lock);
            }
        }
    }
    locks
}

fn lock(tables: &[QName], mode: LockMode, what: &str) -> Statement {
    let sql = format!("LOCK TABLE {} IN {mode} MODE", list(tables));
    tables.iter().fold(Statement::new(what, sql), |lock, table| lock.locking(table, mode))
}

fn exchange(prepared: &Prepared) -> Vec<(usize, Statement)> {
    let of_lanes = prepared.lanes.iter().map(|lane| lane.green.exchange()).enumerate();
    let (mut statements, mut after) = (Vec::new(), Vec::new());
    for (lane, exchange) in of_lanes {
        statements.extend(exchange.before.into_iter().map(|statement| (lane, statement)));
        after.extend(exchange.after.into_iter().map(|statement| (lane, statement)));
    }
    statements.extend(after);
    statements
}
