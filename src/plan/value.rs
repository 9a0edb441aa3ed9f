//! Single values with a unit: sizes, durations, windows of the day, intervals, dates.

use std::cmp::Ordering;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::civil::{Date, Time};
use jiff::{Span, SpanRelativeTo, Timestamp, tz::TimeZone};

use super::{Unit, Window};

/// A size in bytes; a bare number has no unit and is rejected.
pub(super) fn size(text: &str) -> Option<u64> {
    let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
    has_unit.then(|| text.parse::<ByteSize>().ok().map(|size| size.0)).flatten()
}

/// A span of time such as `300ms`, `30m`, `1h 30m`, `7d` (a day has 24 hours).
pub(super) fn duration(text: &str) -> Option<Duration> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// For messages, in the largest unit that divides it.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(length, _)| millis > 0 && millis.is_multiple_of(*length)) {
        Some((length, unit)) => format!("{}{unit}", millis / length),
        None => format!("{millis}ms"),
    }
}

/// For messages, as a plan writes it: `16MiB`.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(length, _)| bytes > 0 && bytes.is_multiple_of(*length)) {
        Some((length, unit)) => format!("{}{unit}", bytes / length),
        None => format!("{bytes}B"),
    }
}

/// A window of the day such as `02:00-05:00 UTC`. The error says what to write instead.
pub(super) fn window(text: &str) -> Result<Window, String> {
    const HINT: &str = "write `HH:MM-HH:MM ZONE`, as in \"02:00-05:00 UTC\"";
    let (times, zone) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let (from, to) = times.split_once('-').ok_or(HINT)?;
    let (from, to) = (time(from).ok_or(HINT)?, time(to).ok_or(HINT)?);
    let zone = zone.trim();
    if zone.is_empty() {
        return Err(format!("say in which time zone: \"{times} UTC\", or an IANA name"));
    }
    if zone != "UTC" && TimeZone::get(zone).is_err() {
        return Err("the time zone is `UTC` or an IANA name that this machine knows".to_owned());
    }
    if from == to {
        return Err("this window is empty: let it begin and end at different times".to_owned());
    }
    Ok(Window { from, to, time_zone: zone.to_owned() })
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| (part.len() == 2).then(|| part.parse::<i8>().ok()).flatten();
    Time::new(two_digits(hour)?, two_digits(minute)?, 0, 0).ok()
}

/// A length such as `month`, `1 month`, `2 weeks`.
pub(super) fn interval(text: &str) -> Option<(u32, Unit)> {
    let (count, unit) = match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [unit] => (1, *unit),
        [count, unit] => (count.parse().ok()?, *unit),
        _ => return None,
    };
    let unit = match unit.to_ascii_lowercase().as_str() {
        "day" | "days" => Unit::Day,
        "week" | "weeks" => Unit::Week,
        "month" | "months" => Unit::Month,
        "quarter" | "quarters" => Unit::Quarter,
        "year" | "years" => Unit::Year,
        _ => return None,
    };
    (1..=1000).contains(&count).then_some((count, unit))
}

/// A date in exactly the form `2024-01-01`.
pub(super) fn date(text: &str) -> Option<Date> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (text.len() == 10 && digits == 8).then(|| text.parse().ok()).flatten()
}

/// A bound as a value with an order, if its text alone shows one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Comparable {
    /// A number; those that no `f64` represents exactly are not compared.
    Number(f64),
    /// A date or a time without a zone.
    Civil(jiff::civil::DateTime),
    /// A time with a zone.
    Instant(Timestamp),
}

impl Comparable {
    /// The order of two bounds of the same kind; `None` for different kinds.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Civil(a), Self::Civil(b)) => Some(a.cmp(b)),
            (Self::Instant(a), Self::Instant(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}

/// Parses a bound's text as a number, a date or a time.
pub(super) fn comparable(text: &str) -> Option<Comparable> {
    let text = text.trim();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if let Ok(number) = text.parse::<f64>() {
        return (number.is_finite() && digits <= 15).then_some(Comparable::Number(number));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(Comparable::Instant(instant));
    }
    text.parse().ok().map(Comparable::Civil)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("16MiB"), Some(16 << 20));
        assert_eq!(size("1.5 GiB"), Some(3 << 29));
        assert_eq!(size("16MB"), Some(16_000_000));
        for text in ["16", "", "MiB", "16 Mibs", "-1MiB", "sixteen"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(show_size(64 << 10), "64KiB");
        assert_eq!(size(&show_size(1500)), Some(1500));
    }

    #[test]
    fn durations_need_a_unit_and_are_not_negative() {
        assert_eq!(duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(duration("30m"), Some(Duration::from_secs(1800)));
        assert_eq!(duration("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(duration("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
        for text in ["30", "", "m", "-2s", "2s ago", "1 month", "soon"] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(show_duration(Duration::from_millis(999)), "999ms");
        assert_eq!(show_duration(Duration::from_secs(5400)), "90m");
        assert_eq!(show_duration(Duration::ZERO), "0ms");
    }

    #[test]
    fn a_window_names_its_zone() {
        let window = window("22:00-05:30 UTC").unwrap();
        assert_eq!((window.from.hour(), window.to.minute()), (22, 30));
        for text in
            ["02:00-05:00", "2-5 UTC", "02:00 UTC", "02:00-02:00 UTC", "25:00-05:00 UTC", "02:00-05:00 Mars"]
        {
            assert!(super::window(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_is_a_count_and_a_unit() {
        assert_eq!(interval("1 month"), Some((1, Unit::Month)));
        assert_eq!(interval("Quarters"), Some((1, Unit::Quarter)));
        assert_eq!(interval("2  weeks"), Some((2, Unit::Week)));
        for text in ["", "0 days", "1001 days", "1 hour", "month 1", "-1 day", "1 2 days"] {
            assert_eq!(interval(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_date_is_a_date() {
        assert!(date("2024-02-29").is_some());
        for text in ["2023-02-29", "2024-1-1", "2024-01-01T00:00", "20240101", "today", "+2024-01-0"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn bounds_compare_where_both_are_of_one_kind() {
        let order = |a: &str, b: &str| comparable(a).unwrap().compare(&comparable(b).unwrap());
        let less = |a: &str, b: &str| order(a, b) == Some(Ordering::Less);
        assert!(less("9", "10"));
        assert!(less("2024-01-01", "2024-01-01 12:00:00"));
        assert!(less("2024-01-01T00:00:00+02", "2024-01-01T00:00:00Z"));
        assert_eq!(order("9", "2024-01-01"), None);
        assert_eq!(order("2024-01-01", "2024-01-01T00:00:00Z"), None);
        assert_eq!(comparable("m"), None);
        assert_eq!(comparable("12345678901234567890"), None);
        assert_eq!(comparable("NaN"), None);
    }
}
