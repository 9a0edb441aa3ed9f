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

use tokio_postgres::Client;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::{Event, PartitionChange, PartitionChanged};
use crate::green::type_named;
use crate::pg::connect::Session;
use crate::pg::sql::Statement;
use crate::pg::{ConnectionRole, Ident, Literal, QName};
use crate::phase::locks::Patience;
use crate::plan::partition::Leaf;
use crate::plan::partition::upkeep::{Existing, Upkeep};
use crate::plan::{Partitions, Plan, Then};

use found::{Found, Partition, refused};

/// What is to be done about one table.
pub(crate) struct Work<'a> {
    found: Found<'a>,
    /// Partitions to create, and the rows in the default partition that belong to each.
    missing: Vec<(Leaf, u64)>,
    /// Partitions to archive or drop, oldest first.
    old: Vec<Partition>,
    then: Then,
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

    /// The private schema for what is built.
    fn home(&self) -> Ident {
        Ident(format!("projh_bg_upkeep_{}", self.found.table.table.oid))
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
        let (old, then) = match &by.retention {
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
                (found.partitions.iter().filter(is_old).cloned().collect(), retention.then)
            }
            None => (Vec::new(), Then::Archive),
        };
        refusals::refuse_taken(client, &found, &missing).await?;
        all.push(Work { found, missing, old, then });
    }
    if all.is_empty() {
        let what = "no table of the plan is partitioned by `range` with `every`: others need no partitions ahead of time";
        let table = plan.tables.first().map_or_else(|| QName::new("", ""), |table| table.table.clone());
        return Err(refused(&table, what, "partition_by: {range: ..., every: 1 month}"));
    }
    for work in &all {
        work.refuse_in_soak()?;
        work.refuse_dependents(client).await?;
    }
    Ok(all)
}

/// Drops what an attempt has left that did not get to its end.
pub(crate) async fn clean(cx: &Context, work: &Work<'_>) -> Result<(), Error> {
    let role = ConnectionRole::of_command("partitions");
    let session = cx.target.connect(role, &[("lock_timeout", "5s")]).await?;
    let sql = format!("DROP SCHEMA IF EXISTS {} CASCADE", work.home());
    session.batch_execute(&sql).await.doing("dropping what was built beside the table")
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
    let doing = "taking the lock of this command";
    let sql = format!(
        "SELECT pg_try_advisory_lock(hashtext({}), {}::int)",
        Literal("projh-bluegreen partitions"),
        work.found.table.table.oid as i32
    );
    if !client.query_one(&sql, &[]).await.doing(doing)?.get::<_, bool>(0) {
        let why = format!("another `projh-bluegreen partitions` is at work on {}", work.found.name().plain());
        return Err(Error::Answered { code: crate::error::ExitCode::Held.into(), why });
    }
    let patience = Patience { target: &cx.target, reporter: &cx.reporter, run: "upkeep" };
    work.drop_left(cx, client, &patience).await?;
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
    /// Drops what a command has left that was killed: its trigger notes changes of a partition until then.
    async fn drop_left(&self, cx: &Context, client: &Session, patience: &Patience<'_>) -> Result<(), Error> {
        let (home, doing) = (self.home(), "dropping what an earlier command has left");
        let sql = "SELECT to_regnamespace($1) IS NOT NULL";
        if client.query_one(sql, &[&home.to_string()]).await.doing(doing)?.get(0) {
            patience.execute(client, &format!("DROP SCHEMA {home} CASCADE"), doing).await?;
            client.batch_execute("COMMIT").await.doing(doing)?;
            let table = self.found.name().plain();
            let text = format!("dropped what an earlier `projh-bluegreen partitions` had left at {table}");
            cx.tell(&Event::Notice { text });
        }
        Ok(())
    }

    /// One that has not been done yet.
    fn changed(&self, partition: &QName, what: PartitionChange) -> PartitionChanged {
        let (table, partition) = (self.found.name().plain(), partition.plain());
        PartitionChanged { table, partition, what, rows: 0, sql: Vec::new(), done: false }
    }
}
