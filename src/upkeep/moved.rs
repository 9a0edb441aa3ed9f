//! Rows of the default partition that belong to a new one.
//!
//! A row is in the partitioned table at every instant, and no client waits for it to be moved. Beside the table a twin is
//! built, partitioned by the same key: the new partitions, and another default partition. A trigger notes the keys of rows
//! of the old default partition that clients change; all of its rows are copied into the twin, a range of blocks at a time,
//! and rows with noted keys are replaced. The last noted ones are replaced while the table is locked, for a moment, in
//! the transaction that detaches the old default partition and attaches those of the twin. CHECK constraints spare it
//! scans of the new partitions.
//!
//! A change is only noted, never carried out, by the trigger: so a client fails or waits no more than without it, whatever
//! its isolation level. TRUNCATE, and what else gives the old partition another file, is noticed: then it begins again.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Work;
use super::exchange::{again_if_changed, file_of};
use super::found::{Found, Partition, refused};
use super::like::LIKE;
use crate::context::Context;
use crate::crash;
use crate::error::{Doing, Error};
use crate::event::{Event, WaitCause};
use crate::hangs_on::seal;
use crate::lane::copy;
use crate::lifecycle::Span;
use crate::pg::activity;
use crate::pg::connect::Session;
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Ident, Literal, QName, describe, list};
use crate::phase::locks::Patience;
use crate::plan::partition::Leaf;

/// Blocks of the default partition that one transaction copies: 2 MB.
const BLOCKS_AT_ONCE: u32 = 256;
/// So few noted keys are replaced under the lock.
const NOTED_MAX: u64 = 50;
/// How often it is tried to exchange the partitions: a run that begins to compare the table comes in between.
const EXCHANGES: u32 = 20;
/// How often to look whether old snapshots are gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const DOING: &str = "moving rows out of the default partition";

/// How many rows of the default partition belong to a new one.
pub(super) async fn rows_in_default(client: &Client, found: &Found<'_>, leaf: &Leaf) -> Result<u64, Error> {
    let Some(default) = found.default() else { return Ok(0) };
    let sql = format!("SELECT count(*) FROM ONLY {} WHERE {}", default.name, within(&found.by.column, leaf));
    let rows = found.table.table.acting().ask(client, &sql, &[]).await.doing("counting rows")?;
    let rows: i64 = rows.first().map_or(0, |row| row.get(0));
    Ok(rows.unsigned_abs())
}

/// Whether a row is in a range.
fn within(column: &Ident, leaf: &Leaf) -> String {
    let ends = leaf.bound.strip_prefix("FOR VALUES FROM (").and_then(|rest| rest.strip_suffix(')'));
    match ends.and_then(|rest| rest.split_once(") TO (")) {
        Some((from, to)) => format!("{column} IS NOT NULL AND {column} >= {from} AND {column} < {to}"),
        None => "false".to_owned(),
    }
}

/// Drops the trigger of an earlier attempt, before the table of its changes: clients lock the partition first, too.
pub(super) fn unwatch(old: &QName) -> Statement {
    Statement::new("clear the way", format!("DROP TRIGGER IF EXISTS projh_upkeep ON {old}"))
}

impl Work<'_> {
    fn in_home(&self, name: &str) -> QName {
        QName::new(self.home(), name)
    }

    pub(super) fn twin(&self) -> QName {
        self.in_home("twin")
    }

    /// Keys of rows that were changed.
    pub(super) fn noted(&self) -> QName {
        self.in_home("noted")
    }

    /// Those whose rows are being replaced.
    fn taken(&self) -> QName {
        self.in_home("taken")
    }

    /// Every statement, in order; of those that are repeated, one.
    pub(super) fn moving(&self) -> Vec<Statement> {
        let (Some(default), Ok(key)) = (self.found.default(), self.key()) else { return Vec::new() };
        let span = Span { from: 0, to: Some(BLOCKS_AT_ONCE) };
        let mut statements = self.beside(default, &key);
        statements.push(Statement::new("copy rows, some blocks at a time", self.copy(default, span)));
        statements
            .push(Statement::new("replace rows that were changed meanwhile", self.replace(default, &key)));
        statements.extend(self.exchange(default, &key, "<its file>"));
        statements
    }

    /// The columns that identify a row.
    fn key(&self) -> Result<Vec<Ident>, Error> {
        let key = self.found.table.usable_key(false, None);
        let key = key.or_else(|_| self.found.table.usable_key(true, None)).map_err(|none| {
            refused(
                self.found.name(),
                format!("rows cannot be moved without blocking clients: {none}"),
                none.hint,
            )
        })?;
        Ok(key.columns.into_iter().map(|column| column.name).collect())
    }

    /// What is built before the first row is copied.
    fn beside(&self, default: &Partition, key: &[Ident]) -> Vec<Statement> {
        let (home, twin) = (self.home(), self.twin());
        let (parent, owner) = (self.found.name(), &self.found.table.table.owner);
        let by = self.found.table.table.partition_key.as_deref().unwrap_or_default();
        let on = |name: &QName, verb: &str, sql: String| Statement::making(name, verb, sql);
        let mut statements = vec![unwatch(&default.name)];
        statements.extend(self.make_home());
        statements.push(on(
            &twin,
            "create the twin",
            format!("CREATE TABLE {twin} (LIKE {parent} {LIKE}) PARTITION BY {by}"),
        ));
        statements.push(on(&twin, "set the owner of", format!("ALTER TABLE {twin} OWNER TO {owner}")));
        let sibling = &self.found.sibling;
        let leaves = self.missing.iter().map(|(leaf, _)| (&leaf.name, leaf.bound.as_str(), sibling));
        let rest = (&default.name.name, "DEFAULT", self.found.default_itself.as_ref().unwrap_or(sibling));
        for (name, bound, like) in leaves.chain([rest]) {
            let built = QName { schema: home.clone(), name: name.clone() };
            statements.extend(self.create(&built, like));
            statements.push(on(
                &twin,
                "attach a partition to",
                format!("ALTER TABLE {twin} ATTACH PARTITION {built} {bound}"),
            ));
        }
        statements.extend(self.like_default(&default.name.in_schema(&home)));
        for (leaf, _) in &self.missing {
            let built = QName { schema: home.clone(), name: leaf.name.clone() };
            let check = format!(
                "ALTER TABLE {built} ADD CONSTRAINT projh_range CHECK ({})",
                within(&self.found.by.column, leaf)
            );
            statements.push(on(&built, "add a CHECK to", check));
        }
        statements
            .extend([self.noted(), self.taken()].iter().flat_map(|table| self.table_of_keys(table, key)));
        statements.push(seal(&home));
        statements.extend(self.trigger(&default.name, key));
        statements
    }

    pub(super) fn table_of_keys(&self, table: &QName, key: &[Ident]) -> [Statement; 2] {
        let (parent, owner) = (self.found.name(), &self.found.table.table.owner);
        let create = format!("CREATE TABLE {table} AS SELECT {} FROM {parent} WITH NO DATA", list(key));
        let on = |verb: &str, sql: String| Statement::making(table, verb, sql);
        [
            on("create a table of changed keys,", create),
            on("set the owner of", format!("ALTER TABLE {table} OWNER TO {owner}")),
        ]
    }

    /// Notes the keys of rows of a partition that are changed.
    pub(super) fn trigger(&self, old: &QName, key: &[Ident]) -> Vec<Statement> {
        let (note, noted) = (self.in_home("note"), self.noted());
        let of = |row: &str| list(key.iter().map(|name| format!("{row}.{name}")));
        let body = format!(
            "BEGIN IF TG_OP <> 'INSERT' THEN INSERT INTO {noted} VALUES ({}); END IF; \
             IF TG_OP <> 'DELETE' THEN INSERT INTO {noted} VALUES ({}); END IF; RETURN NULL; END",
            of("OLD"),
            of("NEW")
        );
        let function = format!(
            "CREATE FUNCTION {note}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS {}",
            Literal(&body)
        );
        let owner = format!("ALTER FUNCTION {note}() OWNER TO {}", self.found.table.table.owner);
        let trigger = format!(
            "CREATE TRIGGER projh_upkeep AFTER INSERT OR UPDATE OR DELETE ON {old} FOR EACH ROW EXECUTE FUNCTION {note}()"
        );
        let always = format!("ALTER TABLE {old} ENABLE ALWAYS TRIGGER projh_upkeep");
        vec![
            Statement::new("create the function that notes changed keys", function),
            Statement::new("set its owner", owner),
            Statement::on(old, LockMode::ShareRowExclusive, "note changes of", trigger),
            Statement::on(old, LockMode::ShareRowExclusive, "note all changes of", always),
        ]
    }

    fn columns(&self) -> String {
        let stored = self.found.table.columns.iter().filter(|column| column.generated.is_none());
        list(stored.map(|column| &column.name))
    }

    fn insert(&self, from: &str) -> String {
        let columns = self.columns();
        format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {from} ON CONFLICT DO NOTHING", self.twin())
    }

    fn copy(&self, default: &Partition, span: Span) -> String {
        self.insert(&format!("ONLY {} WHERE {}", default.name, copy::condition(span)))
    }

    /// Takes all noted keys, and gives the twin the rows that have them now.
    pub(super) fn replace(&self, default: &Partition, key: &[Ident]) -> String {
        let (keys, same) = (list(key), |a: &str, b: &str| {
            let each: Vec<String> = key.iter().map(|name| format!("{a}.{name} = {b}.{name}")).collect();
            each.join(" AND ")
        });
        let taken = self.taken();
        let rows = format!("ONLY {} WHERE ({keys}) IN (SELECT {keys} FROM {taken})", default.name);
        format!(
            "WITH gone AS (DELETE FROM {noted} RETURNING *) INSERT INTO {taken} SELECT * FROM gone; \
             DELETE FROM {twin} t USING {taken} k WHERE {}; {}; DELETE FROM {taken}",
            same("t", "k"),
            self.insert(&rows),
            noted = self.noted(),
            twin = self.twin(),
        )
    }

    /// Creates the missing partitions with the rows that belong to them.
    pub(super) async fn move_rows(
        &self,
        cx: &Context,
        client: &Session,
        patience: &Patience<'_>,
    ) -> Result<(), Error> {
        let Some(default) = self.found.default() else { return Ok(()) };
        let key = self.key()?;
        let once = async || self.try_to_move(cx, (client, patience), default, &key).await;
        again_if_changed(client, once).await
    }

    async fn try_to_move(
        &self,
        cx: &Context,
        (client, patience): (&Session, &Patience<'_>),
        default: &Partition,
        key: &[Ident],
    ) -> Result<(), Error> {
        let beside = self.beside(default, key);
        // A trigger of an attempt that was interrupted goes with its schema.
        patience.execute(client, &joined(&beside), "building partitions beside the table").await?;
        client.batch_execute("COMMIT").await.doing(DOING)?;
        let old = default.name.to_string();
        let file = file_of(client, &default.name).await?;
        let sql =
            "SELECT (pg_relation_size(to_regclass($1)) / current_setting('block_size')::bigint)::bigint";
        let row = client.query_one(sql, &[&old]).await.doing(DOING)?;
        let blocks = u32::try_from(row.get::<_, i64>(0)).unwrap_or(u32::MAX);
        let acting = self.found.table.table.acting();
        let mut from = 0;
        while from <= blocks {
            let to = from.saturating_add(BLOCKS_AT_ONCE);
            let span = Span { from, to: (to <= blocks).then_some(to) };
            let sql = format!("BEGIN; {acting}; {}; COMMIT", self.copy(default, span));
            client.batch_execute(&sql).await.doing(DOING)?;
            from = to;
        }
        self.drain(client, default, key).await?;
        client.batch_execute(&format!("ANALYZE {}", self.twin())).await.doing(DOING)?;
        let exchange = joined(&self.exchange(default, key, &file));
        let mut why = String::new();
        for _ in 0..EXCHANGES {
            self.wait_for_old_snapshots(cx, client).await?;
            crash::point("no old snapshots");
            self.drain(client, default, key).await?;
            match patience.execute(client, &exchange, "exchanging the default partition").await {
                Err(Error::Postgres { source, .. }) if source.code() == Some(&SqlState::OBJECT_IN_USE) => {
                    client.batch_execute("ROLLBACK").await.doing(DOING)?;
                    why = describe(&source);
                }
                done => {
                    done?;
                    return client.batch_execute("COMMIT").await.doing(DOING);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let what = format!(
            "default partition {} was in use whenever it was to be exchanged, {EXCHANGES} times: {why}",
            default.name.plain()
        );
        let hint = "its rows are where they were: the same command again, while no run compares the table (`projh-bluegreen \
                    status`)";
        Err(refused(self.found.name(), what, hint))
    }

    /// Replaces rows with noted keys until few are left.
    async fn drain(&self, client: &Session, default: &Partition, key: &[Ident]) -> Result<(), Error> {
        let acting = self.found.table.table.acting();
        loop {
            let sql = format!("SELECT count(*) FROM {}", self.noted());
            let noted: i64 = client.query_one(&sql, &[]).await.doing(DOING)?.get(0);
            if noted.unsigned_abs() <= NOTED_MAX {
                return Ok(());
            }
            let sql = format!("BEGIN; {acting}; {}; COMMIT", self.replace(default, key));
            client.batch_execute(&sql).await.doing(DOING)?;
        }
    }

    /// A transaction whose snapshot is older than the twin's rows would not find them once they are the table's.
    async fn wait_for_old_snapshots(&self, cx: &Context, client: &Session) -> Result<(), Error> {
        activity::expect_sight(client).await?;
        let row = client.query_one("SELECT pg_current_xact_id()::text", &[]).await.doing(DOING)?;
        let xid = row.get::<_, String>(0).parse().unwrap_or(u64::MAX);
        let mut reported = String::new();
        loop {
            let old = activity::snapshots_older_than(client, xid, true).await?;
            if old.is_empty() {
                return Ok(());
            }
            let holders: Vec<String> = old.iter().map(|backend| backend.pid.to_string()).collect();
            if reported != holders.join(", ") {
                reported = holders.join(", ");
                let old: Vec<String> = old.iter().map(ToString::to_string).collect();
                let text = format!(
                    "waiting for snapshots that are older than the rows to be moved: {}",
                    old.join("; ")
                );
                cx.tell(&Event::Waiting { cause: WaitCause::Snapshot, text });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
