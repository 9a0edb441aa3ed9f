//! Which partitions a table needs ahead of time, and which of its own are older than the plan keeps. Pure.
//!
//! Invariant: a partition that covers no whole period of the plan, or does not have the plan's name for it, was made by
//! somebody else: nothing is done about it, but its range is not covered a second time.

use jiff::civil::{Date, DateTime, Time};
use jiff::{Span, ToSpan as _};

use super::{Days, KeyType, Kind, Leaf, Named, PartitionError, Periods, Template, Values, for_range, zone};
use crate::pg::QName;
use crate::plan::value::{Comparable, comparable};
use crate::plan::{PartitionBy, Partitions, Retention, Unit};

/// A range partition that there is; `None` is unbounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// Its name.
    pub name: QName,
    /// Its lower bound, in the plan's time zone.
    pub from: Option<DateTime>,
    /// Its upper bound, which it does not contain.
    pub to: Option<DateTime>,
}

/// What the plan says of a table's partitions, for a day.
pub struct Upkeep<'a> {
    table: &'a QName,
    named: Named<'a>,
    days: Days,
    periods: Periods,
    schema: &'a crate::pg::Ident,
    today: Date,
}

impl<'a> Upkeep<'a> {
    /// Of a table that the plan partitions by `every`; `None` for any other one.
    ///
    /// # Errors
    /// If the plan's template or time zone is not usable.
    pub fn of(
        table: &'a QName,
        by: &'a PartitionBy,
        key: KeyType,
        now: jiff::Timestamp,
    ) -> Result<Option<Self>, PartitionError> {
        let Partitions::Every { count, unit, from, .. } = by.into else { return Ok(None) };
        let kind = Kind::of(&by.into);
        let text = by.name.as_deref().unwrap_or(kind.default_template());
        let template = Template::parse(text, kind).map_err(PartitionError::Template)?;
        let days = Days { key, zone: zone(by.time_zone.as_deref())? };
        let today = now.to_zoned(days.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC)).date();
        Ok(Some(Self {
            table,
            named: Named { table: table.name.as_str(), template },
            days,
            periods: Periods::new(count, unit, from),
            schema: by.schema.as_ref().unwrap_or(&table.schema),
            today,
        }))
    }

    /// A partition from the text of its bound; `None` if it is no range of time.
    #[must_use]
    pub fn existing(&self, name: QName, bound: &str) -> Option<Existing> {
        let between = bound.strip_prefix("FOR VALUES FROM (")?.strip_suffix(')')?;
        let (from, to) = between.split_once(") TO (")?;
        let end = |text: &str| match text {
            "MINVALUE" | "MAXVALUE" => Some(None),
            _ => Some(Some(self.civil(text.strip_prefix('\'')?.strip_suffix('\'')?)?)),
        };
        Some(Existing { name, from: end(from)?, to: end(to)? })
    }

    fn civil(&self, text: &str) -> Option<DateTime> {
        match comparable(text)? {
            Comparable::Civil(time) => Some(time),
            Comparable::Instant(instant) => {
                let zone = self.days.zone.clone().unwrap_or(jiff::tz::TimeZone::UTC);
                Some(instant.to_zoned(zone).datetime())
            }
            Comparable::Number(_) => None,
        }
    }

    /// The partitions that are missing from the present period to `ahead` more.
    ///
    /// # Errors
    /// If one cannot be named, or has no midnights as its bounds.
    pub fn missing(&self, existing: &[Existing], ahead: u32) -> Result<Vec<Leaf>, PartitionError> {
        let present = self.periods.holding(self.today);
        let mut leaves = Vec::new();
        for number in present..=present + i64::from(ahead) {
            let (from, to) = self.period(number).ok_or(PartitionError::OutOfTime)?;
            for (from, to) in gaps((from, to), existing) {
                if (from.time(), to.time()) != (Time::midnight(), Time::midnight()) {
                    let name = self.table.plain();
                    return Err(PartitionError::Template(format!(
                        "the partitions of {name} leave a gap from {from} to {to}, which does not begin and end at midnight"
                    )));
                }
                leaves.push(self.leaf(from.date(), to.date())?);
            }
        }
        Ok(leaves)
    }

    /// The plan's own partitions that are older than it keeps; and others that are, which it does not know.
    #[must_use]
    pub fn expired<'e>(
        &self,
        existing: &'e [Existing],
        retention: &Retention,
    ) -> (Vec<&'e Existing>, Vec<&'e Existing>) {
        let span = length(retention.keep.0, retention.keep.1);
        let Ok(since) = self.today.checked_sub(span) else { return (Vec::new(), Vec::new()) };
        let since = since.to_datetime(Time::midnight());
        let mut old: Vec<&Existing> =
            existing.iter().filter(|partition| partition.to.is_some_and(|to| to <= since)).collect();
        old.sort_by_key(|partition| partition.to);
        let archive = retention.archive(self.schema);
        old.into_iter().partition(|partition| {
            // One that is archived has been moved already if its DETACH was interrupted.
            let in_place = [self.schema, &archive].contains(&&partition.name.schema);
            in_place && self.is_own(partition)
        })
    }

    /// Whether it covers a whole period, and has the plan's name for it.
    fn is_own(&self, partition: &Existing) -> bool {
        let (Some(from), Some(to)) = (partition.from, partition.to) else { return false };
        let period = self.period(self.periods.holding(from.date()));
        let name = self.leaf(from.date(), to.date()).map(|leaf| leaf.name);
        period == Some((from, to)) && name.is_ok_and(|name| name == partition.name.name)
    }

    fn period(&self, number: i64) -> Option<(DateTime, DateTime)> {
        let midnight = |date: Date| date.to_datetime(Time::midnight());
        Some((midnight(self.periods.start(number)?), midnight(self.periods.start(number + 1)?)))
    }

    fn leaf(&self, from: Date, to: Date) -> Result<Leaf, PartitionError> {
        let bound = for_range(&self.days.midnight(from)?, &self.days.midnight(to)?);
        let leaf = self.named.leaf(Values { from: Some(from), to: Some(to), ..Values::default() }, bound)?;
        if leaf.name.as_str().len() > crate::pg::MAX_BYTES {
            return Err(PartitionError::TooLong { name: leaf.name.as_str().to_owned() });
        }
        Ok(leaf)
    }
}

fn length(count: u32, unit: Unit) -> Span {
    let count = i64::from(count);
    match unit {
        Unit::Day => count.days(),
        Unit::Week => count.weeks(),
        Unit::Month => count.months(),
        Unit::Quarter => (3 * count).months(),
        Unit::Year => count.years(),
    }
}

/// The parts of a range that no partition covers.
fn gaps(range: (DateTime, DateTime), existing: &[Existing]) -> Vec<(DateTime, DateTime)> {
    let mut gaps = vec![range];
    for partition in existing {
        let (low, high) = (partition.from.unwrap_or(DateTime::MIN), partition.to.unwrap_or(DateTime::MAX));
        let rest = |(from, to): (DateTime, DateTime)| [(from, to.min(low)), (from.max(high), to)];
        gaps = gaps.into_iter().flat_map(rest).filter(|(from, to)| from < to).collect();
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn by(unit: Unit, zone: Option<&str>) -> PartitionBy {
        PartitionBy {
            column: "at".into(),
            into: Partitions::Every { count: 1, unit, from: None, until: None, ahead: 1 },
            default: true,
            schema: None,
            name: None,
            time_zone: zone.map(str::to_owned),
            retention: None,
        }
    }

    fn named(leaves: &[Leaf]) -> Vec<String> {
        leaves.iter().map(|leaf| format!("{} {}", leaf.name.as_str(), leaf.bound)).collect()
    }

    #[test]
    fn what_is_missing_ahead_is_made_once_and_gaps_are_filled() {
        let (table, by) = (QName::new("s", "t"), by(Unit::Month, Some("Europe/Berlin")));
        let now = "2026-03-31T23:30:00Z".parse().unwrap();
        let upkeep = Upkeep::of(&table, &by, KeyType::TimestampTz, now).unwrap().unwrap();
        let there = |name: &str, bound: &str| upkeep.existing(QName::new("s", name), bound).unwrap();
        let existing = [
            there("t_p2026_04", "FOR VALUES FROM ('2026-03-31 22:00:00+00') TO ('2026-04-30 22:00:00+00')"),
            there("odd", "FOR VALUES FROM ('2026-04-30 22:00:00+00') TO ('2026-05-09 22:00:00+00')"),
        ];
        let missing = upkeep.missing(&existing, 2).unwrap();
        assert_eq!(
            named(&missing),
            [
                "t_p2026_05 FOR VALUES FROM ('2026-05-10 00:00:00+02:00') TO ('2026-06-01 00:00:00+02:00')",
                "t_p2026_06 FOR VALUES FROM ('2026-06-01 00:00:00+02:00') TO ('2026-07-01 00:00:00+02:00')",
            ]
        );
        let all = there("all", "FOR VALUES FROM ('2020-01-01 00:00:00+00') TO (MAXVALUE)");
        assert_eq!(upkeep.missing(&[all], 5).unwrap(), []);
    }

    #[test]
    fn only_whole_periods_with_the_plans_name_expire() {
        let (table, by) = (QName::new("s", "t"), by(Unit::Month, None));
        let upkeep = Upkeep::of(&table, &by, KeyType::Date, "2026-03-15T00:00:00Z".parse().unwrap());
        let upkeep = upkeep.unwrap().unwrap();
        let there = |name: &str, from: Date, to: Date| {
            let bound = format!("FOR VALUES FROM ('{from}') TO ('{to}')");
            upkeep.existing(QName::new("s", name), &bound).unwrap()
        };
        let existing = [
            there("t_p2026_01", date(2026, 1, 1), date(2026, 2, 1)),
            there("t_p2025_12", date(2025, 12, 1), date(2026, 1, 1)),
            there("t_p2025_11", date(2025, 11, 1), date(2025, 12, 1)),
            there("t_p2025_10", date(2025, 10, 2), date(2025, 11, 1)),
            there("history", date(2020, 1, 1), date(2025, 10, 2)),
        ];
        let names = |some: Vec<&Existing>| {
            some.iter().map(|one| one.name.name.as_str().to_owned()).collect::<Vec<_>>()
        };
        let keep =
            |count, unit| Retention { keep: (count, unit), then: crate::plan::Then::Drop, schema: None };
        let (own, others) = upkeep.expired(&existing, &keep(2, Unit::Month));
        assert_eq!(names(own), ["t_p2025_11", "t_p2025_12"]);
        assert_eq!(names(others), ["history", "t_p2025_10"]);
        assert_eq!(names(upkeep.expired(&existing, &keep(1, Unit::Year)).0), Vec::<String>::new());
    }
}
