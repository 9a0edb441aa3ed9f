//! What a command asks of the process that holds a run. Each request is a row of the journal: who asked for what, when,
//! and what came of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row};

use super::JournalError;
use crate::error::exit_code::ExitCode;
use crate::plan::{Changes, SettingChange};

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Roll the run back.
    Rollback {
        /// Whether green is dropped even after a swap that was undone.
        drop_green: bool,
    },
    /// Finish the run.
    Finish(Finish),
    /// Release a held swap.
    Swap,
    /// Compare all rows again.
    Verify,
    /// Stop to copy and to apply.
    Pause,
    /// Go on.
    Resume,
    /// Change these settings.
    Set(Changes),
}

/// How to finish a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Even if work after the swap is left, or the way back does not verify.
    pub force: bool,
    /// Without waiting for sessions that may have cached row types.
    pub now: bool,
}

impl Ask {
    const ALL: [Self; 10] = [
        Self::Rollback { drop_green: false },
        Self::Rollback { drop_green: true },
        Self::Finish(Finish { force: false, now: false }),
        Self::Finish(Finish { force: true, now: false }),
        Self::Finish(Finish { force: false, now: true }),
        Self::Finish(Finish { force: true, now: true }),
        Self::Swap,
        Self::Verify,
        Self::Pause,
        Self::Resume,
    ];

    /// Whether it ends the run, or what is executed of it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Rollback { .. } | Self::Finish(_))
    }

    /// Its name in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rollback { drop_green: false } => "rollback",
            Self::Rollback { drop_green: true } => "rollback --drop-green",
            Self::Finish(Finish { force: false, now: false }) => "finish",
            Self::Finish(Finish { force: true, now: false }) => "finish --force",
            Self::Finish(Finish { force: false, now: true }) => "finish --now",
            Self::Finish(Finish { force: true, now: true }) => "finish --force --now",
            Self::Swap => "swap",
            Self::Verify => "verify",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Set(_) => SET,
        }
    }

    fn of(name: &str, settings: Option<serde_json::Value>) -> Option<Self> {
        match settings {
            Some(settings) if name == SET => serde_json::from_value(settings).ok().map(Self::Set),
            _ => Self::ALL.into_iter().find(|ask| ask.name() == name),
        }
    }
}

const SET: &str = "set";

/// A request that has not been answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub n: i64,
    /// What is asked for.
    pub ask: Ask,
    /// Who asks: host, process and role.
    pub by: String,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The exit code that the command ends with.
    pub code: u8,
    /// Why it failed; `None` if it was carried out.
    pub why: Option<String>,
    /// The settings that it has changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<SettingChange>,
}

impl Answer {
    /// It was carried out; the command ends with this exit code.
    #[must_use]
    pub fn done(code: ExitCode) -> Self {
        Self { code: code.into(), why: None, changes: Vec::new() }
    }

    /// It was not carried out.
    #[must_use]
    pub fn failed(code: ExitCode, why: impl Into<String>) -> Self {
        Self { code: code.into(), why: Some(why.into()), changes: Vec::new() }
    }
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the process that holds the run has seen it.
    pub is_taken: bool,
    /// Its answer.
    pub answer: Option<Answer>,
}

/// Writes a request.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn ask(client: &Client, run: &str, ask: &Ask) -> Result<i64, JournalError> {
    let by = format!("process {} on {}", std::process::id(), gethostname::gethostname().to_string_lossy());
    let settings = match ask {
        Ask::Set(changes) => Some(serde_json::json!(changes)),
        _ => None,
    };
    let sql = "INSERT INTO projh_bluegreen.request (run, what, asked_by, settings) \
               VALUES ($1, $2, $3 || ', role ' || session_user, $4) RETURNING n";
    let row = client.query_one(sql, &[&run, &ask.name(), &by, &settings]).await;
    Ok(row.map_err(JournalError::doing("written"))?.get(0))
}

/// The requests that have not been answered, the oldest first. From now on they count as taken.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn open(client: &Client, run: &str) -> Result<Vec<Request>, tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET taken_at = coalesce(taken_at, clock_timestamp()) \
               WHERE run = $1 AND answered_at IS NULL RETURNING n, what, asked_by, settings";
    let mut open = Vec::new();
    for row in client.query(sql, &[&run]).await? {
        let n: i64 = row.get(0);
        match Ask::of(row.get(1), row.get(3)) {
            Some(ask) => open.push(Request { n, ask, by: row.get(2) }),
            None => {
                let why = "the process that holds the run does not know this request";
                answer(client, n, &Answer::failed(ExitCode::Failed, why)).await?;
            }
        }
    }
    open.sort_by_key(|request| request.n);
    Ok(open)
}

/// Answers a request, if nobody has.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn answer(client: &Client, n: i64, answer: &Answer) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET answered_at = clock_timestamp(), answer = $2 \
               WHERE n = $1 AND answered_at IS NULL";
    let answer = serde_json::json!(answer);
    client.execute(sql, &[&n, &answer]).await.map(drop)
}

/// What requests of gates begin with, in the place of who asks.
const OF_GATE: &str = "gate ";
/// What a gate asks for.
const BACK: Ask = Ask::Rollback { drop_green: false };

impl Request {
    /// The gate that asks; `None` if a person does.
    #[must_use]
    pub fn gate(&self) -> Option<&str> {
        self.by.strip_prefix(OF_GATE)
    }
}

/// Writes that a gate has decided to roll the run back. It counts for whoever holds the run, until that is done.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn decide(client: &Client, run: &str, gate: &str) -> Result<Request, tokio_postgres::Error> {
    let (ask, by) = (BACK, format!("{OF_GATE}{gate}"));
    let sql = "INSERT INTO projh_bluegreen.request (run, what, asked_by, taken_at) \
               VALUES ($1, $2, $3, clock_timestamp()) RETURNING n";
    let row = client.query_one(sql, &[&run, &ask.name(), &by]).await?;
    Ok(Request { n: row.get(0), ask, by })
}

/// What a gate has decided, and is not done.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn decided(client: &Client, run: &str) -> Result<Option<Request>, tokio_postgres::Error> {
    if !exist(client).await? {
        return Ok(None);
    }
    let sql = "SELECT n, asked_by FROM projh_bluegreen.request WHERE run = $1 AND answered_at IS NULL \
               AND what = $2 AND starts_with(asked_by, $3) ORDER BY n LIMIT 1";
    let row = client.query_opt(sql, &[&run, &BACK.name(), &OF_GATE]).await?;
    Ok(row.map(|row| Request { n: row.get(0), ask: BACK, by: row.get(1) }))
}

/// Answers what was asked of a process that no longer holds the run: whoever asked may be gone, too. With `keeps_gates`
/// not what a gate has decided.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn close(client: &Client, run: &str, keeps_gates: bool) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET answered_at = clock_timestamp(), answer = $2 \
               WHERE run = $1 AND answered_at IS NULL AND NOT ($3 AND starts_with(asked_by, $4))";
    let answer = Answer::failed(ExitCode::Failed, "the process that held the run has ended");
    let answer = serde_json::json!(answer);
    client.execute(sql, &[&run, &answer, &keeps_gates, &OF_GATE]).await.map(drop)
}

/// Answers a request, and all others for the same or for a part of it, as `rollback` is of `rollback --drop-green`: each of
/// them has been reached with it.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn answer_all(
    client: &Client,
    request: &Request,
    answer: &Answer,
) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request r SET answered_at = clock_timestamp(), answer = $3 \
               FROM projh_bluegreen.request this WHERE this.n = $1 AND r.run = this.run \
               AND starts_with($2 || ' ', r.what || ' ') \
               AND r.answered_at IS NULL";
    let answer = serde_json::json!(answer);
    client.execute(sql, &[&request.n, &request.ask.name(), &answer]).await.map(drop)
}

/// Takes a request back, unless it swaps or ends the run and the process that holds it has begun with that. Whether it is taken
/// back.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn withdraw(client: &Client, n: i64, ask: &Ask) -> Result<bool, tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET answered_at = clock_timestamp(), answer = $2 \
               WHERE n = $1 AND answered_at IS NULL AND (taken_at IS NULL OR NOT $3)";
    let answer = serde_json::json!(Answer::failed(ExitCode::Interrupted, "withdrawn by who asked"));
    client.execute(sql, &[&n, &answer, &(ask.is_end() || *ask == Ask::Swap)]).await.map(|rows| rows == 1)
}

/// How far a request has come.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn asked(client: &Client, n: i64) -> Result<Asked, JournalError> {
    let sql = "SELECT taken_at IS NOT NULL, answer FROM projh_bluegreen.request WHERE n = $1";
    let row = client.query_one(sql, &[&n]).await.map_err(JournalError::doing("read"))?;
    let answer = row.get::<_, Option<serde_json::Value>>(1);
    Ok(Asked { is_taken: row.get(0), answer: answer.and_then(|answer| serde_json::from_value(answer).ok()) })
}

/// Whether this database's journal has requests: one of version 0.1.0 has none until the next command on a run.
async fn exist(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT to_regclass('projh_bluegreen.request') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

/// A run that is paused.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Paused {
    /// Who has paused it: process, host and role.
    pub by: String,
    /// When.
    pub since: String,
}

/// Whether the run is paused. The last of these requests counts, whoever held the run then.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn paused(client: &Client, run: &str) -> Result<Option<Paused>, tokio_postgres::Error> {
    if !exist(client).await? {
        return Ok(None);
    }
    let sql = "SELECT what, asked_by, to_char(asked_at, 'YYYY-MM-DD HH24:MI:SSOF') FROM projh_bluegreen.request \
               WHERE run = $1 AND what IN ('pause', 'resume') AND coalesce((answer ->> 'code')::int, 0) = 0 \
               ORDER BY n DESC LIMIT 1";
    let row = client.query_opt(sql, &[&run]).await?;
    let row = row.filter(|row| row.get::<_, &str>(0) == Ask::Pause.name());
    Ok(row.map(|row| Paused { by: row.get(1), since: row.get(2) }))
}

/// What somebody has asked of the process that held a run, or a gate has decided.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LastRequest {
    /// What was asked for, as it is typed: `rollback --drop-green`.
    pub ask: String,
    /// Who has asked: process, host and role; or the gate.
    pub by: String,
    /// When.
    pub at: String,
    /// The exit code of the command; `null` as long as it is not answered.
    pub code: Option<u8>,
    /// Why it failed; `null` if it did not.
    pub why: Option<String>,
}

/// The last few requests, the latest first.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn last(client: &Client, run: &str) -> Result<Vec<LastRequest>, tokio_postgres::Error> {
    const SHOWN: i64 = 5;
    if !exist(client).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT what, asked_by, to_char(asked_at, 'YYYY-MM-DD HH24:MI:SSOF'), answer \
               FROM projh_bluegreen.request WHERE run = $1 ORDER BY n DESC LIMIT $2";
    let of_row = |row: &Row| {
        let answer = row.get::<_, Option<serde_json::Value>>(3);
        let answer: Option<Answer> = answer.and_then(|answer| serde_json::from_value(answer).ok());
        let (code, why) = answer.map_or((None, None), |answer| (Some(answer.code), answer.why));
        LastRequest { ask: row.get(0), by: row.get(1), at: row.get(2), code, why }
    };
    Ok(client.query(sql, &[&run, &SHOWN]).await?.iter().map(of_row).collect())
}

/// What `set` has last made of a setting.
pub struct Set {
    /// Its value as text; `None` if it went back to the plan's.
    pub value: Option<String>,
    /// Who has set it: process, host and role.
    pub by: String,
    /// When.
    pub at: String,
}

/// What was set of a run's settings, by their keys, whoever held the run then.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn set(client: &Client, run: &str) -> Result<BTreeMap<String, Set>, tokio_postgres::Error> {
    let mut all = BTreeMap::new();
    if !exist(client).await? {
        return Ok(all);
    }
    // A journal of an earlier version has no such column.
    let sql = "SELECT s.key, s.value, r.asked_by, to_char(r.asked_at, 'YYYY-MM-DD HH24:MI:SSOF') \
               FROM projh_bluegreen.request r, jsonb_each_text(nullif(to_jsonb(r)->'settings', 'null')) s \
               WHERE r.run = $1 AND r.what = 'set' AND r.answer->>'code' = '0' ORDER BY r.n";
    for row in client.query(sql, &[&run]).await? {
        all.insert(row.get(0), Set { value: row.get(1), by: row.get(2), at: row.get(3) });
    }
    Ok(all)
}
