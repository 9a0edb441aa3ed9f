//! The partitions for a plan and the rows of a table.
//!
//! Ranges of time are made for rows within the years 1 to 9999. Rows outside of them, and infinite ones, belong to the
//! default partition; `check` counts them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_postgres::Client;

use crate::error::{Doing, Error};
use crate::hangs_on::{Column, Definition, Table, without_length};
use crate::pg::{Ident, Literal};
use crate::plan::partition::{self, KeyType, Leaf, PartitionError};
use crate::plan::{ColumnChange, PartitionBy, Partitions, TablePlan};

/// A partition key that has days: a date or a timestamp.
pub(crate) struct TimeKey {
    /// Its value in green, as SQL over blue's columns.
    pub(crate) value: String,
    /// Its type in green.
    key: KeyType,
    /// The name of the plan's time zone; UTC by default.
    zone: String,
}

/// The partitions of green.
///
/// # Errors
/// If the range of the rows cannot be read, or the partitions cannot be made.
pub(crate) async fn leaves(
    client: &Client,
    table: &TablePlan,
    definition: &Definition,
) -> Result<Vec<Leaf>, Error> {
    let Some(by) = &table.partition_by else { return Ok(Vec::new()) };
    let Some((column, data_type)) = key_column(by, table, definition) else { return Ok(Vec::new()) };
    let key = type_named(data_type);
    if key == KeyType::Other && matches!(by.into, Partitions::Every { .. }) {
        let data_type = data_type.to_owned();
        return Err(PartitionError::NotTime { column: by.column.clone(), data_type }.into());
    }
    let data = match TimeKey::of(by, table, column, key) {
        Some(time) if !has_both_ends(by) => time.range(client, &definition.table).await?,
        _ => None,
    };
    let zone = by.time_zone.as_deref().and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC);
    let today = jiff::Timestamp::now().to_zoned(zone).date();
    Ok(partition::leaves(&table.table, by, key, data, today)?)
}

/// The time key of a table that the plan partitions by `every`; `None` for any other table.
pub(crate) fn time_key(table: &TablePlan, definition: &Definition) -> Option<TimeKey> {
    let by = table.partition_by.as_ref()?;
    let (column, data_type) = key_column(by, table, definition)?;
    TimeKey::of(by, table, column, type_named(data_type))
}

fn has_both_ends(by: &PartitionBy) -> bool {
    matches!(by.into, Partitions::Every { from: Some(_), until: Some(_), .. })
}

/// Blue's column for the partition key, and the key's type in green beneath its domains.
fn key_column<'a>(
    by: &PartitionBy,
    table: &'a TablePlan,
    definition: &'a Definition,
) -> Option<(&'a Column, &'a str)> {
    let renamed = |(blue, change): (&'a Ident, &ColumnChange)| match change {
        ColumnChange::Change { rename: Some(name), .. } if *name == by.column => Some(blue),
        _ => None,
    };
    let blue = table.columns.iter().find_map(renamed).unwrap_or(&by.column);
    let column = definition.column(blue)?;
    let data_type = match table.columns.get(&column.name) {
        Some(ColumnChange::Change { data_type: Some(green), .. }) => green,
        _ => &column.base_type,
    };
    Some((column, data_type))
}

/// The kind of key that a type's name stands for.
pub(crate) fn type_named(data_type: &str) -> KeyType {
    let name = data_type.to_lowercase();
    let name = name.trim().trim_start_matches("pg_catalog.");
    match name {
        "date" => KeyType::Date,
        _ if name.starts_with("timestamptz") || name.ends_with("with time zone") => KeyType::TimestampTz,
        _ if name.starts_with("timestamp") => KeyType::Timestamp,
        _ => KeyType::Other,
    }
}

impl TimeKey {
    fn of(by: &PartitionBy, table: &TablePlan, column: &Column, key: KeyType) -> Option<Self> {
        let is_time = key != KeyType::Other && matches!(by.into, Partitions::Every { .. });
        let value = match table.columns.get(&column.name) {
            Some(ColumnChange::Change { data_type, using, .. }) if data_type.is_some() || using.is_some() => {
                let sql = using.clone().unwrap_or_else(|| column.name.to_string());
                let data_type = data_type.as_ref().unwrap_or(&column.data_type);
                format!("({sql})::{}", without_length(data_type))
            }
            _ => column.name.to_string(),
        };
        let zone = by.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
        is_time.then_some(Self { value, key, zone })
    }

    /// A value of the key as a time without a zone, in the plan's time zone.
    pub(crate) fn civil(&self, value: &str) -> String {
        match self.key {
            KeyType::TimestampTz => format!("({value} AT TIME ZONE {})", Literal(&self.zone)),
            KeyType::Date | KeyType::Timestamp | KeyType::Other => format!("({value})::timestamp"),
        }
    }

    /// A condition, true for rows that a range can hold, in a form that an index can answer.
    pub(crate) fn is_in_range(&self) -> String {
        let (type_name, zone) = match self.key {
            KeyType::Date => ("date", ""),
            KeyType::TimestampTz => ("timestamptz", " 00:00:00+00"),
            KeyType::Timestamp | KeyType::Other => ("timestamp", ""),
        };
        let value = &self.value;
        format!("{value} >= '0001-01-02{zone}'::{type_name} AND {value} < '10000-01-01{zone}'::{type_name}")
    }

    /// The least and the greatest day; `None` if no row is in range.
    async fn range(&self, client: &Client, table: &Table) -> Result<Option<(Date, Date)>, Error> {
        let parts = |of: &str| {
            let civil = self.civil(of);
            format!(
                "extract(year FROM {civil})::int, extract(month FROM {civil})::int, extract(day FROM {civil})::int"
            )
        };
        let sql = format!(
            "SELECT {}, {} FROM (SELECT min({value}) AS lo, max({value}) AS hi FROM {table} WHERE {in_range}) AS s \
             WHERE lo IS NOT NULL",
            parts("lo"),
            parts("hi"),
            value = self.value,
            in_range = self.is_in_range(),
            table = table.name,
        );
        let rows = table.acting().ask(client, &sql, &[]).await;
        let rows = rows.doing("reading the range of the partition key")?;
        let Some(row) = rows.first() else { return Ok(None) };
        let date = |at: usize| {
            let part = |at: usize| row.get::<_, i32>(at);
            let year = i16::try_from(part(at)).ok()?;
            Date::new(year, i8::try_from(part(at + 1)).ok()?, i8::try_from(part(at + 2)).ok()?).ok()
        };
        // Local times of a zone may be past the end of the calendar.
        Ok(Some((date(0).unwrap_or(Date::constant(1, 1, 1)), date(3).unwrap_or(Date::MAX))))
    }
}
