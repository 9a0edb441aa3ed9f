//! What must hold for any text and any data.

use jiff::civil::Date;
use proptest::prelude::*;

use super::*;
use crate::plan::partition::{KeyType, leaves};

/// Pieces that plans are made of, so that arbitrary text gets past the first lines.
fn piece() -> impl Strategy<Value = String> {
    let full: Vec<String> = FULL.split_inclusive('\n').map(str::to_owned).collect();
    prop_oneof![
        6 => proptest::sample::select(full),
        1 => "[ -~\n\u{e9}\u{1F600}]{0,12}",
        1 => proptest::sample::select(vec![
            "${", "}", "&a ", "*a", "- ", "? ", ": ", "\"", "'", "|\n", "{", "[", "]", "null", "!x ", "\t", "\0", "--- ",
        ]).prop_map(str::to_owned),
    ]
}

fn date() -> impl Strategy<Value = Date> {
    (1i16..=9990, 1i8..=12, 1i8..=28).prop_map(|(year, month, day)| Date::new(year, month, day).unwrap())
}

fn unit() -> impl Strategy<Value = Unit> {
    proptest::sample::select(vec![Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year])
}

/// The day between the `which`th pair of quotes of a range's bound.
fn bound(leaf: &partition::Leaf, which: usize) -> Date {
    leaf.bound.split('\'').nth(2 * which + 1).unwrap()[..10].parse().unwrap()
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn reading_something_like_a_plan_never_panics(pieces in proptest::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        if let Err(problems) = parse(&text) {
            prop_assert!(problems.len() >= 1);
            let lines = text.lines().count().max(1);
            for problem in problems.iter() {
                prop_assert!(problem.line.is_none_or(|line| line >= 1 && line <= lines + 1), "{problem}");
            }
        }
    }

    #[test]
    fn ranges_meet_and_hold_all_days(
        (count, unit) in (1u32..=30, unit()),
        (first, days, ahead) in (date(), 0i32..=900, 0u32..=5),
        today_after in -500i32..=500,
        key in proptest::sample::select(vec![KeyType::Date, KeyType::TimestampTz]),
    ) {
        let day = |days: i32| first.saturating_add(jiff::Span::new().days(days));
        let (last, today) = (day(days), day(today_after));
        let by = PartitionBy {
            column: Ident::from("c"),
            into: Partitions::Every { count, unit, from: None, until: None, ahead },
            default: false,
            schema: None,
            name: Some("{table}_{from}".to_owned()),
            time_zone: None,
        retention: None,
        };
        let table = QName::new("public", "t");
        let made = leaves(&table, &by, key, Some((first, last)), today);
        prop_assume!(made != Err(partition::PartitionError::OutOfTime));
        let made = made.unwrap();
        prop_assert!(bound(&made[0], 0) <= first.min(today));
        for pair in made.windows(2) {
            prop_assert_eq!(bound(&pair[0], 1), bound(&pair[1], 0));
        }
        for leaf in &made {
            prop_assert!(bound(leaf, 0) < bound(leaf, 1));
        }
        // Exactly `ahead` of them begin after the last day.
        let present = made.len() - 1 - ahead as usize;
        let latest = last.max(today);
        prop_assert!(bound(&made[present], 0) <= latest && latest < bound(&made[present], 1));
        // The same periods, whatever the data: a single day's partition is among them.
        let one = leaves(&table, &by, key, Some((last, last)), last).unwrap();
        prop_assert!(made.contains(&one[0]));
    }

    #[test]
    fn changes_are_none_only_between_equals(at in 0usize..400, with in "[a-z]{1,3}") {
        let before = serde_json::to_value(parse(FULL).unwrap()).unwrap();
        let text = before.to_string();
        let at = at % text.len();
        let end = (at + with.len()).min(text.len());
        let edited = format!("{}{}{}", &text[..at], &with[..end - at], &text[end..]);
        if let Ok(after) = serde_json::from_str::<serde_json::Value>(&edited) {
            prop_assert_eq!(changes(&before, &after).is_empty(), before == after);
        }
    }
}
