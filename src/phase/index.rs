//! Index: green's indexes, leaf by leaf in parallel, then attached to the parent without a scan.
//!
//! Each statement is one transaction with its fact, so a resumed run continues with the next leaf. The
//! key's index is built at the end of the copy (or before its second round), because the stream finds
//! rows by it; all others are built while the stream runs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;

use crate::error::{Doing, Error};
use crate::event::Event;
use crate::green;
use crate::hangs_on::unique_keys::UniqueKey;
use crate::hangs_on::{Fingerprint, GreenColumn};
use crate::lifecycle::{Fact, Phase, Prepared};
use crate::pg::connect::Session;
use crate::pg::sql::{Statement, joined};
use crate::pg::{Ident, QName};
use crate::run::Run;

use super::{analyze, keys};

/// A statement that builds or attaches an index of green.
pub(crate) struct IndexStep {
    /// The number of its lane.
    pub(crate) lane: usize,
    /// Its position among the lane's steps, from 0.
    pub(crate) step: usize,
    /// Whether the index is the key's, by which the stream finds rows: it is built first.
    pub(crate) is_key: bool,
    /// Whether it is on a relation that holds rows, and not on the parent.
    pub(crate) on_leaf: bool,
    /// The index and the relation, by which the journal knows the step whatever its position.
    pub(crate) name: String,
    /// The index's name on the parent.
    pub(crate) index: Ident,
    /// What builds or attaches the index.
    pub(crate) statement: Statement,
}

/// Steps on relations that hold rows, and those on the parents, which come after all of them.
#[derive(Default)]
struct IndexSteps {
    leaves: VecDeque<IndexStep>,
    parents: VecDeque<IndexStep>,
}

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    super::stream::catch_up(run).await?;
    let prepared = super::prepared(run)?;
    analyze::begin(run)?;
    build(run, steps(run, false)?).await?;
    analyze::finish(run).await?;
    keys::build(run, &prepared).await?;
    let client = run.connect("index").await?;
    // The feed waits behind its locks, so it steps back if an autovacuum has one of them.
    let statements: Vec<Statement> =
        completion(&prepared).into_iter().map(|(_, statement)| statement).collect();
    run.patience().execute(&client, &joined(&statements), "finishing the indexes").await?;
    let mut greens = Vec::new();
    for lane in &prepared.lanes {
        greens.push(Fingerprint::of(&client, &lane.green.at_home()).await?);
    }
    run.journal.commit(&client, Fact::Indexed { greens }).await?;
    Ok(())
}

/// What follows once all indexes exist, in one transaction; each with its lane, if it is for one.
pub(crate) fn completion(prepared: &Prepared) -> Vec<(Option<usize>, Statement)> {
    let lanes = prepared.lanes.iter().enumerate();
    let of_lanes = lanes.flat_map(|(number, lane)| {
        lane.green.after_indexes().into_iter().map(move |statement| (Some(number), statement))
    });
    let made = green::materialized::make(&prepared.greens()).into_iter().map(|statement| (None, statement));
    of_lanes.chain(made).collect()
}

/// Every statement that builds or attaches an index of green, lane by lane.
pub(crate) fn statements(prepared: &Prepared) -> Vec<IndexStep> {
    let mut statements = Vec::new();
    for (lane, design) in prepared.lanes.iter().enumerate() {
        let mut step = 0;
        for (number, index) in design.green.index_builds().into_iter().enumerate() {
            // Green's key, and the index that the stream finds rows by if that is another one.
            let is_key = number == 0 || index.name == design.key.index;
            let on_leaves = index.on_row_holders.into_iter().map(|statement| (true, statement));
            let on_parent = index.on_parent.map(|statement| (false, statement));
            for (on_leaf, statement) in on_leaves.chain(on_parent) {
                let on = statement.on.as_ref().map(QName::plain).unwrap_or_default();
                let name = format!("index {} on {on}", index.name.as_str());
                let index = index.name.clone();
                statements.push(IndexStep { lane, step, is_key, on_leaf, name, index, statement });
                step += 1;
            }
        }
    }
    statements
}

/// Builds the index of each lane's key, if it is missing.
pub(super) async fn build_keys(run: &mut Run<'_>) -> Result<(), Error> {
    build(run, steps(run, true)?).await?;
    let missing: Vec<usize> =
        (0..run.lanes.len()).filter(|lane| !run.journal.progress().keys_built.contains(lane)).collect();
    for lane in missing {
        run.journal.record(Fact::KeyBuilt { lane }).await?;
    }
    Ok(())
}

/// The steps that are not done yet: those of the keys' indexes if `keys`, otherwise all others.
fn steps(run: &Run<'_>, keys: bool) -> Result<IndexSteps, Error> {
    let mut steps = IndexSteps::default();
    for step in statements(&super::prepared(run)?) {
        let is_done = run.journal.progress().index_steps.has(step.lane, step.step, &step.name);
        if step.is_key == keys && !is_done {
            let of = if step.on_leaf { &mut steps.leaves } else { &mut steps.parents };
            of.push_back(step);
        }
    }
    Ok(steps)
}

async fn build(run: &Run<'_>, steps: IndexSteps) -> Result<(), Error> {
    let of = steps.leaves.len() + steps.parents.len();
    if of == 0 {
        return Ok(());
    }
    let workers = run.workers("index").await?;
    // The builds already run in parallel: parallel workers within each would only compete with them.
    if steps.leaves.len() > workers.len() {
        let sql = "SET max_parallel_maintenance_workers = 0";
        for worker in &workers {
            worker.batch_execute(sql).await.doing("building indexes")?;
        }
    }
    let reached = Reached { done: AtomicUsize::new(0), of };
    for some in [steps.leaves, steps.parents] {
        let queue = Mutex::new(some);
        let work = workers.iter().map(|session| worker(run, session, &queue, &reached));
        futures_util::future::try_join_all(work).await?;
    }
    Ok(())
}

/// Statements done, and how many there are.
struct Reached {
    done: AtomicUsize,
    of: usize,
}

async fn worker(
    run: &Run<'_>,
    session: &Session,
    queue: &Mutex<VecDeque<IndexStep>>,
    reached: &Reached,
) -> Result<(), Error> {
    let rest = run.pace.rest_of_a_worker();
    loop {
        let next = queue.lock().await.pop_front();
        let Some(IndexStep { lane, step, statement, name, index, .. }) = next else { return Ok(()) };
        let table = run.lanes[lane].table.plain();
        let doing = format!("building an index of green of {table}");
        let begun = Instant::now();
        match run.patience().execute(session, &statement.sql, &doing).await {
            Err(error) if error.sqlstate() == Some(&SqlState::UNIQUE_VIOLATION) => {
                return Err(not_unique(run, lane, &index).await?);
            }
            built => built?,
        }
        run.journal.commit(session, Fact::IndexBuilt { lane, step, what: name }).await?;
        tracing::debug!(table, step, ms = begun.elapsed().as_millis(), "index statement done");
        let done = reached.done.fetch_add(1, Ordering::Relaxed) + 1;
        run.cx.tell(&Event::Step { phase: Phase::Index, what: statement.what, done, of: reached.of });
        tokio::time::sleep(rest.after(begun.elapsed())).await;
    }
}

/// Why a unique index of green cannot be built: blue's own index has missed duplicates (a hint says how to find them),
/// or the plan maps several keys to one.
async fn not_unique(run: &Run<'_>, lane: usize, index: &Ident) -> Result<Error, Error> {
    let design = &super::prepared(run)?.lanes[lane];
    let blue = design.green.blue.indexes.iter().find(|of_blue| of_blue.name == *index);
    let is_changed = |name: &Ident| {
        let keeps = |column: &GreenColumn| column.source.unchanged() == Some(name);
        !design.green.columns.iter().any(keeps)
    };
    let hint = if blue.is_some_and(|blue| blue.unique && !blue.columns.iter().any(is_changed)) {
        let keys = UniqueKey::of(run.journal.session(), &design.table).await;
        let keys = keys.doing("reading the unique indexes")?;
        keys.iter().find(|key| key.index == *index).map(UniqueKey::hint)
    } else {
        None
    };
    Ok(Error::NotUnique { table: design.table.plain(), index: index.as_str().to_owned(), hint })
}
