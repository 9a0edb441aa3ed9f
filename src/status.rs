//! Where a run stands, as any other process can ask the database: the journal's facts and their times,
//! the slot, and whether somebody is at work.
//!
//! Invariant: it only reads; it waits for no lock and blocks nobody.

use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use crate::journal::requests::{self, LastRequest, Paused};
use crate::journal::{self, JournalError, Summary};
use crate::left::{self, Left, Whose};
use crate::lifecycle::{Broken, Phase, Prepared, Progress, Span, Standing};
use crate::meter::Reached;
use crate::meter::{eta_s, per_s};
use crate::pg::slot::Slot;
use crate::pg::{BLOCK_BYTES, Colour, ConnectionRole, QName, RunObjects};
use crate::plan::SettingChange;

/// How many facts are read to find the last ones; consecutive facts of one kind are reported as one.
const FACTS: i64 = 500;
const KINDS: usize = 5;

/// The state of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Status {
    /// The run's short id: eight hexadecimal digits.
    pub run: String,
    /// The plan's name.
    pub plan: String,
    /// The phase it is in, or resumes with; `null` if nothing is left to do.
    pub phase: Option<Phase>,
    /// Whether it was swapped and rolled back: blue is live again, and green is kept.
    pub is_swapped_back: bool,
    /// The state of the tables, in a sentence; if it is paused, by whom and since when; if a gate has decided to roll it back,
    /// which.
    pub state: String,
    /// The command to type next, if there is one.
    pub next: Option<String>,
    /// Since when there is no way back, why, and for which rows; `null` while blue follows, or without a way back.
    pub broken: Option<Broken>,
    /// When the soak ends, by the settings of now, and the swap can no longer be undone; `null` if there is none, or it is over.
    pub soak_ends: Option<String>,
    /// Number of rounds of the copy begun.
    pub rounds: u32,
    /// Rows copied for each table, in the plan's order.
    pub rows_copied: Vec<u64>,
    /// When the run began.
    pub begun: String,
    /// When its last fact was written.
    pub last_fact: String,
    /// Progress of the copy for each table, once green has been made.
    pub tables: Vec<TableStatus>,
    /// The statements that build indexes, once green has been made.
    pub indexes: Option<StepCount>,
    /// The stream, while the slot exists.
    pub stream: Option<Stream>,
    /// The orchestrator that took the run over last.
    pub orchestrator: Option<Orchestrator>,
    /// Who has paused it; `null` if it is not paused.
    pub paused: Option<Paused>,
    /// What was last asked of the process that held it, by other commands and by gates, the latest first.
    pub requests: Vec<LastRequest>,
    /// The settings that `set` has changed from what the plan says.
    pub settings: Vec<SettingSet>,
    /// What a `partitions` that was killed has left at its tables, and at tables that no longer exist.
    pub left_by_partitions: Vec<LeftByPartitions>,
    /// The last facts of its journal, the latest first.
    pub last_facts: Vec<Facts>,
}

/// A setting that is not the plan's.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SettingSet {
    /// Its value in the plan that was executed last, and now.
    #[serde(flatten)]
    pub change: SettingChange,
    /// Who has set it: process, host and role.
    pub by: String,
    /// When.
    pub at: String,
}

/// The copy of one table.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TableStatus {
    /// The live table, `schema.name`.
    pub table: String,
    /// Rows copied so far.
    pub rows: u64,
    /// Rows of blue as PostgreSQL estimated them.
    pub rows_estimated: u64,
    /// Rate over the last minute, in rows per second.
    pub rows_per_s: f64,
    /// The part of blue that has been read.
    #[serde(flatten)]
    pub reached: Reached,
}

/// The statements of a phase.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct StepCount {
    /// The number of statements executed so far.
    pub done: usize,
    /// The number of statements in all.
    pub of: usize,
}

/// The replication stream of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stream {
    /// Bytes of WAL between its end and the position applied to green.
    pub lag_bytes: u64,
    /// Bytes of WAL that the server retains for the slot.
    pub retained_bytes: u64,
    /// `wal_status` of `pg_replication_slots`: `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
}

/// The orchestrator that took a run over last.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Orchestrator {
    /// The host's name.
    pub host: String,
    /// Its process id on that host.
    pub pid: u32,
    /// When it took the run over.
    pub since: String,
    /// Whether an orchestrator holds the run at present.
    pub alive: bool,
    /// Number of connections that work on the run, as far as this role may see them.
    pub connections: i64,
}

/// A private schema with copies of rows, or of keys. The next `partitions` drops it, and so do `finish` and `rollback`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LeftByPartitions {
    /// The schema.
    pub schema: String,
    /// The table whose rows it has; `null` if that no longer exists.
    pub table: Option<String>,
    /// Why it cannot be dropped, and what can be done about it.
    pub kept: Option<String>,
}

/// Consecutive facts of one kind.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Facts {
    /// The kind, as the journal names it.
    pub fact: String,
    /// The number of facts.
    pub count: usize,
    /// When the latest of them was written.
    pub at: String,
    /// How long ago that was, in seconds.
    pub seconds_ago: f64,
}

impl Status {
    /// Reads what the journal's summary does not have. `standing` is the state of the tables, and the command to type
    /// next.
    ///
    /// # Errors
    /// If the server rejected a query, or the connection was lost.
    pub async fn of(client: &Client, run: &Summary, standing: Standing) -> Result<Self, JournalError> {
        let progress = &run.progress;
        let orchestrator = orchestrator(client, run).await?;
        let slots = Slot::of(client, &run.found.run).await.map_err(JournalError::doing("read"))?;
        let gone = gone(progress, &run.found.run, &slots);
        let slot = slots.into_iter().find(|slot| slot.source == progress.live());
        let prepared = progress.prepared.as_ref();
        let paused = requests::paused(client, &run.found.run).await.map_err(JournalError::doing("read"))?;
        let paused = paused.filter(|_| run.found.under_way);
        let decided = requests::decided(client, &run.found.run).await.map_err(JournalError::doing("read"))?;
        let state = match (&paused, decided) {
            (Some(paused), _) => {
                format!("paused by {} since {}; {}", paused.by, paused.since, standing.state)
            }
            (None, Some(decided)) => {
                format!(
                    "{} has decided to roll the run back, which `execute` does; {}",
                    decided.by, standing.state
                )
            }
            (None, None) => standing.state,
        };
        let state = without(&gone, progress, state, standing.is_resumable);
        Ok(Self {
            run: run.found.run.clone(),
            plan: run.found.plan_name.clone(),
            phase: progress.next_phase(),
            is_swapped_back: progress.swaps > 0 && progress.swapped.is_none(),
            state,
            next: standing.next,
            broken: progress.broken.clone().filter(|_| progress.is_reversible()),
            soak_ends: soak_ends(client, run).await?,
            rounds: progress.rounds,
            rows_copied: progress.rows_copied.clone(),
            begun: run.times.0.clone(),
            last_fact: run.times.1.clone(),
            tables: match prepared.filter(|_| progress.next_phase() == Some(Phase::Copy)) {
                Some(prepared) => copying(client, run, prepared).await?,
                None => prepared.map(|prepared| copied(progress, prepared)).unwrap_or_default(),
            },
            indexes: prepared.map(|prepared| indexes(progress, prepared)),
            stream: slot.map(|slot| Stream {
                lag_bytes: slot.lag_bytes,
                retained_bytes: slot.retained_bytes,
                wal_status: slot.wal_status,
            }),
            orchestrator,
            paused,
            left_by_partitions: left(client, run).await?,
            requests: requests::last(client, &run.found.run).await.map_err(JournalError::doing("read"))?,
            settings: settings(client, &run.found.run).await?,
            last_facts: last_facts(client, &run.found.run).await?,
        })
    }
}

/// A sentence for each slot that a run needs and that is of no use any more.
fn gone(progress: &Progress, run: &str, slots: &[Slot]) -> Vec<String> {
    let is_blue_s_needed =
        progress.slot.is_some() && (progress.swapped.is_none() || progress.is_reversible());
    let needed = [(Colour::Blue, is_blue_s_needed), (Colour::Green, progress.is_reversible())];
    let is_over =
        progress.ended.is_some() || progress.only_rollback().is_some() || progress.way_back_lost.is_some();
    let gone = |(source, is_needed): (Colour, bool)| {
        let why = match slots.iter().find(|slot| slot.source == source) {
            None => "does not exist any more: somebody dropped it, or another server took over without it",
            Some(slot) if slot.wal_status == "lost" => "was given up by the server (max_slot_wal_keep_size)",
            Some(_) => return None,
        };
        (is_needed && !is_over).then(|| format!("slot {} {why}", RunObjects::of(run).slot(source).as_str()))
    };
    needed.into_iter().filter_map(gone).collect()
}

/// The state of a run whose slots are gone, which its journal does not know yet.
fn without(gone: &[String], progress: &Progress, state: String, is_resumable: bool) -> String {
    let is_soaking = is_resumable && progress.next_phase() == Some(Phase::Soak) && progress.is_reversible();
    match (gone.is_empty(), is_soaking) {
        (true, _) => state,
        (false, true) => format!(
            "swapped: green is live, and the way back is lost, which the next `execute` writes down: {}",
            gone.join("; ")
        ),
        (false, false) => format!("{state}; {}", gone.join("; ")),
    }
}

/// The end of the soak, if that is under way.
async fn soak_ends(client: &Client, run: &Summary) -> Result<Option<String>, JournalError> {
    let progress = &run.progress;
    let is_open = progress.next_phase() == Some(Phase::Soak) && progress.is_reversible() && !progress.closing;
    let Some(arrived) = progress.arrived.as_ref().filter(|_| is_open) else { return Ok(None) };
    let plan = journal::settings(client, &run.found.run).await?.unwrap_or_default();
    let set = requests::set(client, &run.found.run).await.map_err(JournalError::doing("read"))?;
    let soak = plan.with(set.iter().map(|(key, set)| (key, &set.value))).soak;
    let sql = "SELECT to_char(to_timestamp($1), 'YYYY-MM-DD HH24:MI:SSOF')";
    let ends = arrived.at as f64 + soak.as_secs_f64();
    let row = client.query_one(sql, &[&ends]).await.map_err(JournalError::doing("read"))?;
    Ok(Some(row.get(0)))
}

/// What was set for a run.
async fn settings(client: &Client, run: &str) -> Result<Vec<SettingSet>, JournalError> {
    let plan = journal::settings(client, run).await?.unwrap_or_default();
    let set = requests::set(client, run).await.map_err(JournalError::doing("read"))?;
    let now = plan.with(set.iter().map(|(key, set)| (key, &set.value)));
    let of_one = |change: SettingChange| {
        let set = set.get(&change.key)?;
        Some(SettingSet { change, by: set.by.clone(), at: set.at.clone() })
    };
    Ok(plan.changes_to(&now).into_iter().filter_map(of_one).collect())
}

async fn orchestrator(client: &Client, run: &Summary) -> Result<Option<Orchestrator>, JournalError> {
    let ours = ConnectionRole::prefix(Some(&run.found.run));
    let sql = "SELECT f.fact->>'host', (f.fact->>'pid')::bigint, to_char(f.at, 'YYYY-MM-DD HH24:MI:SSOF'), \
               EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 AND (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended('projh_bluegreen:' || $2, 0)), \
               (SELECT count(*) FROM pg_stat_activity a \
                WHERE starts_with(a.application_name, $3)) \
               FROM projh_bluegreen.fact f WHERE f.run = $1 AND f.fact->>'fact' = 'started' ORDER BY f.n DESC LIMIT 1";
    let row = client.query_opt(sql, &[&run.found.run, &run.found.plan_name, &ours]).await;
    Ok(row.map_err(JournalError::doing("read"))?.map(|row| Orchestrator {
        host: row.get(0),
        pid: u32::try_from(row.get::<_, i64>(1)).unwrap_or(0),
        since: row.get(2),
        alive: run.found.under_way && row.get::<_, bool>(3),
        connections: row.get(4),
    }))
}

/// The tables of a copy that is over, or has not begun.
fn copied(progress: &Progress, prepared: &Prepared) -> Vec<TableStatus> {
    let lanes = prepared.lanes.iter().zip(&progress.rows_copied);
    let table = |(lane, rows): (&crate::lifecycle::LaneDesign, &u64)| {
        let heap = lane.green.blue.table.heap_bytes;
        let bytes = if progress.copy_finished { heap } else { 0 };
        let eta_s = progress.copy_finished.then_some(0.0);
        TableStatus {
            table: lane.table.plain(),
            rows: *rows,
            rows_estimated: lane.green.blue.table.estimated_rows.max(*rows),
            rows_per_s: 0.0,
            reached: Reached { bytes, bytes_total: heap, bytes_per_s: 0.0, eta_s },
        }
    };
    lanes.map(table).collect()
}

/// Progress of the copy, and its rate over the last minute.
async fn copying(
    client: &Client,
    run: &Summary,
    prepared: &Prepared,
) -> Result<Vec<TableStatus>, JournalError> {
    let sql = "SELECT greatest(0, extract(epoch FROM clock_timestamp() - greatest(max(at), clock_timestamp() - interval '1 minute')))::float8 \
               FROM projh_bluegreen.fact WHERE run = $1 AND fact->>'fact' IN ('started', 'round_began')";
    let row = client.query_one(sql, &[&run.found.run]).await.map_err(JournalError::doing("read"))?;
    let lately = std::time::Duration::from_secs_f64(row.get::<_, Option<f64>>(0).unwrap_or(0.0));
    let sql = "SELECT (fact->>'lane')::int, (fact->'span'->>'from')::bigint, (fact->'span'->>'to')::bigint, \
               (fact->>'rows')::bigint FROM projh_bluegreen.fact \
               WHERE run = $1 AND fact->>'fact' = 'chunk_copied' AND at > clock_timestamp() - make_interval(secs => $2)";
    let chunks = client.query(sql, &[&run.found.run, &lately.as_secs_f64()]).await;
    let chunks = chunks.map_err(JournalError::doing("read"))?;
    let mut tables = copied(&run.progress, prepared);
    for (number, (table, lane)) in tables.iter_mut().zip(&prepared.lanes).enumerate() {
        let sql = "SELECT coalesce(pg_relation_size(to_regclass($1)), 0)";
        let row = client.query_one(sql, &[&lane.table.to_string()]).await;
        let heap = u64::try_from(row.map_err(JournalError::doing("read"))?.get::<_, i64>(0)).unwrap_or(0);
        let blocks = u32::try_from(heap / BLOCK_BYTES).unwrap_or(u32::MAX);
        let (mut rows_lately, mut blocks_lately) = (0, 0);
        for chunk in
            chunks.iter().filter(|chunk| usize::try_from(chunk.get::<_, i32>(0)).ok() == Some(number))
        {
            let block = |at| chunk.get::<_, Option<i64>>(at).and_then(|block| u32::try_from(block).ok());
            let span = Span { from: block(1).unwrap_or(0), to: block(2) };
            blocks_lately += u64::from(span.to.unwrap_or(blocks).min(blocks).saturating_sub(span.from));
            rows_lately += u64::try_from(chunk.get::<_, i64>(3)).unwrap_or(0);
        }
        let bytes =
            run.progress.copied.get(number).map_or(0, |have| u64::from(have.covered(blocks)) * BLOCK_BYTES);
        let bytes_per_s = per_s(blocks_lately * BLOCK_BYTES, lately);
        let eta_s = eta_s(heap.saturating_sub(bytes), bytes_per_s);
        table.rows_per_s = per_s(rows_lately, lately);
        table.reached = Reached { bytes, bytes_total: heap, bytes_per_s, eta_s };
    }
    Ok(tables)
}

fn indexes(progress: &Progress, prepared: &Prepared) -> StepCount {
    let of = prepared.lanes.iter().flat_map(|lane| lane.green.index_builds());
    let of = of.map(|index| index.on_row_holders.len() + usize::from(index.on_parent.is_some())).sum();
    StepCount { done: progress.index_steps.count(), of }
}

async fn left(client: &Client, run: &Summary) -> Result<Vec<LeftByPartitions>, JournalError> {
    let lanes = run.progress.prepared.as_ref().map_or(&[][..], |prepared| &prepared.lanes);
    let tables = left::names(lanes);
    let all = left::find(client, Whose::of(&tables)).await.map_err(JournalError::doing("read"))?;
    let of_one = |left: Left| LeftByPartitions {
        schema: left.schema.plain(),
        table: left.table.as_ref().map(QName::plain),
        kept: left.kept.map(|(why, hint)| format!("{why}; {hint}")),
    };
    Ok(all.into_iter().filter(|left| !left.at_work).map(of_one).collect())
}

async fn last_facts(client: &Client, run: &str) -> Result<Vec<Facts>, JournalError> {
    let sql = "SELECT fact->>'fact', to_char(at, 'YYYY-MM-DD HH24:MI:SSOF'), \
               extract(epoch FROM clock_timestamp() - at)::float8 \
               FROM projh_bluegreen.fact WHERE run = $1 ORDER BY n DESC LIMIT $2";
    let mut last: Vec<Facts> = Vec::new();
    for row in client.query(sql, &[&run, &FACTS]).await.map_err(JournalError::doing("read"))? {
        let fact: String = row.get(0);
        if let Some(before) = last.last_mut().filter(|before| before.fact == fact) {
            before.count += 1;
            continue;
        }
        if last.len() == KINDS {
            break;
        }
        let seconds_ago = (row.get::<_, f64>(2) * 10.0).round() / 10.0;
        last.push(Facts { fact, count: 1, at: row.get(1), seconds_ago });
    }
    Ok(last)
}
