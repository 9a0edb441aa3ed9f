//! What a `partitions` has left that was killed: a private schema with copies of rows, and a trigger that notes changes. Whoever
//! comes next drops it: another `partitions`, whatever it then refuses; and a run of the table after each swap and at its end,
//! if nobody keeps it from doing so.
//!
//! Invariant: a schema is dropped under the lock that each `partitions` holds, and only if nobody else has made something in it.

use std::time::Duration;

use tokio_postgres::Client;

use crate::context::Context;
use crate::error::{Doing, Error};
use crate::event::Event;
use crate::lifecycle::LaneDesign;
use crate::pg::{Colour, ConnectionRole, Ident, QName};
use crate::phase::locks::Patience;

/// How long a run tries to drop them.
const WITHIN: Duration = Duration::from_secs(5);
const DOING: &str = "dropping what an earlier command has left";
/// The first number of the advisory lock that a command holds while it works on a table; the second is the table's OID.
const LOCK: &str = "hashtext('projh-bluegreen partitions')";

/// A private schema in which a command has built.
pub(crate) struct Left {
    pub(crate) schema: Ident,
    /// The OID of its table, in decimal digits.
    of: String,
    /// The name that its table has now, if there is still such a table.
    pub(crate) table: Option<QName>,
    /// Whether that command is still at work.
    pub(crate) at_work: bool,
    /// Its triggers, each with its table.
    triggers: Vec<String>,
    /// Why it cannot be dropped, and what can be done about it.
    pub(crate) kept: Option<(String, String)>,
}

/// What became of one.
pub(super) enum Outcome {
    Dropped,
    /// Somebody is at work there.
    InUse,
    /// Why it was not dropped, and what can be done about it.
    Kept(String, String),
}

/// Whose schemas are looked for, besides those of tables that no longer exist.
#[derive(Clone, Copy)]
pub(crate) struct Whose<'a> {
    /// Of these tables.
    pub(crate) tables: &'a [QName],
    /// Of all tables that are in the private schema of a run.
    pub(crate) put_away: bool,
}

impl<'a> Whose<'a> {
    /// Of these tables, wherever they are.
    pub(crate) fn of(tables: &'a [QName]) -> Self {
        Self { tables, put_away: false }
    }
}

/// The names under which a run's tables may be found.
pub(crate) fn names(lanes: &[LaneDesign]) -> Vec<QName> {
    lanes
        .iter()
        .flat_map(|lane| {
            let away = [Colour::Green, Colour::Blue].map(|colour| lane.green.home_of(colour));
            away.into_iter().chain([lane.table.clone()]).collect::<Vec<_>>()
        })
        .collect()
}

/// Takes the lock of a command on a table, if nobody has it.
pub(super) async fn lock(client: &Client, of: u32) -> Result<bool, Error> {
    let sql = format!("SELECT pg_try_advisory_lock({LOCK}, {}::int)", of as i32);
    Ok(client.query_one(&sql, &[]).await.doing("taking the lock of this command")?.get(0))
}

/// The same once whoever has it has ended.
pub(super) async fn wait_for_lock(client: &Client, of: u32) -> Result<(), Error> {
    let sql = format!("SELECT pg_advisory_lock({LOCK}, {}::int)", of as i32);
    client.batch_execute(&sql).await.doing("taking the lock of this command")
}

/// Finds them.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn find(client: &Client, whose: Whose<'_>) -> Result<Vec<Left>, tokio_postgres::Error> {
    const SQL: &str = include_str!("../../sql/catalog/upkeep_left.sql");
    let names: Vec<String> = whose.tables.iter().map(ToString::to_string).collect();
    let rows = client.query(SQL, &[&names, &whose.put_away]).await?;
    let left = rows.iter().map(|row| {
        let name = |schema, name| {
            let of = |column| row.get::<_, Option<String>>(column).map(Ident);
            Some(QName { schema: of(schema)?, name: of(name)? })
        };
        let (may_drop, owner): (bool, String) = (row.get("may_drop"), row.get("owner"));
        let strangers: Vec<String> = row.get("strangers");
        let schema = Ident(row.get("schema"));
        let kept = match strangers.is_empty() {
            _ if !may_drop => Some((
                format!("it belongs to {owner}"),
                format!("as that role: drop schema {schema} cascade"),
            )),
            false => Some((
                format!("it has what others have made: {}", strangers.join(", ")),
                "move or drop that first".to_owned(),
            )),
            true => None,
        };
        Left {
            of: row.get("of"),
            table: name("table_schema", "table_name"),
            at_work: row.get("at_work"),
            triggers: row.get("triggers"),
            kept,
            schema,
        }
    });
    Ok(left.collect())
}

/// Drops those of a run's tables, in a session of its own. It does not hold up the run: whatever is in the way is told, and the
/// next `partitions` meets it again.
///
/// # Errors
/// If they could not be looked for.
pub(crate) async fn drop_aside(cx: &Context, client: &Client, tables: &[QName]) -> Result<(), Error> {
    let whose = Whose::of(tables);
    if find(client, whose).await.doing(DOING)?.iter().all(|left| left.at_work) {
        return Ok(());
    }
    let dropped = async {
        let session = cx.target.connect(ConnectionRole::of_command("partitions"), &[]).await?;
        drop_all(cx, &session, &super::patience(cx), whose).await
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
pub(crate) async fn drop_all(
    cx: &Context,
    client: &Client,
    patience: &Patience<'_>,
    whose: Whose<'_>,
) -> Result<(), Error> {
    for left in find(client, whose).await.doing(DOING)?.into_iter().filter(|left| !left.at_work) {
        let text = match left.drop(client, patience).await? {
            Outcome::Dropped => left.told(),
            Outcome::Kept(why, hint) => format!("{left} was not dropped: {why}; {hint}"),
            Outcome::InUse => continue,
        };
        cx.tell(&Event::Notice { text });
    }
    Ok(())
}

impl Left {
    /// Drops it, unless others are at work there, or have made something.
    pub(super) async fn drop(&self, client: &Client, patience: &Patience<'_>) -> Result<Outcome, Error> {
        let Ok(of) = self.of.parse() else { return Ok(Outcome::InUse) };
        if !lock(client, of).await? {
            return Ok(Outcome::InUse);
        }
        let outcome = self.drop_now(client, patience).await;
        // Should this fail, the session has ended, and the lock with it.
        let _ = client.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK}, {}::int)", of as i32)).await;
        outcome
    }

    /// The same under the lock: what was found before may have changed.
    async fn drop_now(&self, client: &Client, patience: &Patience<'_>) -> Result<Outcome, Error> {
        let tables: Vec<QName> = self.table.iter().cloned().collect();
        let all = find(client, Whose { tables: &tables, put_away: true }).await.doing(DOING)?;
        let Some(now) = all.into_iter().find(|left| left.schema == self.schema) else {
            return Ok(Outcome::Dropped);
        };
        if let Some((why, hint)) = now.kept {
            return Ok(Outcome::Kept(why, hint));
        }
        if let Some(dependent) = self.dependent(client).await? {
            return Ok(Outcome::Kept(format!("{dependent} depends on it"), "drop that first".to_owned()));
        }
        // As clients do, the partition is locked before the table of its changes.
        let triggers = now.triggers.iter().map(|trigger| format!("DROP TRIGGER {trigger}; "));
        let sql = format!("{}DROP SCHEMA {} CASCADE", triggers.collect::<String>(), self.schema);
        let mut outcome = patience.execute(client, &sql, DOING).await;
        if outcome.is_ok() {
            outcome = client.batch_execute("COMMIT").await.doing(DOING);
        }
        if outcome.is_err() {
            client.batch_execute("ROLLBACK").await.doing(DOING)?;
        }
        outcome.map(|()| Outcome::Dropped)
    }

    /// That it was dropped.
    pub(super) fn told(&self) -> String {
        let table =
            self.table.as_ref().map_or_else(|| "a table that no longer exists".to_owned(), QName::plain);
        format!("dropped what an earlier `projh-bluegreen partitions` had left at {table}")
    }

    /// Something elsewhere that would be dropped, too.
    async fn dependent(&self, client: &Client) -> Result<Option<String>, Error> {
        const SQL: &str = include_str!("../../sql/catalog/dependents_of_green.sql");
        let rows = client.query(SQL, &[&vec![self.schema.as_str()]]).await.doing(DOING)?;
        Ok(rows.first().map(|row| row.get(0)))
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "schema {}, with copies of rows of ", self.schema)?;
        match &self.table {
            Some(table) => f.write_str(&table.plain())?,
            None => f.write_str("a table that no longer exists")?,
        }
        f.write_str(", which a `projh-bluegreen partitions` has left,")
    }
}
