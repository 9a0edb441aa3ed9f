//! Changes and what remains of them.

use bytes::Bytes;

use super::*;

fn value(text: &str) -> Value {
    match text {
        "~" => Value::Unchanged,
        "-" => Value::Null,
        text => Value::Binary(Bytes::copy_from_slice(text.as_bytes())),
    }
}

fn key(text: &str) -> Key {
    Key::new([&value(text)]).unwrap()
}

fn row(id: &str, note: &str) -> Vec<Value> {
    vec![value(id), value(note)]
}

/// `key[!][=values][@base]`: `!` a row was there before, `=` what is there now.
fn show(coalesced: &mut Coalesced) -> Vec<String> {
    shown(coalesced.take())
}

fn shown(keys: HashMap<Key, Net>) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Binary(bytes) | Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Null => "-".to_owned(),
        Value::Unchanged => "~".to_owned(),
    };
    let name = |key: &Key| String::from_utf8_lossy(key.values().next().unwrap()).into_owned();
    let mut lines = Vec::new();
    for (key, net) in keys {
        let mut line = name(&key);
        line += if net.was { "!" } else { "" };
        if let Some(row) = net.now {
            line += &format!("={}", row.values.iter().map(text).collect::<Vec<_>>().join(","));
            line += &row.base.map_or_else(String::new, |base| format!("@{}", name(&base)));
        }
        lines.push(line);
    }
    lines.sort();
    lines
}

#[test]
fn the_last_value_of_a_key_counts() {
    let mut c = Coalesced::default();
    c.update(&key("1"), key("1"), row("1", "a"), None).unwrap();
    c.update(&key("1"), key("1"), row("1", "b"), None).unwrap();
    c.insert(key("2"), row("2", "x")).unwrap();
    c.delete(&key("3")).unwrap();
    assert_eq!(c.changes(), 4);
    assert_eq!(show(&mut c), ["1!=1,b", "2=2,x", "3!"]);
    assert_eq!(c.changes(), 0);
}

#[test]
fn what_came_and_went_leaves_nothing() {
    let mut c = Coalesced::default();
    c.insert(key("1"), row("1", "a")).unwrap();
    c.update(&key("1"), key("2"), row("2", "~"), None).unwrap();
    c.delete(&key("2")).unwrap();
    assert!(show(&mut c).is_empty());
}

#[test]
fn a_key_that_is_used_again_was_there_and_is_there() {
    let mut c = Coalesced::default();
    c.delete(&key("1")).unwrap();
    c.insert(key("1"), row("1", "new")).unwrap();
    assert_eq!(show(&mut c), ["1!=1,new"]);
}

#[test]
fn an_unchanged_value_comes_from_the_batch_or_names_the_key_it_had() {
    let mut c = Coalesced::default();
    c.insert(key("1"), row("1", "long")).unwrap();
    c.update(&key("1"), key("1"), row("1", "~"), None).unwrap();
    c.update(&key("5"), key("6"), row("6", "~"), None).unwrap();
    c.update(&key("6"), key("7"), row("7", "~"), None).unwrap();
    assert_eq!(show(&mut c), ["1=1,long", "5!", "7=7,~@5"]);
}

#[test]
fn a_full_old_row_completes_the_new_one() {
    let mut c = Coalesced::default();
    c.update(&key("1"), key("1"), row("1", "~"), Some(row("1", "old"))).unwrap();
    assert_eq!(show(&mut c), ["1!=1,old"]);
}

#[test]
fn two_rows_can_exchange_their_keys() {
    let mut c = Coalesced::default();
    c.update(&key("1"), key("t"), row("t", "~"), None).unwrap();
    c.update(&key("2"), key("1"), row("1", "~"), None).unwrap();
    c.update(&key("t"), key("2"), row("2", "~"), None).unwrap();
    assert_eq!(show(&mut c), ["1!=1,~@2", "2!=2,~@1"]);
}

fn wide(id: &str, at: &str) -> Key {
    Key::new([&value(id), &value(at)]).unwrap()
}

#[test]
fn what_moves_under_its_key_is_one_change_of_it() {
    let mut c = Coalesced::default();
    // Moved, by one statement and by two, in either order; changed in place, without its large value.
    c.delete(&wide("1", "jan")).unwrap();
    c.insert(wide("1", "feb"), row("1", "feb")).unwrap();
    c.insert(wide("2", "feb"), row("2", "feb")).unwrap();
    c.delete(&wide("2", "jan")).unwrap();
    c.update(&wide("3", "jan"), wide("3", "may"), row("3", "~"), None).unwrap();
    c.delete(&wide("4", "jan")).unwrap();
    c.update(&wide("5", "jan"), wide("6", "jan"), row("6", "~"), None).unwrap();
    let keys = by_key(c.take(), 1).unwrap();
    assert_eq!(shown(keys), ["1!=1,feb", "2!=2,feb", "3!=3,~@3", "4!", "5!", "6=6,~@5"]);
}

#[test]
fn two_rows_of_one_key_are_not_one_change() {
    let mut c = Coalesced::default();
    c.insert(wide("1", "jan"), row("1", "jan")).unwrap();
    c.insert(wide("1", "feb"), row("1", "feb")).unwrap();
    assert_eq!(by_key(c.take(), 1).unwrap_err(), [key("1")]);
    c.delete(&wide("1", "jan")).unwrap();
    c.delete(&wide("1", "feb")).unwrap();
    assert_eq!(by_key(c.take(), 1).unwrap_err(), [key("1")]);
}

#[test]
fn null_is_a_value_and_no_key() {
    let mut c = Coalesced::default();
    c.update(&key("1"), key("1"), row("1", "-"), Some(row("1", "old"))).unwrap();
    assert_eq!(show(&mut c), ["1!=1,-"]);
    assert!(Key::new([&Value::Null]).is_none());
}

#[test]
fn what_cannot_be_is_an_error() {
    let mut c = Coalesced::default();
    c.insert(key("1"), row("1", "a")).unwrap();
    assert_eq!(c.insert(key("1"), row("1", "b")), Err(Impossible::Taken));
    c.delete(&key("2")).unwrap();
    assert_eq!(c.delete(&key("2")), Err(Impossible::Gone));
}

#[test]
fn equal_rows_may_exist_twice_in_the_middle_if_whole_rows_identify_them() {
    let whole = |id: &str| Key::of_row(&row(id, "-"), 1).unwrap();
    let shift = |changes: &mut Coalesced| {
        for id in ["1", "2"] {
            changes.insert(whole(id), row(id, "-"))?;
        }
        changes.update(&whole("1"), whole("2"), row("2", "-"), Some(row("1", "-")))?;
        changes.update(&whole("2"), whole("3"), row("3", "-"), Some(row("2", "-")))
    };
    assert_eq!(shift(&mut Coalesced::default()), Err(Impossible::Taken));
    let mut changes = Coalesced::of(true, Keeps::Nothing);
    shift(&mut changes).unwrap();
    assert!(changes.doubled().is_empty());
    let mut now: Vec<Key> = changes.take().into_keys().collect();
    now.sort();
    assert_eq!(now, [whole("2"), whole("3")]);
    assert!(Key::of_row(&row("-", "a"), 1).is_none());
}

#[test]
fn a_row_keeps_what_it_has_only_if_it_moves() {
    let at = |id: &str, day: &str| Key::new([&value(id), &value(day)]).unwrap();
    let base = |keeps, change: &dyn Fn(&mut Coalesced)| {
        let mut changes = Coalesced::of(false, keeps);
        changes.begin();
        change(&mut changes);
        let keys = by_key(changes.take(), 1).unwrap();
        keys.into_values().find_map(|net| net.now).and_then(|row| row.base)
    };
    let moves = |changes: &mut Coalesced| {
        changes.delete(&at("1", "a")).unwrap();
        changes.insert(at("1", "b"), row("1", "b")).unwrap();
    };
    let key = Key::new([&value("1")]);
    assert_eq!(base(Keeps::Moves(1), &moves), key);
    assert_eq!(base(Keeps::Rows, &moves), None);
    // Another row of the same partition.
    let again = |changes: &mut Coalesced| {
        changes.delete(&at("1", "a")).unwrap();
        changes.insert(at("1", "a"), row("1", "a")).unwrap();
    };
    assert_eq!(base(Keeps::Moves(1), &again), None);
    let twice = |changes: &mut Coalesced| {
        moves(changes);
        changes.delete(&at("1", "b")).unwrap();
        changes.insert(at("1", "c"), row("1", "c")).unwrap();
    };
    assert_eq!(base(Keeps::Moves(1), &twice), key);
    let between: [&dyn Fn(&mut Coalesced); 3] =
        [&|changes| changes.begin(), &|changes| changes.delete(&at("2", "a")).unwrap(), &|changes| {
            changes.update(&at("2", "a"), at("2", "a"), row("2", "x"), None).unwrap();
            changes.delete(&at("2", "a")).unwrap();
        }];
    for between in between {
        let comes_again = |changes: &mut Coalesced| {
            changes.delete(&at("1", "a")).unwrap();
            between(changes);
            changes.insert(at("1", "b"), row("1", "b")).unwrap();
        };
        assert_eq!(base(Keeps::Moves(1), &comes_again), None);
    }
}
