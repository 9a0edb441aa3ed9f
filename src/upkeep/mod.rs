//! `partitions`: new partitions ahead of time, rows out of the default partition into those that they belong to, and old
//! partitions archived or dropped. Works on tables as a swap has left them, with or without a run that follows them.
//!
//! Invariant: what is done to a table is one of a few transactions, each of which can be repeated: a partition exists
//! with all of its rows or not at all. Only partitions of the plan's own periods and names are archived or dropped.

mod exchange;
mod found;
mod keys;
mod like;
mod moved;
mod refusals;
mod retired;

use std::time::Duration;

use tokio_postgres::Client;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::{Event, PartitionChange, PartitionChanged};
use crate::green::type_named;
use crate::left::{self, Whose};
use crate::pg::connect::Session;
use crate::pg::sql::Statement;
use crate::pg::{ConnectionRole, Ident, QName, RunObjects};
use crate::phase::locks::Patience;
use crate::phase::tidy::{self, Outcome};
use crate::plan::partition::Leaf;
use crate::plan::partition::upkeep::{Existing, Upkeep};
use crate::plan::{Partitions, Plan, Then};

use found::{Found, Partition, refused};

/// How long a command that has failed tries to drop what it has built.
const CLEANED_WITHIN: Duration = Duration::from_secs(5);

/// What is to be done about one table.
pub(crate) struct Work<'a> {
    found: Found<'a>,
    /// Partitions to create, and the rows in the default partition that belong to each.
    missing: Vec<(Leaf, u64)>,
    /// Partitions to archive or drop, oldest first.
    old: Vec<Partition>,
    then: Then,
    /// Whether some that are too old stay, because a run can still be undone.
    keeps_old: bool,
}

impl Work<'_> {
    /// The partitions that will be dropped.
    pub(crate) fn drops(&self) -> impl Iterator<Item = String> {
        self.old.iter().filter(|_| self.then == Then::Drop).map(|partition| partition.name.plain())
    }

    /// Whether everything is as the plan says.
    pub(crate) fn is_nothing(&self) -> bool {
        self.missing.is_empty() && self.old.is_empty()
    }

    /// Whether partitions that are older than the plan keeps stay until a run is finished.
    pub(crate) const fn keeps_old(&self) -> bool {
        self.keeps_old
    }

    /// The private schema for what is built.
    fn home(&self) -> Ident {
        RunObjects::upkeep_schema(self.found.table.table.oid)
    }

    fn schema(&self) -> &Ident {
        self.found.by.schema.as_ref().unwrap_or(&self.found.name().schema)
    }
}

/// Finds what is to be done about each table of the plan; `ahead` in place of the plan's.
pub(crate) async fn survey<'a>(
    cx: &Context,
    client: &Client,
    plan: &'a Plan,
    ahead: Option<u32>,
) -> Result<Vec<Work<'a>>, Error> {
    let mut all = Vec::new();
    for table in &plan.tables {
        let Some(by) = &table.partition_by else { continue };
        let Partitions::Every { ahead: planned, .. } = by.into else { continue };
        let found = Found::read(client, table, by).await?;
        let column = found.table.column(&by.column).map_or("", |column| &column.base_type);
        let now = jiff::Timestamp::now();
        let Some(upkeep) = Upkeep::of(&table.table, by, type_named(column), now)? else { continue };
        let ranges = found.partitions.iter();
        let existing: Vec<Existing> = ranges
            .filter_map(|partition| upkeep.existing(partition.name.clone(), &partition.bound))
            .collect();
        let mut missing = Vec::new();
        for leaf in upkeep.missing(&existing, ahead.unwrap_or(planned))? {
            let rows = moved::rows_in_default(client, &found, &leaf).await?;
            missing.push((leaf, rows));
        }
        let (mut old, then) = match &by.retention {
            Some(retention) => {
                let (own, others) = upkeep.expired(&existing, retention);
                for other in others {
                    let name = other.name.plain();
                    let text = format!(
                        "{name} is older than the plan keeps, and is left alone: it covers no period of the plan, or has another name"
                    );
                    cx.tell(&Event::Notice { text });
                }
                let is_old = |partition: &&Partition| own.iter().any(|old| old.name == partition.name);
                (found.partitions.iter().filter(is_old).cloned().collect::<Vec<_>>(), retention.then)
            }
            None => (Vec::new(), Then::Archive),
        };
        let keeps_old = found.soaking.is_some() && !old.is_empty();
        if let (Some(run), true) = (&found.soaking, keeps_old) {
            cx.tell(&Event::Notice { text: stay(run, &old) });
            old.clear();
        }
        refusals::refuse_taken(client, &found, &missing).await?;
        all.push(Work { found, missing, old, then, keeps_old });
    }
    if all.is_empty() {
        let what = "no table of the plan is partitioned by `range` with `every`: others need no partitions ahead of time";
        let table = plan.tables.first().map_or_else(|| QName::new("", ""), |table| table.table.clone());
        return Err(refused(&table, what, "partition_by: {range: ..., every: 1 month}"));
    }
    for work in &all {
        work.refuse_dependents(client).await?;
    }
    Ok(all)
}

/// A detached partition is no longer in the stream, and its rows would stay in the old table.
fn stay(run: &str, old: &[Partition]) -> String {
    let names: Vec<String> = old.iter().map(|old| old.name.plain()).collect();
    let (are, stay) = if names.len() == 1 { ("is", "stays") } else { ("are", "stay") };
    format!(
        "{} {are} older than the plan keeps, and {stay} until `projh-bluegreen finish {run}`: the stream does not carry a \
         DETACH, so the old table would keep the rows, and the way back would not verify",
        names.join(", ")
    )
}

/// Drops what earlier commands have left at the tables of the plan, and at those that are live no more.
pub(crate) async fn clear(cx: &Context, client: &Client, plan: &Plan) -> Result<(), Error> {
    let tables: Vec<QName> = plan.tables.iter().map(|table| table.table.clone()).collect();
    tidy::all(cx, client, &Patience::of_upkeep(cx), Whose { tables: &tables, put_away: true }).await
}

/// Drops what an attempt has left that did not get to its end.
pub(crate) async fn clean(cx: &Context, work: &Work<'_>) -> Result<(), Error> {
    let role = ConnectionRole::of_command("partitions");
    let cleaned = async {
        let session = cx.target.connect(role, &[]).await?;
        // The session of the attempt may not have ended yet.
        tidy::wait_for_lock(&session, work.found.table.table.oid).await?;
        work.drop_left(&session, &Patience::of_upkeep(cx)).await.map(drop)
    };
    // Whoever comes next does it otherwise.
    tokio::time::timeout(CLEANED_WITHIN, cleaned).await.unwrap_or(Ok(()))
}

/// What would be done, with the SQL.
pub(crate) fn preview(work: &Work<'_>) -> Vec<PartitionChanged> {
    let texts = |statements: Vec<Statement>| statements.into_iter().map(|statement| statement.sql).collect();
    let mut all = Vec::new();
    for (number, (name, rows)) in work.new_names().into_iter().enumerate() {
        // All are made in the same transactions.
        let sql = if number == 0 { texts(work.statements()) } else { Vec::new() };
        all.push(PartitionChanged { sql, rows, ..work.changed(&name, PartitionChange::Created) });
    }
    for old in &work.old {
        let sql = texts(work.retirement(old));
        all.push(PartitionChanged { sql, ..work.changed(&old.name, work.change()) });
    }
    all
}

impl Work<'_> {
    fn change(&self) -> PartitionChange {
        match self.then {
            Then::Archive => PartitionChange::Archived,
            Then::Drop => PartitionChange::Dropped,
        }
    }

    fn new_names(&self) -> Vec<(QName, u64)> {
        let named = |leaf: &Leaf| QName { schema: self.schema().clone(), name: leaf.name.clone() };
        self.missing.iter().map(|(leaf, rows)| (named(leaf), *rows)).collect()
    }

    /// The statements that create what is missing, in order.
    fn statements(&self) -> Vec<Statement> {
        match self.is_direct() {
            true => self.attach_directly(),
            false => self.moving(),
        }
    }
}

/// Does it, and reports each partition.
pub(crate) async fn carry_out(cx: &Context, client: &Session, work: &Work<'_>) -> Result<(), Error> {
    if !tidy::lock(client, work.found.table.table.oid).await? {
        let why = format!("another `projh-bluegreen partitions` is at work on {}", work.found.name().plain());
        return Err(Error::Answered { code: crate::error::ExitCode::Held.into(), why });
    }
    let patience = Patience::of_upkeep(cx);
    if let Some(text) = work.drop_left(client, &patience).await? {
        cx.tell(&Event::Notice { text });
    }
    if !work.missing.is_empty() {
        match work.is_direct() {
            true => {
                let sql = crate::pg::sql::joined(&work.attach_directly());
                patience.execute(client, &sql, "creating partitions").await?;
                client.batch_execute("COMMIT").await.doing("creating partitions")?;
            }
            false => work.move_rows(cx, client, &patience).await?,
        }
        for (name, rows) in work.new_names() {
            let changed = work.changed(&name, PartitionChange::Created);
            cx.tell(&Event::Partition(PartitionChanged { rows, done: true, ..changed }));
        }
    }
    for old in &work.old {
        work.retire_now(client, &patience, old).await?;
        let changed = work.changed(&old.name, work.change());
        cx.tell(&Event::Partition(PartitionChanged { done: true, ..changed }));
    }
    Ok(())
}

impl Work<'_> {
    /// Drops what a command has left here since [`clear`] looked. To be called under this command's lock: what is built takes
    /// the same schema, and it must not be another's. Returns what is to be told.
    async fn drop_left(&self, client: &Client, patience: &Patience<'_>) -> Result<Option<String>, Error> {
        let tables = [self.found.name().clone()];
        let all = left::find(client, Whose::of(&tables))
            .await
            .doing("looking for what an earlier command has left")?;
        for left in all.iter().filter(|left| left.schema == self.home()) {
            match tidy::one(left, client, patience).await? {
                Outcome::Kept(why, hint) => {
                    return Err(refused(self.found.name(), format!("{left} is in the way: {why}"), hint));
                }
                Outcome::Dropped => return Ok(Some(left.told())),
                Outcome::InUse => {}
            }
        }
        Ok(None)
    }

    /// One that has not been done yet.
    fn changed(&self, partition: &QName, what: PartitionChange) -> PartitionChanged {
        let (table, partition) = (self.found.name().plain(), partition.plain());
        PartitionChanged { table, partition, what, rows: 0, sql: Vec::new(), done: false }
    }
}
