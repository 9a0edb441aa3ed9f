//! Prepare: creates green's schema, green, its leaves and the publication, in one transaction with its fact.
//!
//! The slot is not created here but by the first round of the copy, which needs its consistent point: a
//! run that stops after prepare holds back no WAL.

use tokio_postgres::Client;

use super::guard::changes_while_designed;
use super::steps::Around;
use super::{in_place, is_lock_wait, step_back};
use crate::error::{Doing, Error};
use crate::event::{Event, WaitCause};
use crate::finding::{CheckId, Finding};
use crate::green;
use crate::hangs_on::{
    self, Compatibility, Conflict, Definition, Fingerprint, Green, Homes, ReplicaIdentityKind,
};
use crate::lane::{Ends, working_objects};
use crate::lifecycle::{Fact, LaneDesign, Phase, Prepared, Secret, Way};
use crate::pg::sql::{LockMode, Statement, joined};
use crate::pg::{Colour, Ident, QName, RunObjects, list};
use crate::plan::{StepTime, TablePlan};
use crate::run::Run;

const OPERATORS: &str = include_str!("../../sql/catalog/lane_columns.sql");
const COLUMN_GRANTS_ONLY: &str = include_str!("../../sql/catalog/column_grants_only.sql");

/// How often green is designed at most, if DDL changes a table meanwhile.
const DESIGNS: u32 = 5;

pub(super) async fn run(run: &mut Run<'_>) -> Result<(), Error> {
    Around::of(run, Phase::Prepare).all(StepTime::Prepare, Way::Up).await?;
    in_place::run(run).await?;
    let client = run.connect("prepare").await?;
    let mut changed = Vec::new();
    for _ in 0..DESIGNS {
        let mut prepared = designed(&client, &run.forward.plan.tables, run.journal.run()).await?;
        if run.forward.plan.is_in_place() {
            return Ok(run.journal.record(Fact::Prepared(Box::new(prepared))).await?);
        }
        prepared.keys = run.forward.plan.keys.clone();
        changed = made(run, &client, &prepared).await?;
        if changed.is_empty() {
            for lane in &mut prepared.lanes {
                lane.green_oid = Some(hangs_on::oid_of(&client, &lane.green.at_home()).await?);
            }
            run.journal.commit(&client, Fact::Prepared(Box::new(prepared.clone()))).await?;
            return super::load_lanes(run, &prepared).await;
        }
        client.batch_execute("ROLLBACK").await.doing("preparing")?;
        let why = format!("a table was changed while green was designed: {}", changed.join(", "));
        run.cx.tell(&Event::BegunAgain { phase: Phase::Prepare, why });
    }
    let what = format!("tables were changed by DDL each time green was made: {}", changed.join(", "));
    let hint = "execute again when nobody runs DDL on them";
    Err(Error::Refused(vec![Finding::server(CheckId::TablesAtRest, what, hint)]))
}

/// Makes green in a transaction that is left open. Returns what changed since green was designed: if anything did, the
/// transaction must be rolled back.
async fn made(run: &Run<'_>, client: &Client, prepared: &Prepared) -> Result<Vec<String>, Error> {
    let all: Vec<Statement> = statements(prepared).into_iter().map(|(_, statement)| statement).collect();
    let Some((hold, rest)) = all.split_first() else { return Ok(Vec::new()) };
    loop {
        run.patience().execute(client, &hold.sql, "preparing").await?;
        let changed = changes_while_designed(client, prepared).await?;
        if !changed.is_empty() {
            return Ok(changed);
        }
        match client.batch_execute(&joined(rest)).await {
            // A statement that takes no lock on the table (GRANT, say) may have run meanwhile.
            Ok(()) => return changes_while_designed(client, prepared).await,
            Err(error) => step_back_from(run, client, error).await?,
        }
    }
}

/// If a lock was not granted in time, rolls back and pauses for those who wait behind us; other errors are returned.
async fn step_back_from(run: &Run<'_>, client: &Client, error: tokio_postgres::Error) -> Result<(), Error> {
    if !is_lock_wait(&error) {
        return Err(error).doing("preparing");
    }
    client.batch_execute("ROLLBACK").await.doing("preparing")?;
    let text = "a lock for preparing was not granted in time; trying again".to_owned();
    run.cx.tell(&Event::Waiting { cause: WaitCause::Lock, text });
    step_back().await;
    Ok(())
}

/// Designs what a run of this id will make for these tables.
///
/// # Errors
/// As [`design_of`].
pub(crate) async fn designed(client: &Client, tables: &[TablePlan], run: &str) -> Result<Prepared, Error> {
    let ours = RunObjects::of(run);
    let homes = Homes::of_tables(&ours, tables.iter().map(|table| &table.table));
    let mut lanes = Vec::new();
    for (table, homes) in tables.iter().zip(&homes) {
        lanes.push(design(client, table, homes).await?);
    }
    let mut greens: Vec<&mut Green> = lanes.iter_mut().map(|lane| &mut lane.green).collect();
    hangs_on::redirect(&mut greens);
    let mark = format!("apply:{}", uuid::Uuid::new_v4().simple());
    Ok(Prepared { lanes, slot: ours.slot(Colour::Blue), mark, keys: None })
}

async fn design(client: &Client, table: &TablePlan, homes: &Homes) -> Result<LaneDesign, Error> {
    let fingerprint = Fingerprint::of(client, &table.table).await?;
    let definition = hangs_on::read(client, &table.table).await?;
    design_of(client, table, homes, (fingerprint, definition)).await
}

/// Designs green for one table of the plan. `check` does so too, to find what it has to refuse.
///
/// # Errors
/// If the catalog cannot be read, or green cannot be what the plan asks for.
pub(crate) async fn design_of(
    client: &Client,
    table: &TablePlan,
    homes: &Homes,
    (fingerprint, mut definition): (Fingerprint, Definition),
) -> Result<LaneDesign, Error> {
    let leaves = green::leaves(client, table, &definition).await?;
    green::alike::find(client, table, &mut definition, &leaves).await?;
    let refused = |findings| Error::Refused(findings);
    let unclear = green::casts::conflicts(client, &definition, table).await?;
    let green = match Green::design(&definition, table, &leaves, homes) {
        Ok(green) if unclear.is_empty() => green,
        designed => {
            let mut conflicts = designed.err().unwrap_or_default();
            conflicts.extend(unclear);
            return Err(refused(Finding::of_conflicts(&table.table, conflicts)));
        }
    };
    let green = with_view(client, green, table).await?;
    let key = definition
        .usable_key(table.replica_identity_full, table.primary_key.as_deref())
        .map_err(|none| refused(vec![Finding::of_no_key(&table.table, &none)]))?;
    let replica_identity_before = table.replica_identity_full.then(|| replica_identity(&definition));
    let secret = Secret::new();
    Ok(LaneDesign {
        table: table.table.clone(),
        key,
        green,
        fingerprint,
        replica_identity_before,
        secret,
        green_oid: None,
    })
}

/// The view of the old shape that the plan asks for, if there can be one on this server.
async fn with_view(client: &Client, mut green: Green, table: &TablePlan) -> Result<Green, Error> {
    let Some(schema) = table.compatibility.clone() else { return Ok(green) };
    let sql = "SELECT current_setting('server_version_num')::int >= 150000, to_regnamespace($1) IS NOT NULL";
    let row =
        client.query_one(sql, &[&schema.to_string()]).await.doing("looking for a schema of old shapes")?;
    let mut conflicts = green.compatibility_conflicts();
    if row.get(1) {
        let what = format!("schema {schema} exists, and is where the view of the old shape would be made");
        conflicts.push(Conflict::new(what, "drop it, or give the plan another name"));
    }
    let security_invoker: bool = row.get(0);
    if !security_invoker && green.blue.table.row_security {
        let what = "the table has row security, and before version 15 a view of the old shape would read and write with its owner's rights";
        conflicts
            .push(Conflict::new(what.to_owned(), "take `compatibility` out, or upgrade the server first"));
    }
    if !conflicts.is_empty() {
        return Err(Error::Refused(Finding::of_conflicts(&table.table, conflicts)));
    }
    let mut denied = Vec::new();
    if security_invoker {
        let (oid, read) = (green.blue.table.oid, green.read_by_view());
        let rows = client.query(COLUMN_GRANTS_ONLY, &[&oid, &read, &green.has_trigger()]).await;
        let rows = rows.doing("looking for roles with privileges on columns only")?;
        denied = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    }
    let sql = "SELECT DISTINCT quote_ident(pg_get_userbyid(a.grantee)) FROM pg_default_acl d, aclexplode(d.defaclacl) a \
               WHERE d.defaclobjtype = 'r' AND a.grantee <> 0 ORDER BY 1";
    let rows = client.query(sql, &[]).await.doing("reading default privileges")?;
    let by_default = rows.iter().map(|row| row.get(0)).collect();
    let equals = operators_of_key(client, &green).await?;
    let view = Compatibility { schema, security_invoker, denied, by_default, equals };
    green.notes.extend(green.compatibility_notes(&view));
    green.compatibility = Some(view);
    Ok(green)
}

async fn operators_of_key(client: &Client, green: &Green) -> Result<Vec<(Ident, String)>, Error> {
    let names = green.foreign_in_key();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows = client.query(OPERATORS, &[&green.live().to_string()]).await;
    let rows = rows.doing("looking for the operators of the key")?;
    let all = rows.iter().map(|row| (Ident::from(row.get::<_, String>("name")), row.get("equals")));
    Ok(all.filter(|(name, _)| names.contains(name)).collect())
}

/// What follows REPLICA IDENTITY in the statement that restores a table's.
fn replica_identity(definition: &Definition) -> String {
    let identity = &definition.table.replica_identity;
    match (identity.kind, &identity.index) {
        (ReplicaIdentityKind::Index, Some(index)) => format!("USING INDEX {index}"),
        (ReplicaIdentityKind::Full, _) => "FULL".to_owned(),
        (ReplicaIdentityKind::Nothing, _) => "NOTHING".to_owned(),
        _ => "DEFAULT".to_owned(),
    }
}

/// The statements of prepare, executed in one transaction; each with the lane that it is for, if it is for one.
pub(crate) fn statements(prepared: &Prepared) -> Vec<(Option<usize>, Statement)> {
    if prepared.lanes.is_empty() {
        return Vec::new();
    }
    let mut statements = vec![(None, hold(prepared))];
    let create = prepared.homes().into_iter().flat_map(Homes::create);
    statements.extend(create.map(|statement| (None, statement)));
    for (number, lane) in prepared.lanes.iter().enumerate() {
        let green = lane.green.create().into_iter().chain(lane.green.rehearsal()).chain(lane.green.trials());
        let of_lane = green.chain(lane.green.move_leaves());
        statements.extend(of_lane.map(|statement| (Some(number), statement)));
    }
    // After all greens: each of them closes its schema.
    for (number, lane) in prepared.lanes.iter().enumerate() {
        let made = working_objects(number, &Ends::of(lane), &lane.table, &lane.green.blue.columns);
        statements.extend(made.into_iter().map(|statement| (Some(number), statement)));
    }
    for homes in prepared.homes() {
        let there = prepared.lanes.iter().filter(|lane| lane.green.homes == *homes);
        let owners: Vec<_> = there.map(|lane| &lane.green.blue.table.owner).collect();
        statements.push((None, hangs_on::seal_schema(&homes.green, &owners)));
    }
    statements.push((None, publish(prepared)));
    for (number, lane) in prepared.lanes.iter().enumerate() {
        if lane.replica_identity_before.is_some() {
            let set = replica_identity_of(&lane.green, "FULL");
            statements.extend(set.into_iter().map(|statement| (Some(number), statement)));
        }
    }
    statements
}

/// Sets blue's replica identity while it is live, where its rows are: it is not inherited.
pub(super) fn replica_identity_of(green: &Green, identity: &str) -> Vec<Statement> {
    let leaves = green.holders(Colour::Blue).into_iter().filter(|leaf| leaf != green.live());
    set_replica_identity(std::iter::once(green.live().clone()).chain(leaves), identity)
}

/// The same where it is while green is live.
pub(super) fn replica_identity_away(green: &Green, identity: &str) -> Vec<Statement> {
    let home = &green.homes.blue;
    let leaves = green.blue.partitions.iter().filter(|partition| partition.leaf);
    let leaves = leaves.map(|partition| partition.name.in_schema(home));
    set_replica_identity(std::iter::once(green.home_of(Colour::Blue)).chain(leaves), identity)
}

fn set_replica_identity(relations: impl Iterator<Item = QName>, identity: &str) -> Vec<Statement> {
    let set = relations.map(|relation| {
        let sql = format!("ALTER TABLE {relation} REPLICA IDENTITY {identity}");
        Statement::on(&relation, LockMode::AccessExclusive, "replica identity of", sql)
    });
    set.collect()
}

/// Comes first: keeps what green was designed from unchanged while green is made.
fn hold(prepared: &Prepared) -> Statement {
    let blues = || prepared.lanes.iter().map(|lane| &lane.table);
    let tables = list(blues().map(|blue| format!("ONLY {blue}")));
    let sql = format!("LOCK TABLE {tables} IN SHARE UPDATE EXCLUSIVE MODE");
    blues().fold(Statement::new("keep DDL away from the live tables", sql), |hold, blue| {
        hold.locking(blue, LockMode::ShareUpdateExclusive)
    })
}

fn publish(prepared: &Prepared) -> Statement {
    let blues = || prepared.lanes.iter().map(|lane| &lane.table);
    let via_root =
        if prepared.via_root(Colour::Blue) { " WITH (publish_via_partition_root = true)" } else { "" };
    let sql = format!("CREATE PUBLICATION {} FOR TABLE {}{via_root}", prepared.slot, list(blues()));
    blues().fold(Statement::new("publish the live tables' changes", sql), |publish, blue| {
        publish.locking(blue, LockMode::ShareUpdateExclusive)
    })
}
