//! Where plaintext remains: besides the columns themselves, what holds it, shows it, or has sent it elsewhere.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tokio_postgres::Client;

use super::columns::Table;
use crate::error::{Doing, Error};
use crate::hangs_on::Source;
use crate::journal::Summary;
use crate::lifecycle::Prepared;
use crate::pg::{Colour, Ident, Literal, QName};
use crate::plan::Plan;

const PLACES: &str = include_str!("../../sql/catalog/phi_places.sql");
const JOURNEYS: &str = include_str!("../../sql/catalog/phi_journeys.sql");

/// A place where plaintext remains, or may remain.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PhiPlace {
    /// What kind of place it is.
    pub kind: PlaceKind,
    /// Its name.
    pub object: String,
    /// The rows that were found to have plaintext; `null` if they cannot be counted.
    pub rows: Option<u64>,
    /// What to do about it.
    pub advice: String,
}

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceKind {
    /// The old table, which follows the new one or waits for `finish`.
    Blue,
    /// The old table, in the archive.
    ArchivedTable,
    /// An index over plaintext.
    Index,
    /// A view over plaintext.
    View,
    /// A materialized view, which holds a copy.
    MaterializedView,
    /// The planner's statistics, which have values in them.
    Statistics,
    /// A trigger, whose function may write the row elsewhere, such as an audit log.
    Trigger,
    /// JSON with a value under the column's name: audit rows.
    AuditRows,
    /// A publication, which sends plaintext to subscribers.
    Publication,
    /// A logical slot: its consumer may get plaintext.
    Slot,
    /// A standby, which has whatever the server has.
    Replica,
    /// An archive of WAL.
    Archive,
    /// The server's own WAL.
    Wal,
    /// Dumps and base backups.
    Dump,
}

impl PlaceKind {
    fn of(word: &str) -> Option<Self> {
        let all = [
            ("index", Self::Index),
            ("view", Self::View),
            ("materialized_view", Self::MaterializedView),
            ("statistics", Self::Statistics),
            ("trigger", Self::Trigger),
            ("publication", Self::Publication),
            ("slot", Self::Slot),
            ("replica", Self::Replica),
            ("archive", Self::Archive),
        ];
        all.into_iter().find(|(name, _)| *name == word).map(|(_, kind)| kind)
    }

    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Blue => "old table",
            Self::ArchivedTable => "archived table",
            Self::Index => "index",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Statistics => "statistics",
            Self::Trigger => "trigger",
            Self::AuditRows => "rows with JSON",
            Self::Publication => "publication",
            Self::Slot => "replication slot",
            Self::Replica => "standby",
            Self::Archive => "WAL archive",
            Self::Wal => "WAL",
            Self::Dump => "dumps",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Blue => {
                "it is the way back until `projh-bluegreen finish`, which drops it, or moves it to the plan's settings.archive: plaintext, too"
            }
            Self::ArchivedTable => "drop it once it is not needed any more; only its owner can read it",
            Self::Index => "it goes with its column; for equality look-ups: blind_index",
            Self::View => "it shows what the column has, if it reads it: let it call decrypt_phi, or drop it",
            Self::MaterializedView => {
                "it holds a copy, with indexes and statistics of its own, if it reads the column through all views between: drop it, and create it without the column"
            }
            Self::Statistics => {
                "they are dropped with their column, which drops its indexes and extended statistics, too; VACUUM FULL of \
                 pg_catalog.pg_statistic and pg_statistic_ext_data removes their bytes after that"
            }
            Self::Trigger => {
                "look at its function, or at the rule: if it writes whole rows, leave out the column"
            }
            Self::AuditRows => {
                "update these rows so that they lack the value, then VACUUM; correct what writes them first"
            }
            Self::Publication => {
                "leave the column out, and remove it at the subscribers: they have plaintext"
            }
            Self::Slot => {
                "its consumer gets plaintext for as long as the column has it: remove it there as well"
            }
            Self::Replica => "it follows; a delayed one, or one that was detached, keeps plaintext",
            Self::Archive => {
                "WAL from before the swap has plaintext: expire it with the base backups that need it"
            }
            Self::Wal => {
                "segments from before the swap have plaintext until they are recycled, after the next checkpoints"
            }
            Self::Dump => "those from before the swap have plaintext: encrypt or expire them",
        }
    }

    fn at(self, object: impl Into<String>) -> PhiPlace {
        PhiPlace { kind: self, object: object.into(), rows: None, advice: self.advice().to_owned() }
    }
}

/// A table with plaintext.
struct Plaintext {
    oid: u32,
    columns: Vec<String>,
}

pub(super) async fn find(
    client: &Client,
    plan: &Plan,
    tables: &[Table],
    runs: &[Summary],
) -> Result<Vec<PhiPlace>, Error> {
    let mut places = Vec::new();
    let mut sources = Vec::new();
    for table in tables {
        let columns = table.columns.iter().filter(|column| !column.is_bytes);
        let columns: Vec<String> = columns.map(|column| column.name.as_str().to_owned()).collect();
        sources.extend((!columns.is_empty()).then_some(Plaintext { oid: table.oid, columns }));
    }
    for (kind, name, columns) in old_tables(plan, runs) {
        let row = client.query_one("SELECT pg_catalog.to_regclass($1)::oid", &[&name.to_string()]).await;
        let oid: Option<u32> = row.doing("looking for the old table")?.get(0);
        if let Some(oid) = oid {
            let count = format!("SELECT count(*) FROM {name} WHERE {}", any_of(&columns));
            let row = client.query_one(&count, &[]).await.doing("counting the old table's rows")?;
            let rows = row.get::<_, i64>(0).unsigned_abs();
            places.push(PhiPlace { rows: Some(rows), ..kind.at(name.plain()) });
            sources.push(Plaintext {
                oid,
                columns: columns.iter().map(|name| name.as_str().to_owned()).collect(),
            });
        }
    }
    for Plaintext { oid, columns } in &sources {
        let rows = client.query(PLACES, &[oid, columns]).await.doing("looking for plaintext")?;
        places.extend(
            rows.iter().filter_map(|row| Some(PlaceKind::of(row.get(0))?.at(row.get::<_, String>(1)))),
        );
    }
    places.extend(audit_rows(client, tables).await?);
    if tables.iter().any(|table| !table.plain.is_empty()) || !sources.is_empty() {
        let rows = client.query(JOURNEYS, &[]).await.doing("looking for slots and standbys")?;
        places.extend(
            rows.iter().filter_map(|row| Some(PlaceKind::of(row.get(0))?.at(row.get::<_, String>(1)))),
        );
        places.push(PlaceKind::Wal.at("pg_wal"));
        places.push(PlaceKind::Dump.at("pg_dump, base backups, snapshots of disks"));
    }
    Ok(places)
}

fn any_of(columns: &[Ident]) -> String {
    columns.iter().map(|name| format!("{name} IS NOT NULL")).collect::<Vec<_>>().join(" OR ")
}

/// Where the tables of runs with plaintext of the plan's tables may be, whichever plan they were of: after the swap blue, or what was
/// archived of it.
fn old_tables(plan: &Plan, runs: &[Summary]) -> Vec<(PlaceKind, QName, Vec<Ident>)> {
    let lanes = runs.iter().flat_map(|run| {
        let lanes = run.progress.prepared.iter().flat_map(|prepared| &prepared.lanes);
        lanes.map(|lane| (&run.progress, lane))
    });
    let mut old: Vec<(PlaceKind, QName, Vec<Ident>)> = Vec::new();
    for (progress, lane) in
        lanes.filter(|(_, lane)| plan.tables.iter().any(|table| table.table == lane.table))
    {
        let columns = lane.green.columns.iter().filter_map(|column| match &column.source {
            Source::Encrypted(how) if how.previous.is_none() => Some(how.blue.clone()),
            _ => None,
        });
        let columns: Vec<Ident> = columns.filter(|name| lane.green.is_plain(name)).collect();
        if columns.is_empty() {
            continue;
        }
        let archived = progress.archived.iter().filter(|archived| archived.name == lane.table.name);
        let archived = archived.map(|archived| (PlaceKind::ArchivedTable, archived.clone()));
        let blue = (PlaceKind::Blue, lane.green.home_of(Colour::Blue));
        for (kind, name) in std::iter::once(blue).chain(archived) {
            if !old.iter().any(|(_, known, _)| *known == name) {
                old.push((kind, name, columns.clone()));
            }
        }
    }
    old
}

/// JSON of other tables that has a value under the name of a column that the plan encrypts. What the SQL side has
/// encrypted, JSON shows as `"\\x..."`.
async fn audit_rows(client: &Client, tables: &[Table]) -> Result<Vec<PhiPlace>, Error> {
    let names: Vec<&str> = tables.iter().flat_map(|table| &table.plain).map(Ident::as_str).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT c.oid::pg_catalog.regclass::text, a.attname::text FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
               WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition \
                 AND n.nspname !~ '^(pg_|information_schema$|projh_bg_|projh_bluegreen$)' \
                 AND a.atttypid IN ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype) \
               ORDER BY 1, 2";
    let mut columns: BTreeMap<String, Vec<Ident>> = BTreeMap::new();
    for row in client.query(sql, &[]).await.doing("looking for JSON")? {
        columns.entry(row.get(0)).or_default().push(Ident::from(row.get::<_, String>(1)));
    }
    let names: Vec<String> = names.iter().map(|name| escaped(&in_json(name))).collect();
    let pattern =
        Literal(&format!("\"({})\"\\s*:\\s*(\"([^\"\\\\]|\\\\[^\\\\])|[\\[{{0-9tf-])", names.join("|")))
            .to_string();
    let mut places = Vec::new();
    for (table, columns) in columns {
        for column in columns {
            let sql = format!("SELECT count(*) FROM {table} WHERE {column}::pg_catalog.text ~ {pattern}");
            let row = client.query_one(&sql, &[]).await.doing(format!("looking for plaintext in {table}"))?;
            let rows = row.get::<_, i64>(0).unsigned_abs();
            let place = PlaceKind::AuditRows.at(format!("{table}.{}", column.plain()));
            places.extend((rows > 0).then_some(PhiPlace { rows: Some(rows), ..place }));
        }
    }
    Ok(places)
}

/// A name as JSON writes it, without the quotes around it.
fn in_json(name: &str) -> String {
    let quoted = serde_json::Value::from(name).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or(name).to_owned()
}

/// A name in a regular expression.
fn escaped(name: &str) -> String {
    name.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}

/// What a run that encrypted has left after `finish`, in a sentence; `None` if it encrypted nothing. `archived`: blue is kept, and
/// the statistics of these of its columns.
pub(crate) fn after_finish(prepared: &Prepared, archived: Option<&[String]>) -> Option<String> {
    let is_encrypted = prepared.lanes.iter().any(|lane| {
        lane.green
            .columns
            .iter()
            .any(|column| matches!(&column.source, Source::Encrypted(how) if how.previous.is_none()))
    });
    let archived = match archived {
        None => String::new(),
        Some([]) => "the archived table, ".to_owned(),
        Some(left) => format!("the archived table, the planner's statistics of {}, ", left.join(", ")),
    };
    is_encrypted.then(|| {
        format!(
            "plaintext of the encrypted columns may remain where this program cannot remove it: {archived}WAL and its archive, \
             standbys, subscribers, dumps, audit logs, the free space of pg_statistic and pg_statistic_ext_data until the server uses it again (VACUUM FULL \
             rewrites them); `projh-bluegreen phi coverage PLAN` lists what it can find"
        )
    })
}
