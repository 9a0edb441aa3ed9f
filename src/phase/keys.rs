//! Key registries, before the swap: blue maintains them from here on, the keys that it has are filled in, and the foreign
//! keys that will reference them get their stand-ins.
//!
//! The triggers come first: CREATE TRIGGER waits for all transactions that have written the table, so that every later
//! change reaches the registry. Then the keys that exist are inserted while their rows are locked FOR KEY SHARE: read
//! without a lock, a key that is deleted meanwhile would come back. Each part can be done again: a resumed run begins
//! with the triggers.

use std::time::Instant;

use tokio_postgres::Client;

use super::locks::{LOCK_WAIT, Limits};
use super::{begin, is_lock_wait, step_back};
use crate::error::{Doing, Error, KeysDiffer};
use crate::event::Event;
use crate::hangs_on::{Green, KeyRegistry, orphans};
use crate::lifecycle::{LaneDesign, Phase, Prepared};
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{AS_OPERATOR, Acting, Colour, Ident, QName, list};
use crate::run::Run;

/// The most keys that one transaction fills in. Whoever deletes one of their rows waits for it.
pub(crate) const KEYS_AT_ONCE: i64 = 2_000;

/// A statement of this part of the index phase.
pub(crate) struct KeyStep {
    pub(crate) statement: Statement,
    /// The foreign key that it adds or validates.
    constraint: Ident,
    /// The role that may read the referencing rows.
    acting: Acting,
}

/// The statements that give a lane's foreign keys their stand-ins, each in a transaction of its own.
pub(crate) fn stand_ins(prepared: &Prepared) -> Vec<KeyStep> {
    let is_lane = |child: &QName| prepared.lanes.iter().any(|lane| lane.table == *child);
    let mut steps = Vec::new();
    for design in &prepared.lanes {
        let keys = design.green.registered_keys().filter(|(_, key, _)| !is_lane(&key.child));
        for (number, key, registry) in keys {
            let constraint = key.stand_in(&design.green, number);
            let statements = key.stand_in_steps(&design.green, number, registry).into_iter();
            steps.extend(statements.map(|statement| KeyStep {
                statement,
                constraint: constraint.clone(),
                acting: key.acting(),
            }));
        }
    }
    steps
}

/// The statements that have blue maintain its registries, in one transaction for each lane.
pub(crate) fn followed(green: &Green) -> Vec<Statement> {
    green.widened.registries.iter().flat_map(|registry| registry.follow_blue(green)).collect()
}

/// The temporary table with the keys between which keys are filled in. They stay in the server, which may log parameters.
const BOUNDS: &str = "pg_temp.projh_bounds";

/// A bound, as SQL: its row of the temporary table.
fn bound(registry: &KeyRegistry, is_upper: bool) -> String {
    let which = if is_upper { "b.is_upper" } else { "NOT b.is_upper" };
    list(registry.blue.iter().map(|name| format!("(SELECT b.{name} FROM {BOUNDS} b WHERE {which})")))
}

/// The statement that fills in keys beyond the lower bound, up to the upper one.
pub(crate) fn fill(green: &Green, registry: &KeyRegistry) -> Statement {
    filling(green, registry, [true, true])
}

/// The same between those bounds that there are.
fn filling(green: &Green, registry: &KeyRegistry, [has_lower, has_upper]: [bool; 2]) -> Statement {
    let (blue, live) = (&registry.blue, green.live());
    let same: Vec<String> =
        registry.columns.iter().zip(blue).map(|(key, of_blue)| format!("k.{key} = t.{of_blue}")).collect();
    let row = list(blue.iter().map(|name| format!("t.{name}")));
    let condition = |(is_there, operator, is_upper)| match is_there {
        true => format!("({row}) {operator} ({}) AND ", bound(registry, is_upper)),
        false => String::new(),
    };
    let between: String =
        [(has_lower, ">", false), (has_upper, "<=", true)].into_iter().map(condition).collect();
    let sql = format!(
        "WITH locked AS (SELECT {row} FROM {live} t LEFT JOIN {name} k ON {} \
         WHERE {between}k.{} IS NULL FOR KEY SHARE OF t) \
         INSERT INTO {name} ({}) SELECT * FROM locked ON CONFLICT DO NOTHING",
        same.join(" AND "),
        registry.columns[0],
        list(&registry.columns),
        name = registry.name
    );
    Statement::on(live, LockMode::RowShare, "fill in the keys of", sql)
        .locking(&registry.name, LockMode::RowExclusive)
}

/// Statements that take away what foreign keys and blue have for the registries.
pub(crate) fn release(lanes: &[LaneDesign]) -> Vec<Statement> {
    let is_lane = |child: &QName| lanes.iter().any(|lane| lane.table == *child);
    let mut statements = Vec::new();
    for lane in lanes {
        let keys = lane.green.registered_keys().filter(|(_, key, _)| !is_lane(&key.child));
        statements
            .extend(keys.map(|(number, key, registry)| key.drop_stand_in(&lane.green, number, registry)));
        let registries = lane.green.widened.registries.iter();
        statements.extend(registries.flat_map(|registry| registry.release(&lane.table)));
    }
    statements
}

/// Does all of it that is left.
pub(super) async fn build(run: &Run<'_>, prepared: &Prepared) -> Result<(), Error> {
    if prepared.lanes.iter().all(|lane| lane.green.widened.registries.is_empty()) {
        return Ok(());
    }
    let client = run.connect("keys").await?;
    let steps = stand_ins(prepared);
    let of =
        steps.len() + prepared.lanes.iter().map(|lane| lane.green.widened.registries.len()).sum::<usize>();
    let mut done = 0;
    let mut tell = |what: String| {
        done += 1;
        run.cx.tell(&Event::Step { phase: Phase::Index, what, done, of });
    };
    for lane in &prepared.lanes {
        let statements = followed(&lane.green);
        if statements.is_empty() {
            continue;
        }
        commit(run, &client, &joined(&statements), "having the live table maintain its keys").await?;
        for registry in &lane.green.widened.registries {
            fill_in(run, &client, lane, registry).await?;
            tell(format!("fill in the keys of {}", lane.table.plain()));
        }
    }
    for KeyStep { statement, constraint, acting, .. } in steps {
        if !is_there(&client, &statement, &constraint).await? {
            let sql = match statement.on.as_ref().filter(|_| statement.reads_rows) {
                Some(on) => {
                    let reader = orphans::acting(&client, on, constraint.as_str(), &acting).await;
                    let reader = reader.doing("asking who sees the rows of a key")?;
                    format!("{reader}; {}; {AS_OPERATOR}", statement.sql)
                }
                None => statement.sql.clone(),
            };
            commit(run, &client, &sql, &statement.what).await?;
        }
        tell(statement.what);
    }
    Ok(())
}

async fn commit(run: &Run<'_>, client: &Client, sql: &str, doing: &str) -> Result<(), Error> {
    run.patience().execute(client, sql, doing).await?;
    client.batch_execute("COMMIT").await.doing(doing)
}

/// Whether a session before this one has added or validated the constraint.
async fn is_there(client: &Client, step: &Statement, constraint: &Ident) -> Result<bool, Error> {
    let Some(relation) = &step.on else { return Ok(false) };
    let sql = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND conname = $2 \
               AND contype = 'f' AND (convalidated OR NOT $3))";
    let params: [&(dyn postgres_types::ToSql + Sync); 3] =
        [&relation.to_string(), &constraint.as_str(), &step.reads_rows];
    Ok(client.query_one(sql, &params).await.doing("looking for a foreign key")?.get(0))
}

/// Inserts the keys of all rows of blue, some at a time, in the order of the key.
async fn fill_in(
    run: &Run<'_>,
    client: &Client,
    lane: &LaneDesign,
    registry: &KeyRegistry,
) -> Result<(), Error> {
    let doing = "filling in keys";
    let (blue, live) = (&registry.blue, lane.green.live());
    let row = list(blue.iter().map(|name| format!("t.{name}")));
    let make = format!(
        "DROP TABLE IF EXISTS {BOUNDS}; \
         CREATE TEMP TABLE projh_bounds AS SELECT false AS is_upper, {row} FROM {live} t WITH NO DATA; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {BOUNDS} TO {}",
        lane.green.blue.table.owner
    );
    client.batch_execute(&make).await.doing(doing)?;
    let next = |has_lower: bool| {
        let mut conditions: Vec<String> = blue.iter().map(|name| format!("t.{name} IS NOT NULL")).collect();
        conditions.extend(has_lower.then(|| format!("({row}) > ({})", bound(registry, false))));
        format!(
            "INSERT INTO {BOUNDS} SELECT true, {row} FROM {live} t WHERE {} ORDER BY {row} OFFSET $1::bigint LIMIT 1",
            conditions.join(" AND ")
        )
    };
    let moved =
        format!("DELETE FROM {BOUNDS} WHERE NOT is_upper; UPDATE {BOUNDS} SET is_upper = false; COMMIT");
    let acting = lane.green.blue.table.acting();
    let limits = Limits::of(client).await.doing(doing)?;
    // The planner does not know that few keys are between the bounds.
    let opened = format!(
        "{}; SET LOCAL lock_timeout = '{}ms'; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
         SET LOCAL enable_mergejoin = off; {acting}",
        begin(),
        limits.brief(LOCK_WAIT).as_millis()
    );
    let rest = run.pace.rest_of_a_worker();
    let (mut has_lower, mut at_once) = (false, KEYS_AT_ONCE);
    loop {
        let begun = Instant::now();
        client.batch_execute(&opened).await.doing(doing)?;
        let has_upper = client.execute(&next(has_lower), &[&(at_once - 1)]).await.doing(doing)? > 0;
        let insert = filling(&lane.green, registry, [has_lower, has_upper]).sql;
        match client.batch_execute(&insert).await {
            Ok(()) => client.batch_execute(&moved).await.doing(doing)?,
            // A client holds one of the rows: it may need another one that is locked here.
            Err(error) if is_lock_wait(&error) => {
                client.batch_execute("ROLLBACK").await.doing(doing)?;
                at_once = (at_once / 2).max(1);
                step_back().await;
                continue;
            }
            Err(error) => return Err(error).doing(doing),
        }
        if !has_upper {
            return Ok(());
        }
        (has_lower, at_once) = (true, (at_once * 2).min(KEYS_AT_ONCE));
        tokio::time::sleep(rest.after(begun.elapsed())).await;
    }
}

/// Compares each registry with the keys of the live table, in one snapshot, before the first of the swaps that lead to
/// green: a foreign key to blue is validated anyway.
pub(super) async fn verify(run: &Run<'_>) -> Result<(), Error> {
    let prepared = super::prepared(run)?;
    if run.journal.progress().live() == Colour::Green {
        return Ok(());
    }
    for lane in &prepared.lanes {
        for registry in &lane.green.widened.registries {
            compare(run, lane, registry).await?;
        }
    }
    Ok(())
}

async fn compare(run: &Run<'_>, lane: &LaneDesign, registry: &KeyRegistry) -> Result<(), Error> {
    let (live, name) = (lane.green.live(), &registry.name);
    let pairs = registry.columns.iter().zip(registry.columns_of(Colour::Blue));
    let same: Vec<String> = pairs.map(|(key, of_live)| format!("k.{key} = t.{of_live}")).collect();
    let same = same.join(" AND ");
    let sql = format!(
        "SELECT (SELECT count(*) FROM {live} t WHERE NOT EXISTS (SELECT FROM {name} k WHERE {same})), \
         (SELECT count(*) FROM {name} k WHERE NOT EXISTS (SELECT FROM {live} t WHERE {same}))"
    );
    let doing = "comparing a table of keys";
    let session = run.connect("keys").await?;
    let asked = async {
        let rows = lane.green.blue.table.acting().ask(&session, &sql, &[]).await;
        rows.doing(doing)
    };
    let rows = super::verify::comparing_meanwhile(run, asked).await?;
    let counted = rows.first().map_or((0, 0), |row| (row.get(0), row.get(1)));
    if counted != (0, 0) {
        let (missing, stale) = counted;
        let (table, registry) = (lane.table.plain(), name.plain());
        return Err(KeysDiffer { table, registry, missing, stale }.into());
    }
    Ok(())
}
