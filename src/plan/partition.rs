//! From a plan's `partition_by` to the partitions themselves: names and bounds. Pure.
//!
//! Invariant: the partitions of one table do not overlap, have different names that PostgreSQL
//! keeps whole, and together hold every day from the data's first to its last.

use std::collections::HashSet;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::pg::{Ident, Literal, MAX_BYTES, QName, list};

use super::period::Periods;
use super::template::{Kind, Template, Values};
use super::value::{self, Comparable};
use super::{PartitionBy, Partitions};

/// More partitions than this are surely a mistake, and would bring the planner to its knees.
pub const MAX_LEAVES: usize = 10_000;

/// One partition of green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// Its name, at most 63 bytes.
    pub name: Ident,
    /// `FOR VALUES FROM (...) TO (...)`, `FOR VALUES IN (...)`, `FOR VALUES WITH (...)` or `DEFAULT`.
    pub bound: String,
}

impl Leaf {
    /// The lower and the upper bound of a range, each as it stands in parentheses.
    fn range(&self) -> Option<(&str, &str)> {
        let between = self.bound.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?;
        // A value might hold what stands between the two.
        between.split_once(") TO (").filter(|(_, upper)| !upper.contains(") TO ("))
    }
}

/// One partition that holds what these hold; none unless they are ranges, one after the other.
#[must_use]
pub fn joined(leaves: &[Leaf]) -> Option<Leaf> {
    let ranges: Vec<_> = leaves.iter().map(Leaf::range).collect::<Option<_>>()?;
    let meet = ranges.windows(2).all(|pair| pair[0].1 == pair[1].0);
    let ((from, _), (_, to)) = ranges.first().copied().zip(ranges.last().copied()).filter(|_| meet)?;
    Some(Leaf { name: leaves.first()?.name.clone(), bound: format!("FOR VALUES FROM ({from}) TO ({to})") })
}

/// The partition key's type, as far as a bound's text depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// `date`.
    Date,
    /// `timestamp without time zone`.
    Timestamp,
    /// `timestamp with time zone`: a bound without a zone would mean the session's, so it gets UTC.
    TimestampTz,
    /// Anything else; bounds are written as the plan has them.
    Other,
}

/// Why there are no partitions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Periods of a column that has no dates.
    #[error("`every` makes ranges of time, and column {column} has type {data_type}")]
    NotTime {
        /// The partition key.
        column: Ident,
        /// Its type in green.
        data_type: String,
    },
    /// The ranges reach too far for their length.
    #[error("this makes {count} partitions, from {first} to {last}")]
    TooMany {
        /// How many.
        count: i64,
        /// First lower bound.
        first: Date,
        /// The day that the last one must hold, without those ahead.
        last: Date,
    },
    /// PostgreSQL would cut the name off.
    #[error("the partition's name `{name}` has {} bytes; PostgreSQL keeps {MAX_BYTES}", name.len())]
    TooLong {
        /// The name.
        name: String,
    },
    /// Two partitions, or a partition and its table.
    #[error("two relations would be called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// A range begins or ends before the year 1 or after the year 9999.
    #[error("the partitions would leave the years 1 to 9999")]
    OutOfTime,
    /// The name asks for a date and the bound is none.
    #[error("the bounds are not dates, and the partitions' name asks for dates")]
    NoDate,
    /// The name's template; a proven plan has none like it.
    #[error("the partitions' name: {0}")]
    Template(String),
}

/// The partitions of `table`, the default partition last.
///
/// `data` is the least and the greatest day of the key in the table (UTC, where it has a zone);
/// `today` is a day that the ranges hold in any case, and the present one counts as.
///
/// # Errors
///
/// See [`PartitionError`]; all of them name what is wrong with the plan for this data.
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
    let mut leaves = match &by.into {
        Partitions::Every { .. } => every(&named, by, key, data.unwrap_or((today, today)), today)?,
        Partitions::Bounds(bounds) => between(&named, bounds, key)?,
        Partitions::List(lists) => {
            lists.iter().map(|list| in_list(&named, list)).collect::<Result<_, _>>()?
        }
        Partitions::Hash(modulus) => {
            (0..*modulus).map(|n| by_hash(&named, *modulus, n)).collect::<Result<_, _>>()?
        }
    };
    if by.default && !matches!(by.into, Partitions::Hash(_)) {
        leaves.push(Leaf { name: Ident(format!("{}_default", named.table)), bound: "DEFAULT".to_owned() });
    }
    check_names(table, by, &leaves)?;
    Ok(leaves)
}

/// What names the partitions.
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

fn every(
    named: &Named<'_>,
    by: &PartitionBy,
    key: KeyType,
    data: (Date, Date),
    today: Date,
) -> Result<Vec<Leaf>, PartitionError> {
    let Partitions::Every { count, unit, from, ahead } = by.into else { return Ok(Vec::new()) };
    let periods = Periods::new(count, unit, from);
    let last_day = today.max(data.1);
    let first = if from.is_some() { 0 } else { periods.holding(data.0.min(today)) };
    let last = periods.holding(last_day).max(first) + i64::from(ahead);
    let start = |number: i64| periods.start(number).ok_or(PartitionError::OutOfTime);
    let count = last - first + 1;
    if usize::try_from(count).is_ok_and(|count| count > MAX_LEAVES) {
        return Err(PartitionError::TooMany { count, first: start(first)?, last: last_day });
    }
    (first..=last)
        .map(|number| {
            let (from, to) = (start(number)?, start(number + 1)?);
            let bound = for_range(&midnight(from, key), &midnight(to, key));
            named.leaf(Values { from: Some(from), to: Some(to), ..Values::default() }, bound)
        })
        .collect()
}

fn midnight(day: Date, key: KeyType) -> String {
    match key {
        KeyType::TimestampTz => format!("{day} 00:00:00+00"),
        KeyType::Date | KeyType::Timestamp | KeyType::Other => day.to_string(),
    }
}

fn for_range(from: &str, to: &str) -> String {
    format!("FOR VALUES FROM ({}) TO ({})", Literal(from), Literal(to))
}

fn between(named: &Named<'_>, bounds: &[String], key: KeyType) -> Result<Vec<Leaf>, PartitionError> {
    let day = |bound: &str| match value::comparable(bound) {
        Some(Comparable::Civil(time)) => Some(time.date()),
        Some(Comparable::Instant(instant)) => Some(instant.to_zoned(jiff::tz::TimeZone::UTC).date()),
        _ => None,
    };
    let pairs = bounds.iter().zip(bounds.iter().skip(1)).enumerate();
    pairs
        .map(|(at, (from, to))| {
            let values = Values { from: day(from), to: day(to), n: at + 1, ..Values::default() };
            named.leaf(values, for_range(&with_zone(from, key), &with_zone(to, key)))
        })
        .collect()
}

/// A bound as the plan has it; one for `timestamptz` that has no zone of its own gets UTC.
fn with_zone(bound: &str, key: KeyType) -> String {
    match (key, value::comparable(bound)) {
        (KeyType::TimestampTz, Some(Comparable::Civil(time))) => {
            format!("{} {}+00", time.date(), time.time())
        }
        _ => bound.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Unit;
    use jiff::civil::date;

    fn by(into: Partitions) -> PartitionBy {
        PartitionBy { column: Ident::from("c"), into, default: true, schema: None, name: None }
    }

    fn every(unit: Unit) -> PartitionBy {
        by(Partitions::Every { count: 1, unit, from: None, ahead: 1 })
    }

    fn made(by: &PartitionBy, key: KeyType) -> Vec<(String, String)> {
        let data = Some((date(2025, 11, 20), date(2025, 12, 1)));
        let table = QName::new("public", "t");
        let made = leaves(&table, by, key, data, date(2025, 12, 31)).unwrap();
        made.into_iter().map(|leaf| (leaf.name.0, leaf.bound)).collect()
    }

    fn pair(name: &str, bound: &str) -> (String, String) {
        (name.to_owned(), bound.to_owned())
    }

    #[test]
    fn ranges_that_meet_are_joined() {
        let leaf = |bound: &str| Leaf { name: Ident::from(bound), bound: bound.to_owned() };
        let join = |bounds: &[&str]| {
            let leaves: Vec<_> = bounds.iter().map(|bound| leaf(bound)).collect();
            joined(&leaves).map(|leaf| leaf.bound)
        };
        let (first, second) = ("FOR VALUES FROM ('a') TO ('c')", "FOR VALUES FROM ('c') TO ('e')");
        assert_eq!(join(&[first, second]).as_deref(), Some("FOR VALUES FROM ('a') TO ('e')"));
        assert_eq!(join(&[first, "FOR VALUES FROM ('d') TO ('e')"]), None);
        assert_eq!(join(&[first, "DEFAULT"]), None);
        assert_eq!(join(&["FOR VALUES IN ('a')"]), None);
        assert_eq!(join(&["FOR VALUES FROM (') TO (') TO ('b')"]), None);
        assert_eq!(join(&[]), None);
    }

    #[test]
    fn months_from_the_data_to_those_ahead() {
        assert_eq!(
            made(&every(Unit::Month), KeyType::Date),
            [
                pair("t_p2025_11", "FOR VALUES FROM ('2025-11-01') TO ('2025-12-01')"),
                pair("t_p2025_12", "FOR VALUES FROM ('2025-12-01') TO ('2026-01-01')"),
                pair("t_p2026_01", "FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')"),
                pair("t_default", "DEFAULT"),
            ]
        );
    }

    #[test]
    fn a_bound_of_timestamptz_is_utc_in_every_session() {
        let utc = "FOR VALUES FROM ('2025-11-01 00:00:00+00') TO ('2025-12-01 00:00:00+00')";
        assert_eq!(made(&every(Unit::Month), KeyType::TimestampTz)[0].1, utc);
        let bounds = by(Partitions::Bounds(vec!["2025-11-01".into(), "2025-12-01".into()]));
        assert_eq!(made(&bounds, KeyType::TimestampTz)[0], pair("t_p1", utc));
        let plain = "FOR VALUES FROM ('2025-11-01') TO ('2025-12-01')";
        assert_eq!(made(&bounds, KeyType::Timestamp)[0].1, plain);
        let zoned = by(Partitions::Bounds(vec!["2025-11-01T00:00+02".into(), "2025-12-01T12:30".into()]));
        assert_eq!(
            made(&zoned, KeyType::TimestampTz)[0].1,
            "FOR VALUES FROM ('2025-11-01T00:00+02') TO ('2025-12-01 12:30:00+00')"
        );
    }

    #[test]
    fn each_kind_has_its_names() {
        let first = |unit| made(&every(unit), KeyType::Date)[0].0.clone();
        assert_eq!(first(Unit::Day), "t_p2025_11_20");
        assert_eq!(first(Unit::Week), "t_p2025_11_17");
        assert_eq!(first(Unit::Quarter), "t_p2025_q4");
        assert_eq!(first(Unit::Year), "t_p2025");
        assert_eq!(
            made(&by(Partitions::Hash(2)), KeyType::Other),
            [
                pair("t_h0", "FOR VALUES WITH (MODULUS 2, REMAINDER 0)"),
                pair("t_h1", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"),
            ]
        );
        let list = Partitions::List(vec![("open".into(), vec![Some("it's".into()), None])]);
        assert_eq!(
            made(&by(list), KeyType::Other),
            [pair("t_open", "FOR VALUES IN ('it''s', NULL)"), pair("t_default", "DEFAULT")]
        );
    }

    #[test]
    fn a_first_bound_is_taken_as_it_is() {
        let into = Partitions::Every { count: 2, unit: Unit::Week, from: Some(date(2025, 12, 3)), ahead: 0 };
        let made = made(&by(into), KeyType::Date);
        assert_eq!(made[0].1, "FOR VALUES FROM ('2025-12-03') TO ('2025-12-17')");
        assert_eq!(made.len(), 4);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let table = QName::new("public", "t");
        let today = date(2025, 12, 31);
        let refuse = |by: &PartitionBy, data| leaves(&table, by, KeyType::Date, data, today).unwrap_err();
        let long_ago = Some((date(1, 1, 1), today));
        assert!(matches!(refuse(&every(Unit::Day), long_ago), PartitionError::TooMany { .. }));
        let far = Some((date(9999, 12, 31), date(9999, 12, 31)));
        assert_eq!(refuse(&every(Unit::Year), far), PartitionError::OutOfTime);
        let named = |name: &str| PartitionBy { name: Some(name.to_owned()), ..every(Unit::Month) };
        let same = PartitionError::SameName { name: "t_2025".to_owned() };
        assert_eq!(refuse(&named("{table}_{from:%Y}"), Some((date(2025, 1, 1), today))), same);
        let long = format!("{}{{from}}", "ä".repeat(27));
        assert!(matches!(refuse(&named(&long), None), PartitionError::TooLong { name } if name.len() == 64));
        assert!(matches!(refuse(&named("{table}"), None), PartitionError::Template(_)));
        let hash = PartitionBy { name: Some("{n}".into()), ..by(Partitions::Hash(2)) };
        let table = QName::new("public", "1");
        let refused = leaves(&table, &hash, KeyType::Other, None, today);
        assert_eq!(refused, Err(PartitionError::SameName { name: "1".to_owned() }));
        let elsewhere = PartitionBy { schema: Some("parts".into()), ..hash };
        assert!(leaves(&table, &elsewhere, KeyType::Other, None, today).is_ok());
    }
}
