//! What a `partitions` has left that was killed: a private schema with copies of rows, and a trigger that notes changes.

use tokio_postgres::Client;

use crate::lifecycle::LaneDesign;
use crate::pg::{Colour, Ident, QName};

/// A private schema in which a command has built.
pub(crate) struct Left {
    pub(crate) schema: Ident,
    /// The OID of its table, in decimal digits.
    pub(crate) of: String,
    /// The name that its table has now, if there is still such a table.
    pub(crate) table: Option<QName>,
    /// Whether that command is still at work.
    pub(crate) at_work: bool,
    /// Its triggers, each with its table.
    pub(crate) triggers: Vec<String>,
    /// Why it cannot be dropped, and what can be done about it.
    pub(crate) kept: Option<(String, String)>,
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

/// Finds them.
///
/// # Errors
/// If the server rejected the query, or the connection was lost.
pub(crate) async fn find(client: &Client, whose: Whose<'_>) -> Result<Vec<Left>, tokio_postgres::Error> {
    const SQL: &str = include_str!("../sql/catalog/upkeep_left.sql");
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

impl Left {
    /// That it was dropped.
    pub(crate) fn told(&self) -> String {
        let table =
            self.table.as_ref().map_or_else(|| "a table that no longer exists".to_owned(), QName::plain);
        format!("dropped what an earlier `projh-bluegreen partitions` had left at {table}")
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
