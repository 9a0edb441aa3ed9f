//! What a command asks of the process that holds a run. Each request is a row of the journal: who asked for what, when,
//! and what came of it.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::JournalError;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Roll the run back.
    Rollback,
    /// Finish the run.
    Finish(Finish),
    /// Release a held swap.
    Swap,
    /// Compare all rows again, during the soak.
    Verify,
    /// Stop to copy and to apply.
    Pause,
    /// Go on.
    Resume,
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
    const ALL: [Self; 9] = [
        Self::Rollback,
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
    pub fn is_end(self) -> bool {
        matches!(self, Self::Rollback | Self::Finish(_))
    }

    /// Its name in the journal.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Finish(Finish { force: false, now: false }) => "finish",
            Self::Finish(Finish { force: true, now: false }) => "finish --force",
            Self::Finish(Finish { force: false, now: true }) => "finish --now",
            Self::Finish(Finish { force: true, now: true }) => "finish --force --now",
            Self::Swap => "swap",
            Self::Verify => "verify",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ask| ask.name() == name)
    }
}

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
pub async fn ask(client: &Client, run: &str, ask: Ask) -> Result<i64, JournalError> {
    let by = format!("process {} on {}", std::process::id(), gethostname::gethostname().to_string_lossy());
    let sql = "INSERT INTO projh_bluegreen.request (run, what, asked_by) \
               VALUES ($1, $2, $3 || ', role ' || session_user) RETURNING n";
    let row = client.query_one(sql, &[&run, &ask.name(), &by]).await;
    Ok(row.map_err(JournalError::doing("written"))?.get(0))
}

/// The requests that have not been answered, the oldest first. From now on they count as taken.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn open(client: &Client, run: &str) -> Result<Vec<Request>, tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET taken_at = coalesce(taken_at, clock_timestamp()) \
               WHERE run = $1 AND answered_at IS NULL RETURNING n, what, asked_by";
    let mut open = Vec::new();
    for row in client.query(sql, &[&run]).await? {
        let n: i64 = row.get(0);
        match Ask::of(row.get(1)) {
            Some(ask) => open.push(Request { n, ask, by: row.get(2) }),
            None => {
                let why = Some("the process that holds the run does not know this request".to_owned());
                answer(client, n, &Answer { code: 1, why }).await?;
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
    let (ask, by) = (Ask::Rollback, format!("{OF_GATE}{gate}"));
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
    let sql = "SELECT n, asked_by FROM projh_bluegreen.request WHERE run = $1 AND answered_at IS NULL \
               AND what = $2 AND starts_with(asked_by, $3) ORDER BY n LIMIT 1";
    let row = client.query_opt(sql, &[&run, &Ask::Rollback.name(), &OF_GATE]).await?;
    Ok(row.map(|row| Request { n: row.get(0), ask: Ask::Rollback, by: row.get(1) }))
}

/// Answers what was asked of a process that no longer holds the run: whoever asked may be gone, too. With `keeps_gates`
/// not what a gate has decided.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn close(client: &Client, run: &str, keeps_gates: bool) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET answered_at = clock_timestamp(), answer = $2 \
               WHERE run = $1 AND answered_at IS NULL AND NOT ($3 AND starts_with(asked_by, $4))";
    let why = Some("the process that held the run has ended".to_owned());
    let answer = serde_json::json!(Answer { code: 1, why });
    client.execute(sql, &[&run, &answer, &keeps_gates, &OF_GATE]).await.map(drop)
}

/// Answers a request, and all others for the same: each of them has been reached with it.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn answer_all(
    client: &Client,
    request: &Request,
    answer: &Answer,
) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request r SET answered_at = clock_timestamp(), answer = $3 \
               FROM projh_bluegreen.request this WHERE this.n = $1 AND r.run = this.run AND r.what = $2 \
               AND r.answered_at IS NULL";
    let answer = serde_json::json!(answer);
    client.execute(sql, &[&request.n, &request.ask.name(), &answer]).await.map(drop)
}

/// Takes a request back, unless it ends the run and the process that holds it has begun with that. Whether it is taken back.
///
/// # Errors
/// If the server rejected the statement, or the connection was lost.
pub async fn withdraw(client: &Client, n: i64, ask: Ask) -> Result<bool, tokio_postgres::Error> {
    let sql = "UPDATE projh_bluegreen.request SET answered_at = clock_timestamp(), answer = $2 \
               WHERE n = $1 AND answered_at IS NULL AND (taken_at IS NULL OR NOT $3)";
    let answer = serde_json::json!(Answer { code: 7, why: Some("withdrawn by who asked".to_owned()) });
    client.execute(sql, &[&n, &answer, &ask.is_end()]).await.map(|rows| rows == 1)
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

/// Whether the run is paused: by whom, if so. The last of these requests counts, whoever held the run then.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn paused(client: &Client, run: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = "SELECT what, asked_by FROM projh_bluegreen.request \
               WHERE run = $1 AND what IN ('pause', 'resume') ORDER BY n DESC LIMIT 1";
    let row = client.query_opt(sql, &[&run]).await?;
    Ok(row.filter(|row| row.get::<_, &str>(0) == Ask::Pause.name()).map(|row| row.get(1)))
}
