//! The journal's schema: numbered migrations, each executed once, never edited after a release.
//!
//! Invariant: nothing in it is read or called before [`check_owners`] has passed: anybody who may create schemas could
//! have created it first, with code of their own in it.

use tokio_postgres::Client;

use super::JournalError;
use crate::pg::Ident;

const MIGRATIONS: [(i32, &str); 4] = [
    (1, include_str!("../../sql/journal/0001_journal.sql")),
    (2, include_str!("../../sql/journal/0002_way_back.sql")),
    (3, include_str!("../../sql/journal/0003_set.sql")),
    (4, include_str!("../../sql/journal/0004_sealed.sql")),
];

const STRANGERS: &str = include_str!("../../sql/catalog/journal_strangers.sql");

/// Checks that all of the journal belongs to the current role, to one that it is a member of, or to a superuser.
///
/// # Errors
/// [`JournalError::Stranger`] if it does not; or if the query fails.
pub async fn check_owners(client: &Client) -> Result<(), JournalError> {
    let row = client.query_opt(STRANGERS, &[]).await.map_err(JournalError::doing("looked for"))?;
    let Some(row) = row else { return Ok(()) };
    let (object, owner, role) = (row.get(0), Ident(row.get(1)), Ident(row.get(2)));
    Err(JournalError::Stranger { object, owner, role })
}

/// The newest version of the schema that this program knows.
const KNOWN: i32 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// A newer version may have written what this one does not know.
async fn refuse_newer(client: &Client) -> Result<(), JournalError> {
    let found = version(client).await.map_err(JournalError::doing("looked for"))?;
    if found > KNOWN { Err(JournalError::Newer { found, known: KNOWN }) } else { Ok(()) }
}

/// Whether this database has a journal.
pub(super) async fn exists(client: &Client) -> Result<bool, JournalError> {
    check_owners(client).await?;
    refuse_newer(client).await?;
    client
        .query_one("SELECT to_regclass('projh_bluegreen.run') IS NOT NULL", &[])
        .await
        .map(|row| row.get(0))
        .map_err(JournalError::doing("looked for"))
}

/// The version of the journal's schema; 0 if there is none.
async fn version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    match client.query_one("SELECT to_regclass('projh_bluegreen.migration')::oid", &[]).await? {
        row if row.get::<_, Option<u32>>(0).is_none() => Ok(0),
        _ => {
            let sql = "SELECT coalesce(max(version), 0) FROM projh_bluegreen.migration";
            Ok(client.query_one(sql, &[]).await?.get(0))
        }
    }
}

/// The migrations that have not been executed, by version.
async fn missing(
    client: &Client,
) -> Result<impl Iterator<Item = &'static (i32, &'static str)>, tokio_postgres::Error> {
    let there = version(client).await?;
    Ok(MIGRATIONS.iter().filter(move |(version, _)| *version > there))
}

/// The SQL with which a new run would create the journal; empty if it is up to date.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub async fn unmade(client: &Client) -> Result<Vec<&'static str>, JournalError> {
    check_owners(client).await?;
    let missing = missing(client).await.map_err(JournalError::doing("looked for"))?;
    Ok(missing.map(|(_, sql)| *sql).collect())
}

/// Brings the schema up to date; two processes that try at the same time take turns.
///
/// # Errors
/// If the journal is of a newer version or not to be trusted, the server rejected a statement, or the connection was lost.
pub async fn migrate(client: &Client) -> Result<(), JournalError> {
    let made = || JournalError::doing("made");
    let run = async {
        let begin = "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('projh_bluegreen', 0))";
        client.batch_execute(begin).await.map_err(made())?;
        check_owners(client).await?;
        refuse_newer(client).await?;
        for (version, sql) in missing(client).await.map_err(made())? {
            client.batch_execute(sql).await.map_err(made())?;
            // The schema may have existed, as somebody else's, before the migration found it.
            check_owners(client).await?;
            let sql = "INSERT INTO projh_bluegreen.migration (version) VALUES ($1)";
            client.execute(sql, &[version]).await.map_err(made())?;
        }
        client.batch_execute("COMMIT").await.map_err(made())
    };
    let outcome = run.await;
    if outcome.is_err() {
        // The connection is still in the failed transaction; whether this succeeds does not matter.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    outcome
}
