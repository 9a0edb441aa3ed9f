//! The statements of an attempt to swap whose text is known beforehand.

use std::time::Duration;

use crate::green;
use crate::hangs_on::Dependent;
use crate::lane::feed::MESSAGE_PREFIX;
use crate::lifecycle::Prepared;
use crate::pg::sql::{LockMode, Statement};
use crate::pg::{Colour, Literal, QName, list};
use crate::phase::locks::Limits;
use crate::plan::SwapSettings;

/// Our session is taken to be frozen if it is idle for this much longer than an attempt may take.
const FROZEN_AFTER: Duration = Duration::from_secs(2);

/// The statements, in the order of their execution.
pub(crate) struct Statements {
    /// Begins the transaction, with its time-outs.
    pub(crate) begin: Statement,
    /// Keeps autovacuum away from the tables that will be live and from every table locked later. It does not hold up
    /// the feed, and no client waits behind it, so it may take as long as autovacuum takes to step aside.
    pub(crate) displace: Statement,
    /// Every live table, then the tables that their foreign keys point at, each once.
    pub(crate) locked: Vec<QName>,
    /// The lock on all of them, at once; clients wait behind it.
    pub(crate) lock_live: Statement,
    /// What depends on them and is altered in the swap, and what the plan's steps lock in it.
    pub(crate) dependents: Vec<QName>,
    /// The lock on all of that; `None` if there is nothing.
    pub(crate) lock_dependents: Option<Statement>,
    /// Every sequence that belongs to a live table.
    pub(crate) sequences: Vec<QName>,
    /// The locks on them. `nextval` waits behind them, so that blue's sequences stand still.
    pub(crate) lock_sequences: Vec<Statement>,
    /// Sets the time-outs of the work under the locks, which asks for no lock that somebody else may hold.
    pub(crate) time_outs: Statement,
    /// The exchange, each statement with its lane: one round trip.
    pub(crate) exchange: Vec<(usize, Statement)>,
    /// Marks the exact boundary in the stream.
    pub(crate) boundary: Statement,
}

/// The order of the locks that clients queue behind.
pub(super) struct Order {
    /// Whether to lock sequences before tables.
    pub(super) sequences_first: bool,
    /// Whether to lock what depends on the tables before them. A statement on a view locks the view first, and one that
    /// writes a referencing table locks that first: whoever locks the table first meets, while it waits for the view,
    /// clients that hold the view and wait behind it. A transaction that has used the table before the view needs the
    /// opposite order. Odd attempts begin with dependents.
    pub(super) dependents_first: bool,
}

impl Order {
    /// The order for the next time they are asked for: all four in turn.
    pub(super) fn turned(&self, number: u32) -> Self {
        Self {
            sequences_first: self.sequences_first ^ (number / 2 % 2 == 1),
            dependents_first: self.dependents_first ^ (number % 2 == 1),
        }
    }
}

impl Statements {
    /// The locks that clients queue behind, in this order.
    pub(super) fn locks(&self, order: &Order) -> Vec<&Statement> {
        let mut locks: Vec<&Statement> = self.lock_sequences.iter().collect();
        locks.insert(if order.sequences_first { locks.len() } else { 0 }, &self.lock_live);
        if let Some(lock) = &self.lock_dependents {
            locks.insert(if order.dependents_first { 0 } else { locks.len() }, lock);
        }
        locks
    }

    /// Those after which `who` is live. `steps`: what those of the swap lock, see [`crate::phase::steps::locked`].
    pub(crate) fn of(
        prepared: &Prepared,
        run: &str,
        (who, steps): (Colour, &[(QName, LockMode)]),
        settings: &SwapSettings,
        limits: &Limits,
    ) -> Self {
        let lock_timeout = limits.brief(settings.lock_timeout);
        let locked = locked(prepared);
        let greens = prepared.greens();
        let dependents: Vec<Dependent> =
            green::dependents(&greens, who).into_iter().map(|(_, dependent)| dependent).collect();
        let displaced = displaced(prepared, &locked, &dependents, who);
        let others: Vec<&(QName, LockMode)> =
            steps.iter().filter(|(relation, _)| !locked.contains(relation)).collect();
        let mut altered = relations(&dependents, &locked);
        let more = others.iter().map(|(relation, _)| relation).filter(|relation| !altered.contains(relation));
        altered.extend(more.cloned().collect::<Vec<_>>());
        let lock_sequences: Vec<Statement> =
            prepared.lanes.iter().flat_map(|lane| lane.green.lock_sequences(who.other())).collect();
        Self {
            begin: begin(settings, limits),
            displace: displace(&displaced, &dependents, lock_timeout),
            lock_live: lock(
                &locked,
                LockMode::AccessExclusive,
                "lock the live tables: from here on clients wait",
            ),
            lock_dependents: lock_dependents(&dependents, &others),
            dependents: altered,
            locked,
            sequences: lock_sequences.iter().filter_map(|lock| lock.on.clone()).collect(),
            lock_sequences,
            time_outs: Statement::new(
                "set the time-outs",
                format!(
                    "SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}",
                    (lock_timeout / 3).as_millis().max(1),
                    settings.max_write_stall.max(lock_timeout).as_millis() + 1
                ),
            ),
            exchange: green::exchange(&greens, who),
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

/// Standbys are waited for once the locks are released; if we freeze, the server ends the transaction.
fn begin(settings: &SwapSettings, limits: &Limits) -> Statement {
    let idle = settings.max_write_stall + settings.lock_timeout + FROZEN_AFTER;
    let look = if limits.may_look_sooner { "; SET LOCAL deadlock_timeout = '50ms'" } else { "" };
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '{}ms'; SET LOCAL idle_in_transaction_session_timeout = '{}ms'; \
         SET LOCAL synchronous_commit = local{look}",
        limits.patient().as_millis(),
        idle.as_millis()
    );
    Statement::new("begin a transaction", sql)
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

/// First the tables: for them it may have to wait. REFRESH waits behind the others, perhaps in a transaction that has
/// refreshed another one: for all of them together it waits no longer than for a lock that clients queue behind.
fn displace(tables: &[QName], dependents: &[Dependent], within: Duration) -> Statement {
    let mut all = lock(tables, LockMode::ShareUpdateExclusive, "keep autovacuum away");
    let others: Vec<&Statement> = dependents.iter().flat_map(|dependent| &dependent.displace).collect();
    if let Ok(count @ 1..) = u32::try_from(others.len()) {
        let each = (within / count).as_millis().max(1);
        all.sql = format!("{}; SET LOCAL lock_timeout = {each}", all.sql);
    }
    for other in others {
        all.sql = format!("{}; {}", all.sql, other.sql);
        all.locks.extend(other.locks.iter().cloned());
    }
    all
}

/// What depends on the tables, is altered and is not among them, each once.
fn relations(dependents: &[Dependent], locked: &[QName]) -> Vec<QName> {
    let mut relations: Vec<QName> = Vec::new();
    for Dependent { relation, .. } in dependents.iter().filter(|of| of.lock.is_some()) {
        if !relations.contains(relation) && !locked.contains(relation) {
            relations.push(relation.clone());
        }
    }
    relations
}

/// The tables that autovacuum has to leave: those that arrive, and all that are locked later.
fn displaced(prepared: &Prepared, locked: &[QName], dependents: &[Dependent], who: Colour) -> Vec<QName> {
    let arriving = prepared.lanes.iter().map(|lane| lane.green.home_of(who));
    let is_table = |relation: &QName| dependents.iter().any(|of| of.is_table && of.relation == *relation);
    let others = relations(dependents, locked).into_iter().filter(is_table);
    arriving.chain(locked.iter().cloned()).chain(others).collect()
}

/// One statement, so that one time-out holds for all of it.
fn lock_dependents(dependents: &[Dependent], others: &[&(QName, LockMode)]) -> Option<Statement> {
    let mut locks: Vec<String> = Vec::new();
    let of_others = others.iter().map(|(relation, mode)| lock_if_there(relation, *mode));
    for lock in dependents.iter().filter_map(|dependent| dependent.lock.clone()).chain(of_others) {
        if !locks.contains(&lock) {
            locks.push(lock);
        }
    }
    let body = format!("BEGIN {}; END", locks.join("; "));
    let lock = Statement::new("lock what depends on the live tables", format!("DO {}", Literal(&body)));
    let locking = |lock: Statement, of: &Dependent| lock.locking(&of.relation, LockMode::AccessExclusive);
    let lock = dependents.iter().filter(|of| of.lock.is_some()).fold(lock, locking);
    let lock = others.iter().fold(lock, |lock, (relation, mode)| lock.locking(relation, *mode));
    (!locks.is_empty()).then_some(lock)
}

/// Locks a relation that a step names, if there is such a one. LOCK TABLE on a view would lock what that reads, too; to give it the
/// owner that it has locks the view, and needs no right that a step would not need.
fn lock_if_there(relation: &QName, mode: LockMode) -> String {
    let name = Literal(&relation.to_string()).to_string();
    let of_kind = |kinds: &str| {
        format!(
            "(SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({name}) AND relkind IN ({kinds}))"
        )
    };
    format!(
        "IF {views} THEN EXECUTE (SELECT pg_catalog.format('ALTER %s %s OWNER TO %I', CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, \
         oid::pg_catalog.regclass, pg_catalog.pg_get_userbyid(relowner)) FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({name})); \
         ELSIF {tables} THEN LOCK TABLE {relation} IN {mode} MODE; END IF",
        views = of_kind("'v', 'm'"),
        tables = of_kind("'r', 'p'"),
    )
}
