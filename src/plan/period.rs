//! Periods of equal length in time, and the one that contains a given day.
//!
//! Invariant: periods meet without gap or overlap, and where they begin depends on the plan alone, never on the data or
//! the current day: the same rows get the same partitions in every run.

use jiff::Span;
use jiff::civil::Date;

use super::Unit;

/// An endless sequence of periods; period 0 begins at the origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Periods {
    origin: Date,
    /// In months if `by_month`, otherwise in days.
    length: i64,
    by_month: bool,
}

impl Periods {
    /// Periods of `count` units. Without `from` they are aligned to the calendar: days to 1970-01-01, weeks to Monday
    /// 1970-01-05, the others to the beginning of the year 0.
    pub(super) fn new(count: u32, unit: Unit, from: Option<Date>) -> Self {
        let (length, by_month, aligned) = match unit {
            Unit::Day => (1, false, Date::constant(1970, 1, 1)),
            Unit::Week => (7, false, Date::constant(1970, 1, 5)),
            Unit::Month => (1, true, Date::constant(0, 1, 1)),
            Unit::Quarter => (3, true, Date::constant(0, 1, 1)),
            Unit::Year => (12, true, Date::constant(0, 1, 1)),
        };
        let length = i64::from(count.max(1)) * length;
        Self { origin: from.unwrap_or(aligned), length, by_month }
    }

    /// The number of the period that contains `day`.
    pub(super) fn holding(&self, day: Date) -> i64 {
        let distance = if self.by_month {
            let before = i64::from(day.day() < self.origin.day());
            months(day) - months(self.origin) - before
        } else {
            days(day) - days(self.origin)
        };
        distance.div_euclid(self.length)
    }

    /// The first day of period `number`; `None` before the year 1 or after the year 9999.
    pub(super) fn start(&self, number: i64) -> Option<Date> {
        let distance = number.checked_mul(self.length)?;
        let span = match self.by_month {
            true => Span::new().try_months(distance).ok()?,
            false => Span::new().try_days(distance).ok()?,
        };
        self.origin.checked_add(span).ok().filter(|date| date.year() >= 1)
    }
}

fn months(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

fn days(date: Date) -> i64 {
    let epoch = Date::constant(1970, 1, 1);
    // In whole days, the distance between two dates cannot overflow.
    epoch.until((jiff::Unit::Day, date)).map_or(0, |span| i64::from(span.get_days()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Weekday, date};

    fn holding(count: u32, unit: Unit, day: Date) -> Date {
        let periods = Periods::new(count, unit, None);
        periods.start(periods.holding(day)).unwrap()
    }

    #[test]
    fn periods_are_aligned_to_the_calendar() {
        let day = date(2026, 3, 19);
        assert_eq!(holding(1, Unit::Day, day), day);
        assert_eq!(holding(1, Unit::Week, day).weekday(), Weekday::Monday);
        assert_eq!(holding(1, Unit::Week, day), date(2026, 3, 16));
        assert_eq!(holding(1, Unit::Month, day), date(2026, 3, 1));
        assert_eq!(holding(2, Unit::Month, date(2026, 4, 30)), date(2026, 3, 1));
        assert_eq!(holding(1, Unit::Quarter, day), date(2026, 1, 1));
        assert_eq!(holding(1, Unit::Year, day), date(2026, 1, 1));
        assert_eq!(holding(10, Unit::Year, day), date(2020, 1, 1));
        assert_eq!(holding(1, Unit::Day, date(1969, 12, 31)), date(1969, 12, 31));
    }

    #[test]
    fn an_origin_moves_them() {
        let fiscal = Periods::new(1, Unit::Year, Some(date(2024, 4, 1)));
        assert_eq!(fiscal.holding(date(2024, 3, 31)), -1);
        assert_eq!(fiscal.start(fiscal.holding(date(2026, 3, 31))), Some(date(2025, 4, 1)));
    }

    #[test]
    fn the_ends_of_time_are_none() {
        let years = Periods::new(1, Unit::Year, None);
        assert_eq!(years.start(0), None);
        assert!(years.start(1).is_some());
        assert_eq!(years.start(10_000), None);
        assert_eq!(years.start(i64::MAX), None);
    }
}
