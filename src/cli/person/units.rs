//! Numbers as people read them.

use std::time::Duration;

/// A count with separators: `1,234,567`.
pub(in crate::cli) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rounded count, for narrow places: `999`, `12k`, `1.2M`.
pub(in crate::cli) fn short(count: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.into_iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) if count / size < 9.95 => format!("{:.1}{unit}", count / size),
        Some((size, unit)) => format!("{:.0}{unit}", count / size),
        None => format!("{count:.0}"),
    }
}

/// A size in binary units: `12.3 MiB`.
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// A duration: `0.3 s`, `4:12`, `1:04:12`.
pub(in crate::cli) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3_600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60),
    }
}

/// The time left, in whole seconds; `?` if it is unknown or longer than 30 days.
pub(in crate::cli) fn left(eta_s: Option<f64>) -> String {
    match eta_s {
        Some(seconds) if seconds < 60.0 => format!("{:.0} s", seconds.max(0.0)),
        Some(seconds) if seconds < 30.0 * 86_400.0 => time(Duration::from_secs_f64(seconds)),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(999), "999");
        assert_eq!([short(7.0), short(1_234.0), short(76_400.0), short(2.5e6)], ["7", "1.2k", "76k", "2.5M"]);
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let of = |seconds| time(Duration::from_secs(seconds));
        assert_eq!([of(9), of(61), of(3_852)], ["9.0 s", "1:01", "1:04:12"]);
        assert_eq!(
            [left(None), left(Some(0.4)), left(Some(90.0)), left(Some(1e12))],
            ["?", "0 s", "1:30", "?"]
        );
    }
}
