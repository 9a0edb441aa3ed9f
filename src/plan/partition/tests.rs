//! Names and bounds of partitions.

use super::*;
use crate::plan::Unit;
use jiff::civil::date;

fn by(into: Partitions) -> PartitionBy {
    PartitionBy {
        column: Ident::from("c"),
        into,
        default: true,
        schema: None,
        name: None,
        time_zone: None,
        retention: None,
    }
}

fn every(unit: Unit) -> PartitionBy {
    by(Partitions::Every { count: 1, unit, from: None, until: None, ahead: 1 })
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
    let into = Partitions::Every {
        count: 2,
        unit: Unit::Week,
        from: Some(date(2025, 12, 3)),
        until: None,
        ahead: 0,
    };
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
#[test]
fn days_begin_in_the_zone_of_the_plan() {
    let berlin = |into| PartitionBy { time_zone: Some("Europe/Berlin".to_owned()), ..by(into) };
    let months = Partitions::Every {
        count: 1,
        unit: Unit::Month,
        from: Some(date(2025, 3, 1)),
        until: None,
        ahead: 0,
    };
    let months = made(&berlin(months), KeyType::TimestampTz);
    // The clocks change at the end of March.
    let march = "FOR VALUES FROM ('2025-03-01 00:00:00+01:00') TO ('2025-04-01 00:00:00+02:00')";
    assert_eq!(months[0], pair("t_p2025_03", march));
    let bounds = ["2025-01-01", "2025-02-01 00:00+01", "2025-02-28T23:00Z"].map(str::to_owned).to_vec();
    let named =
        PartitionBy { name: Some("{table}_p{from:%Y_%m}".into()), ..berlin(Partitions::Bounds(bounds)) };
    let bounds = made(&named, KeyType::TimestampTz);
    let january = "FOR VALUES FROM ('2025-01-01 00:00:00+01:00') TO ('2025-02-01 00:00+01')";
    assert_eq!(bounds[0], pair("t_p2025_01", january));
    assert_eq!(bounds[1].0, "t_p2025_02");
    let table = QName::new("public", "t");
    let no_zone = leaves(&table, &named, KeyType::Timestamp, None, date(2025, 1, 1));
    assert_eq!(no_zone, Err(PartitionError::NoZone { column: Ident::from("c") }));
}

#[test]
fn a_bound_with_an_offset_is_named_by_the_day_that_it_says() {
    let bounds =
        ["2025-01-01 00:00+02", "2025-02-01 00:00+02", "2025-03-01T00:00Z"].map(str::to_owned).to_vec();
    let named = PartitionBy { name: Some("{table}_p{from:%Y_%m}".into()), ..by(Partitions::Bounds(bounds)) };
    let names: Vec<String> = made(&named, KeyType::TimestampTz).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["t_p2025_01", "t_p2025_02", "t_default"]);
}

#[test]
fn until_is_the_first_day_outside() {
    let until =
        |until, from| Partitions::Every { count: 1, unit: Unit::Month, from, until: Some(until), ahead: 3 };
    let made_until = made(&by(until(date(2025, 12, 1), None)), KeyType::Date);
    assert_eq!(made_until.len(), 2);
    assert_eq!(made_until[0].1, "FOR VALUES FROM ('2025-11-01') TO ('2025-12-01')");
    // A range that would reach beyond it ends there.
    let weeks = Partitions::Every {
        count: 1,
        unit: Unit::Week,
        from: Some(date(2025, 12, 1)),
        until: Some(date(2025, 12, 10)),
        ahead: 0,
    };
    let weeks = made(&by(weeks), KeyType::Date);
    assert_eq!(weeks[1].1, "FOR VALUES FROM ('2025-12-08') TO ('2025-12-10')");
    // The last day there is.
    let end = Partitions::Every {
        count: 1,
        unit: Unit::Year,
        from: Some(date(9998, 1, 1)),
        until: Some(date(9999, 12, 1)),
        ahead: 0,
    };
    assert_eq!(made(&by(end), KeyType::Date)[1].1, "FOR VALUES FROM ('9999-01-01') TO ('9999-12-01')");
}
