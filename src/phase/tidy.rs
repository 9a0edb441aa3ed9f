//! Drops what a `partitions` has left that was killed. Whoever comes next does: another `partitions`, whatever it then refuses; and
//! a run of the table after each swap and at its end, if nobody keeps it from doing so.
//!
//! Invariant: a schema is dropped under the lock that each `partitions` holds, and only if nobody else has made something in it.

use std::time::Duration;

use tokio_postgres::Client;

use super::locks::Patience;
use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::left::{self, Left, Whose};
use crate::pg::{ConnectionRole, Ident, QName};

/// How long a run tries to drop them.
const WITHIN: Duration = Duration::from_secs(5);
const DOING: &str = "dropping what an earlier command has left";
/// The first number of the advisory lock that a command holds while it works on a table; the second is the table's OID.
const LOCK: &str = "hashtext('projh-bluegreen partitions')";

/// What became of one.
pub(crate) enum Outcome {
    Dropped,
    /// Somebody is at work there.
    InUse,
    /// Why it was not dropped, and what can be done about it.
    Kept(String, String),
}

/// Takes the lock of a command on a table, if nobody has it.
pub(crate) async fn lock(client: &Client, of: u32) -> Result<bool, Error> {
    let sql = format!("SELECT pg_try_advisory_lock({LOCK}, {}::int)", of as i32);
    Ok(client.query_one(&sql, &[]).await.doing("taking the lock of this command")?.get(0))
}

/// The same once whoever has it has ended.
pub(crate) async fn wait_for_lock(client: &Client, of: u32) -> Result<(), Error> {
    let sql = format!("SELECT pg_advisory_lock({LOCK}, {}::int)", of as i32);
    client.batch_execute(&sql).await.doing("taking the lock of this command")
}

/// Drops those of a run's tables, in a session of its own. It does not hold up the run: whatever is in the way is told, and the
/// next `partitions` meets it again.
///
/// # Errors
/// If they could not be looked for.
pub(crate) async fn aside(cx: &Context, client: &Client, tables: &[QName]) -> Result<(), Error> {
    let whose = Whose::of(tables);
    if left::find(client, whose).await.doing(DOING)?.iter().all(|left| left.at_work) {
        return Ok(());
    }
    let dropped = async {
        let session = cx.target.connect(ConnectionRole::of_command("partitions"), &[]).await?;
        all(cx, &session, &Patience::of_upkeep(cx), whose).await
    };
    let why = match tokio::time::timeout(WITHIN, dropped).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("its locks were not granted within {} s", WITHIN.as_secs()),
    };
    let text = format!(
        "what a `projh-bluegreen partitions` has left, with copies of rows, was not dropped: {why}; the next one drops it"
    );
    cx.tell(&Event::Notice { text });
    Ok(())
}

/// Drops them, unless a command is at work there.
///
/// # Errors
/// If the server rejected a statement, or the connection was lost.
pub(crate) async fn all(
    cx: &Context,
    client: &Client,
    patience: &Patience<'_>,
    whose: Whose<'_>,
) -> Result<(), Error> {
    for left in left::find(client, whose).await.doing(DOING)?.into_iter().filter(|left| !left.at_work) {
        let text = match one(&left, client, patience).await? {
            Outcome::Dropped => left.told(),
            Outcome::Kept(why, hint) => format!("{left} was not dropped: {why}; {hint}"),
            Outcome::InUse => continue,
        };
        cx.tell(&Event::Notice { text });
    }
    Ok(())
}

/// Drops it, unless others are at work there, or have made something.
pub(crate) async fn one(left: &Left, client: &Client, patience: &Patience<'_>) -> Result<Outcome, Error> {
    let Ok(of) = left.of.parse() else { return Ok(Outcome::InUse) };
    if !lock(client, of).await? {
        return Ok(Outcome::InUse);
    }
    let outcome = drop_now(left, client, patience).await;
    // Should this fail, the session has ended, and the lock with it.
    let _ = client.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK}, {}::int)", of as i32)).await;
    outcome
}

/// The same under the lock: what was found before may have changed.
async fn drop_now(left: &Left, client: &Client, patience: &Patience<'_>) -> Result<Outcome, Error> {
    let tables: Vec<QName> = left.table.iter().cloned().collect();
    let all = left::find(client, Whose { tables: &tables, put_away: true }).await.doing(DOING)?;
    let Some(now) = all.into_iter().find(|now| now.schema == left.schema) else {
        return Ok(Outcome::Dropped);
    };
    if let Some((why, hint)) = now.kept {
        return Ok(Outcome::Kept(why, hint));
    }
    if let Some(dependent) = dependent(client, &left.schema).await? {
        return Ok(Outcome::Kept(format!("{dependent} depends on it"), "drop that first".to_owned()));
    }
    // As clients do, the partition is locked before the table of its changes.
    let triggers = now.triggers.iter().map(|trigger| format!("DROP TRIGGER {trigger}; "));
    let sql = format!("{}DROP SCHEMA {} CASCADE", triggers.collect::<String>(), left.schema);
    let mut outcome = patience.execute(client, &sql, DOING).await;
    if outcome.is_ok() {
        outcome = client.batch_execute("COMMIT").await.doing(DOING);
    }
    if outcome.is_err() {
        client.batch_execute("ROLLBACK").await.doing(DOING)?;
    }
    outcome.map(|()| Outcome::Dropped)
}

/// Something elsewhere that would be dropped, too.
async fn dependent(client: &Client, schema: &Ident) -> Result<Option<String>, Error> {
    const SQL: &str = include_str!("../../sql/catalog/dependents_of_green.sql");
    let rows = client.query(SQL, &[&vec![schema.as_str()]]).await.doing(DOING)?;
    Ok(rows.first().map(|row| row.get(0)))
}
