//! From a plan's `partition_by` to the names and bounds of the partitions. Pure.
//!
//! Invariant: the partitions of one table do not overlap, have different names that PostgreSQL does not truncate, and
//! together cover every day from the first to the last of the data.

use std::collections::HashSet;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::pg::{Ident, Literal, MAX_BYTES, QName, list};

use super::period::Periods;
use super::template::{Kind, Template, Values};
use super::value::{self, Comparable};
use super::{PartitionBy, Partitions};

/// More partitions than this are surely a mistake, and would overwhelm the planner.
pub const MAX_LEAVES: usize = 10_000;

/// One partition of green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The partition's name, at most 63 bytes.
    pub name: Ident,
    /// `FOR VALUES FROM (...) TO (...)`, `FOR VALUES IN (...)`, `FOR VALUES WITH (...)` or `DEFAULT`.
    pub bound: String,
}

impl Leaf {
    /// Lower and upper bound of a range, each as it stands in parentheses.
    fn range(&self) -> Option<(&str, &str)> {
        let between = self.bound.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?;
        // A value might itself contain the text between the two.
        between.split_once(") TO (").filter(|(_, upper)| !upper.contains(") TO ("))
    }
}

/// One partition that covers exactly these; `None` unless they are adjacent ranges in order.
#[must_use]
pub fn joined(leaves: &[Leaf]) -> Option<Leaf> {
    let ranges: Vec<_> = leaves.iter().map(Leaf::range).collect::<Option<_>>()?;
    let meet = ranges.windows(2).all(|pair| pair[0].1 == pair[1].0);
    let ((from, _), (_, to)) = ranges.first().copied().zip(ranges.last().copied()).filter(|_| meet)?;
    Some(Leaf { name: leaves.first()?.name.clone(), bound: format!("FOR VALUES FROM ({from}) TO ({to})") })
}

/// The partition key's type, as far as the text of a bound depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// The type `date`.
    Date,
    /// The type `timestamp without time zone`.
    Timestamp,
    /// The type `timestamp with time zone`: a bound without a zone would mean the session's, so it gets the plan's.
    TimestampTz,
    /// Any other type: bounds are written as in the plan.
    Other,
}

/// Why the plan's partitions cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The plan has `every`, and the key's type has no dates.
    #[error("`every` makes ranges of time, and column {column} has type {data_type}")]
    NotTime {
        /// The partition key.
        column: Ident,
        /// The key's type in green.
        data_type: String,
    },
    /// The ranges would be more than [`MAX_LEAVES`].
    #[error("this makes {count} partitions, from {first} to {last}")]
    TooMany {
        /// The number of partitions.
        count: i64,
        /// The first lower bound.
        first: Date,
        /// The last day to cover, not counting `ahead`.
        last: Date,
    },
    /// PostgreSQL would truncate a partition's name.
    #[error("the partition's name `{name}` has {} bytes; PostgreSQL keeps {MAX_BYTES}", name.len())]
    TooLong {
        /// The full name.
        name: String,
    },
    /// Two partitions, or a partition and its table, would have the same name.
    #[error("two relations would be called `{name}`")]
    SameName {
        /// The name that two relations would have.
        name: String,
    },
    /// The plan has a time zone, and the key has none.
    #[error("`time_zone` is for a key with a time zone, and column {column} has none")]
    NoZone {
        /// The partition key.
        column: Ident,
    },
    /// A range begins or ends before the year 1 or after the year 9999.
    #[error("the partitions would reach outside the years 1 to 9999")]
    OutOfTime,
    /// The template of the names asks for a date, and the bounds are not dates.
    #[error("the bounds are not dates, and the partitions' name asks for dates")]
    NoDate,
    /// The template of the names is wrong; that of a valid plan is not.
    #[error("the partitions' name: {0}")]
    Template(String),
}

/// The partitions of `table`, the default partition last.
///
/// `data` is the least and the greatest day of the key in the table; `today` is a day that the ranges cover in any
/// case, and from which `ahead` counts. Both are in the plan's time zone, if the key has one.
///
/// # Errors
///
/// Every variant of [`PartitionError`]: what is wrong with the plan for this data.
pub fn leaves(
    table: &QName,
    by: &PartitionBy,
    key: KeyType,
    data: Option<(Date, Date)>,
    today: Date,
) -> Result<Vec<Leaf>, PartitionError> {
    let kind = Kind::of(&by.into);
    let text = by.name.as_deref().unwrap_or(kind.default_template());
    let template = Template::parse(text, kind).map_err(PartitionError::Template)?;
    let named = Named { table: table.name.as_str(), template };
    let days = Days { key, zone: zone(by.time_zone.as_deref())? };
    if by.time_zone.is_some() && matches!(key, KeyType::Date | KeyType::Timestamp) {
        return Err(PartitionError::NoZone { column: by.column.clone() });
    }
    let mut leaves = match &by.into {
        Partitions::Every { .. } => every(&named, by, &days, data.unwrap_or((today, today)), today)?,
        Partitions::Bounds(bounds) => between(&named, bounds, &days)?,
        Partitions::List(lists) => {
            lists.iter().map(|list| in_list(&named, list)).collect::<Result<_, _>>()?
        }
        Partitions::Hash(modulus) => {
            (0..*modulus).map(|n| by_hash(&named, *modulus, n)).collect::<Result<_, _>>()?
        }
    };
    if by.default && !matches!(by.into, Partitions::Hash(_)) {
        leaves
            .push(Leaf { name: Ident(named.template.of_default(named.table)), bound: "DEFAULT".to_owned() });
    }
    check_names(table, by, &leaves)?;
    Ok(leaves)
}

/// What the names of the partitions are made from.
struct Named<'a> {
    table: &'a str,
    template: Template,
}

impl Named<'_> {
    fn leaf(&self, values: Values<'_>, bound: String) -> Result<Leaf, PartitionError> {
        let name =
            self.template.render(Values { table: self.table, ..values }).ok_or(PartitionError::NoDate)?;
        Ok(Leaf { name: Ident(name), bound })
    }
}

/// Where days begin, for a key of this type.
struct Days {
    key: KeyType,
    /// `None` is UTC.
    zone: Option<TimeZone>,
}

fn zone(name: Option<&str>) -> Result<Option<TimeZone>, PartitionError> {
    let unknown = |_| {
        PartitionError::Template(format!(
            "time zone `{}` is not known to this machine",
            name.unwrap_or_default()
        ))
    };
    name.filter(|name| *name != "UTC").map(|name| TimeZone::get(name).map_err(unknown)).transpose()
}

impl Days {
    /// A time without a zone as the text of a bound.
    fn bound(&self, time: DateTime) -> Option<String> {
        let (day, clock) = (time.date(), time.time());
        let Some(zone) = &self.zone else { return Some(format!("{day} {clock}+00")) };
        // A time that the clocks skip means the one after the gap.
        let zoned = time.to_zoned(zone.clone()).ok()?;
        Some(format!("{} {}{}", zoned.date(), zoned.time(), zoned.strftime("%:z")))
    }

    fn midnight(&self, day: Date) -> Result<String, PartitionError> {
        match self.key {
            KeyType::TimestampTz => {
                self.bound(day.to_datetime(Time::midnight())).ok_or(PartitionError::OutOfTime)
            }
            KeyType::Date | KeyType::Timestamp | KeyType::Other => Ok(day.to_string()),
        }
    }

    /// The day of a bound: in the plan's zone or, if it has none, as written.
    fn of(&self, bound: &str) -> Option<Date> {
        match (value::comparable(bound)?, &self.zone) {
            (Comparable::Civil(time), _) => Some(time.date()),
            (Comparable::Instant(instant), Some(zone)) => Some(instant.to_zoned(zone.clone()).date()),
            (Comparable::Instant(instant), None) => {
                let written = bound.trim().parse::<DateTime>().map(DateTime::date);
                Some(written.unwrap_or_else(|_| instant.to_zoned(TimeZone::UTC).date()))
            }
            _ => None,
        }
    }

    /// A bound as in the plan; for `timestamptz`, one without a zone gets the plan's.
    fn written(&self, bound: &str) -> String {
        match (self.key, value::comparable(bound)) {
            (KeyType::TimestampTz, Some(Comparable::Civil(time))) => {
                self.bound(time).unwrap_or_else(|| bound.to_owned())
            }
            _ => bound.to_owned(),
        }
    }
}

fn every(
    named: &Named<'_>,
    by: &PartitionBy,
    days: &Days,
    data: (Date, Date),
    today: Date,
) -> Result<Vec<Leaf>, PartitionError> {
    let Partitions::Every { count, unit, from, until, ahead } = by.into else { return Ok(Vec::new()) };
    let periods = Periods::new(count, unit, from);
    // `until` is the first day that is not covered.
    let last_day = until.map_or(today.max(data.1), |end| end.yesterday().unwrap_or(end));
    let first = if from.is_some() { 0 } else { periods.holding(data.0.min(today).min(last_day)) };
    let ahead = if until.is_some() { 0 } else { i64::from(ahead) };
    let last = periods.holding(last_day).max(first) + ahead;
    let start = |number: i64| periods.start(number).ok_or(PartitionError::OutOfTime);
    let count = last - first + 1;
    if usize::try_from(count).is_ok_and(|count| count > MAX_LEAVES) {
        return Err(PartitionError::TooMany { count, first: start(first)?, last: last_day });
    }
    (first..=last)
        .map(|number| {
            let from = start(number)?;
            let to =
                start(number + 1).or(until.filter(|_| number == last).ok_or(PartitionError::OutOfTime))?;
            let to = until.map_or(to, |end| end.min(to));
            let bound = for_range(&days.midnight(from)?, &days.midnight(to)?);
            named.leaf(Values { from: Some(from), to: Some(to), ..Values::default() }, bound)
        })
        .collect()
}

fn for_range(from: &str, to: &str) -> String {
    format!("FOR VALUES FROM ({}) TO ({})", Literal(from), Literal(to))
}

fn between(named: &Named<'_>, bounds: &[String], days: &Days) -> Result<Vec<Leaf>, PartitionError> {
    let pairs = bounds.iter().zip(bounds.iter().skip(1)).enumerate();
    pairs
        .map(|(at, (from, to))| {
            let values = Values { from: days.of(from), to: days.of(to), n: at + 1, ..Values::default() };
            named.leaf(values, for_range(&days.written(from), &days.written(to)))
        })
        .collect()
}

fn in_list(
    named: &Named<'_>,
    (name, values): &(String, Vec<Option<String>>),
) -> Result<Leaf, PartitionError> {
    let values = values.iter().map(|value| match value {
        Some(text) => Literal(text).to_string().trim_start().to_owned(),
        None => "NULL".to_owned(),
    });
    named.leaf(Values { name, ..Values::default() }, format!("FOR VALUES IN ({})", list(values)))
}

fn by_hash(named: &Named<'_>, modulus: u32, n: u32) -> Result<Leaf, PartitionError> {
    let bound = format!("FOR VALUES WITH (MODULUS {modulus}, REMAINDER {n})");
    named.leaf(Values { n: n as usize, ..Values::default() }, bound)
}

fn check_names(table: &QName, by: &PartitionBy, leaves: &[Leaf]) -> Result<(), PartitionError> {
    let with_the_table = by.schema.as_ref().is_none_or(|schema| *schema == table.schema);
    let mut seen: HashSet<&str> = HashSet::new();
    if with_the_table {
        seen.insert(table.name.as_str());
    }
    for leaf in leaves {
        let name = leaf.name.as_str();
        if name.len() > MAX_BYTES {
            return Err(PartitionError::TooLong { name: name.to_owned() });
        }
        if !seen.insert(name) {
            return Err(PartitionError::SameName { name: name.to_owned() });
        }
    }
    Ok(())
}

pub mod upkeep;

#[cfg(test)]
mod tests;
