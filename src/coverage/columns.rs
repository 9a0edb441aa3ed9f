//! Which columns are looked at: those that the plan encrypts, and those whose comment marks them.

use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::lifecycle::Progress;
use crate::pg::{Ident, QName};
use crate::phi::{Format, KeyId};
use crate::plan::{ColumnChange, Plan, TablePlan};

const SQL: &str = include_str!("../../sql/catalog/phi_columns.sql");

/// A table with such columns.
pub(crate) struct Table {
    pub(crate) oid: u32,
    pub(crate) name: QName,
    pub(crate) columns: Vec<Column>,
    /// What identifies a row in the associated data of `aes-gcm`, of any of its columns.
    pub(crate) key: Vec<Ident>,
    /// The names that columns have while they are plaintext, if the plan encrypts them.
    pub(super) plain: Vec<Ident>,
}

/// A column.
pub(crate) struct Column {
    pub(crate) name: Ident,
    /// Whether it can have encrypted values.
    pub(crate) is_bytes: bool,
    /// How the plan encrypts it; `None` if its comment marks it.
    pub(crate) planned: Option<(Format, KeyId)>,
    /// Which columns of the table's key its values are bound to, in this order.
    pub(crate) bound_to: Vec<usize>,
    /// Whether it is what the plan encrypts, and the table has the encrypted column as well.
    pub(crate) is_beside: bool,
    pub(super) blind_index: Option<Code>,
    pub(super) tag: Option<Code>,
}

/// The column with the blind index, or the tag, of another one.
pub(super) struct Code {
    pub(super) name: Ident,
    pub(super) key: KeyId,
    /// Whether the table has it.
    pub(super) exists: bool,
}

struct Found {
    oid: u32,
    table: QName,
    name: Ident,
    is_marked: bool,
    is_bytes: bool,
}

pub(crate) async fn find(
    client: &Client,
    plan: &Plan,
    progress: Option<&Progress>,
) -> Result<Vec<Table>, Error> {
    let encrypts = |table: &&TablePlan| {
        table.columns.values().any(|change| matches!(change, ColumnChange::Encrypt { .. }))
    };
    let planned: Vec<&TablePlan> = plan.tables.iter().filter(encrypts).collect();
    let names: Vec<String> = planned.iter().map(|table| table.table.to_string()).collect();
    let rows = client.query(SQL, &[&names]).await.doing("looking for columns to cover")?;
    let of_row = |row: &tokio_postgres::Row| Found {
        oid: row.get(0),
        table: QName::new(row.get::<_, String>(1), row.get::<_, String>(2)),
        name: Ident::from(row.get::<_, String>(3)),
        is_marked: row.get(4),
        is_bytes: row.get(5),
    };
    let found: Vec<Found> = rows.iter().map(of_row).collect();
    let mut tables = Vec::new();
    for of_table in found.chunk_by(|one, other| one.oid == other.oid) {
        let name = &of_table[0].table;
        let plan = planned.iter().find(|table| table.table == *name);
        let whole = key(client, of_table[0].oid, name, progress).await?;
        let mut key = Vec::new();
        let columns = columns(of_table, plan.copied(), (&whole, &mut key));
        if columns.is_empty() {
            continue;
        }
        let plain =
            plan.map(|table| encrypted(table).map(|(blue, _)| blue.clone()).collect()).unwrap_or_default();
        tables.push(Table { oid: of_table[0].oid, name: name.clone(), columns, key, plain });
    }
    for table in planned {
        let has = |found: &&Table| {
            found.name == table.table && found.columns.iter().any(|column| column.planned.is_some())
        };
        if !tables.iter().any(|found| has(&found)) {
            let what = format!(
                "table {} does not exist, or has none of the columns that the plan encrypts",
                table.table.plain()
            );
            return Err(Error::Usage(what));
        }
    }
    Ok(tables)
}

/// The columns that the plan encrypts, by blue's names.
fn encrypted(plan: &TablePlan) -> impl Iterator<Item = (&Ident, &ColumnChange)> {
    plan.columns.iter().filter(|(_, change)| matches!(change, ColumnChange::Encrypt { .. }))
}

/// `whole` is what values are bound to of which the plan says nothing else; `key` gets all that any are bound to.
fn columns(
    found: &[Found],
    plan: Option<&TablePlan>,
    (whole, key): (&[Ident], &mut Vec<Ident>),
) -> Vec<Column> {
    let mut columns = Vec::new();
    for one in found {
        let of = |is_beside| plan.and_then(|plan| planned(plan, one, found, is_beside));
        let (planned, is_beside) = match of(false) {
            Some(planned) => (Some(planned), false),
            None => (of(true), true),
        };
        let (blind_index, tag) = match planned {
            Some((_, ColumnChange::Encrypt { blind_index, index_key, tag, .. })) if !is_beside => {
                (blind_index.clone().zip(*index_key), tag.clone())
            }
            _ => (None, None),
        };
        // A column that is not encrypted yet has neither.
        let code = |of: Option<(Ident, KeyId)>| {
            let (name, key) = of.filter(|_| one.is_bytes)?;
            let exists = found.iter().any(|other| other.name == name);
            Some(Code { name, key, exists })
        };
        let bound_to = match planned {
            Some((_, ColumnChange::Encrypt { bound_to: Some(names), .. })) => names.as_slice(),
            _ => whole,
        };
        if planned.is_some() || one.is_marked {
            columns.push(Column {
                name: one.name.clone(),
                is_bytes: one.is_bytes,
                planned: planned.and_then(|(_, change)| match change {
                    ColumnChange::Encrypt { format, key, .. } => Some((*format, *key)),
                    _ => None,
                }),
                bound_to: bound_to.iter().map(|name| place(key, name)).collect(),
                is_beside,
                blind_index: code(blind_index),
                tag: code(tag),
            });
        }
    }
    columns
}

/// Where the name is in the key, to which it is added if it is not.
fn place(key: &mut Vec<Ident>, name: &Ident) -> usize {
    key.iter().position(|known| known == name).unwrap_or_else(|| {
        key.push(name.clone());
        key.len() - 1
    })
}

/// The plan's column that this one is now: after the swap the encrypted one, before it the other. `is_beside`: the other, if there
/// is an encrypted one: its values are not encrypted, whoever has added it.
fn planned<'a>(
    plan: &'a TablePlan,
    one: &Found,
    all: &[Found],
    is_beside: bool,
) -> Option<(&'a Ident, &'a ColumnChange)> {
    encrypted(plan).find(|(blue, change)| {
        let ColumnChange::Encrypt { into, .. } = change else { return false };
        let into = into.as_ref().unwrap_or(blue);
        let is_encrypted = all.iter().any(|other| other.name == *into && other.is_bytes);
        match is_beside {
            true => is_encrypted && one.name == **blue,
            false => one.name == *if is_encrypted { into } else { blue },
        }
    })
}

/// The key that the table had before the run, or else its primary key.
async fn key(
    client: &Client,
    oid: u32,
    table: &QName,
    progress: Option<&Progress>,
) -> Result<Vec<Ident>, Error> {
    let lanes =
        progress.and_then(|progress| progress.prepared.as_ref()).map_or(&[][..], |prepared| &prepared.lanes);
    if let Some(lane) = lanes.iter().find(|lane| lane.table == *table) {
        return Ok(lane.key.columns.iter().map(|column| column.name.clone()).collect());
    }
    let sql = "SELECT a.attname::text FROM pg_catalog.pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n) \
               JOIN pg_catalog.pg_attribute a ON a.attrelid = $1 AND a.attnum = k.attnum \
               WHERE i.indrelid = $1 AND i.indisprimary AND k.n <= i.indnkeyatts ORDER BY k.n";
    let rows = client.query(sql, &[&oid]).await.doing("looking for a table's key")?;
    Ok(rows.iter().map(|row| Ident::from(row.get::<_, String>(0))).collect())
}
