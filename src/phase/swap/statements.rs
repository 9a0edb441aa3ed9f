//! The statements of an attempt to swap whose text is known beforehand.

use crate::lane::feed::MESSAGE_PREFIX;
use crate::lifecycle::Prepared;
use crate::pg::{Literal, QName, list};
use crate::plan::SwapSettings;

/// In the order of their execution.
pub(crate) struct Statements {
    /// Begins the transaction, with its time-outs.
    pub(crate) begin: String,
    /// Keeps autovacuum away from green; does not hold up the feed, and no client waits behind it, so
    /// it may take as long as autovacuum takes to step aside.
    pub(crate) lock_green: String,
    /// From here on the time-outs of the live tables' lock.
    pub(crate) time_outs: String,
    /// Every live table, then the tables that their foreign keys point at, each once.
    pub(crate) locked: Vec<QName>,
    /// The lock on all of them, at once; clients wait behind it.
    pub(crate) lock_live: String,
    /// What is exchanged: one round trip.
    pub(crate) exchange: Vec<String>,
    /// The exact boundary in the stream.
    pub(crate) boundary: String,
}

impl Statements {
    pub(crate) fn of(prepared: &Prepared, run: &str, settings: &SwapSettings) -> Self {
        let lock_timeout = settings.lock_timeout.as_millis();
        let statement_timeout = settings.max_write_stall.as_millis().max(lock_timeout + 1);
        let locked = locked(prepared);
        let greens = list(prepared.lanes.iter().map(|lane| lane.green.at_home()));
        Self {
            begin:
                "BEGIN; SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '5s'; \
                    SET LOCAL synchronous_commit = on"
                    .to_owned(),
            lock_green: format!("LOCK TABLE {greens} IN SHARE UPDATE EXCLUSIVE MODE"),
            time_outs: format!(
                "SET LOCAL lock_timeout = {lock_timeout}; SET LOCAL statement_timeout = {statement_timeout}"
            ),
            lock_live: format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", list(&locked)),
            locked,
            exchange: exchange(prepared),
            boundary: format!(
                "SELECT pg_logical_emit_message(true, {}, {})",
                Literal(MESSAGE_PREFIX),
                Literal(&format!("swap:{run}"))
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

fn exchange(prepared: &Prepared) -> Vec<String> {
    let exchanges: Vec<_> = prepared.lanes.iter().map(|lane| lane.green.exchange()).collect();
    let (before, after): (Vec<_>, Vec<_>) =
        exchanges.into_iter().map(|exchange| (exchange.before, exchange.after)).unzip();
    before.into_iter().chain(after).flatten().collect()
}
