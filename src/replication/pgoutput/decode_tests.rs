use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;

/// The server's side of the protocol, written from its documentation.
fn encode(message: &Logical) -> Bytes {
    let mut out = BytesMut::new();
    match message {
        Logical::Begin { final_lsn, commit_time, xid } => {
            out.put_u8(b'B');
            out.put_u64(final_lsn.0);
            put_time(&mut out, *commit_time);
            out.put_u32(*xid);
        }
        Logical::Commit { commit_lsn, end_lsn, commit_time } => {
            out.put_slice(&[b'C', 0]);
            out.put_u64(commit_lsn.0);
            out.put_u64(end_lsn.0);
            put_time(&mut out, *commit_time);
        }
        Logical::Origin { commit_lsn, name } => {
            out.put_u8(b'O');
            out.put_u64(commit_lsn.0);
            put_string(&mut out, name);
        }
        Logical::Relation(relation) => put_relation(&mut out, relation),
        Logical::Type { oid, schema, name } => {
            out.put_u8(b'Y');
            out.put_u32(*oid);
            put_string(&mut out, schema);
            put_string(&mut out, name);
        }
        Logical::Insert { relation, new } => {
            out.put_u8(b'I');
            out.put_u32(*relation);
            put_tuple(&mut out, b'N', new);
        }
        Logical::Update { relation, old, new } => {
            out.put_u8(b'U');
            out.put_u32(*relation);
            if let Some(old) = old {
                put_old(&mut out, old);
            }
            put_tuple(&mut out, b'N', new);
        }
        Logical::Delete { relation, old } => {
            out.put_u8(b'D');
            out.put_u32(*relation);
            put_old(&mut out, old);
        }
        Logical::Truncate { relations, cascade, restart_identity } => {
            out.put_u8(b'T');
            out.put_u32(u32::try_from(relations.len()).unwrap());
            out.put_u8(u8::from(*cascade) | u8::from(*restart_identity) << 1);
            relations.iter().for_each(|oid| out.put_u32(*oid));
        }
        Logical::Message(message) => {
            out.put_slice(&[b'M', u8::from(message.transactional)]);
            out.put_u64(message.lsn.0);
            put_string(&mut out, &message.prefix);
            put_sized(&mut out, &message.content);
        }
    }
    out.freeze()
}

fn put_relation(out: &mut BytesMut, relation: &Relation) {
    out.put_u8(b'R');
    out.put_u32(relation.oid);
    put_string(out, &relation.schema);
    put_string(out, &relation.name);
    out.put_u8(match relation.replica_identity {
        ReplicaIdentity::Default => b'd',
        ReplicaIdentity::Nothing => b'n',
        ReplicaIdentity::Full => b'f',
        ReplicaIdentity::Index => b'i',
    });
    out.put_u16(u16::try_from(relation.columns.len()).unwrap());
    for column in &relation.columns {
        out.put_u8(u8::from(column.is_key));
        out.put_slice(&column.name);
        out.put_u8(0);
        out.put_u32(column.type_oid);
        out.put_i32(column.type_modifier);
    }
}

fn put_time(out: &mut BytesMut, time: Timestamp) {
    out.put_i64(time.as_microsecond() - 946_684_800_000_000);
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

fn put_sized(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap());
    out.put_slice(bytes);
}

fn put_old(out: &mut BytesMut, old: &Old) {
    let mark = match old.kind {
        OldKind::Key => b'K',
        OldKind::Full => b'O',
    };
    put_tuple(out, mark, &old.tuple);
}

fn put_tuple(out: &mut BytesMut, mark: u8, tuple: &Tuple) {
    out.put_u8(mark);
    out.put_u16(u16::try_from(tuple.len()).unwrap());
    for value in tuple {
        match value {
            Value::Null => out.put_u8(b'n'),
            Value::Unchanged => out.put_u8(b'u'),
            Value::Binary(bytes) => {
                out.put_u8(b'b');
                put_sized(out, bytes);
            }
            Value::Text(bytes) => {
                out.put_u8(b't');
                put_sized(out, bytes);
            }
        }
    }
}

fn lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-1_000_000_000_000_000..4_000_000_000_000_000_i64)
        .prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

fn name() -> impl Strategy<Value = String> {
    "[^\\x00]{1,20}"
}

fn content() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn tuple() -> impl Strategy<Value = Tuple> {
    let value = prop_oneof![
        Just(Value::Null),
        Just(Value::Unchanged),
        content().prop_map(Value::Binary),
        content().prop_map(Value::Text),
    ];
    prop::collection::vec(value, 0..12)
}

fn old() -> impl Strategy<Value = Old> {
    (prop_oneof![Just(OldKind::Key), Just(OldKind::Full)], tuple())
        .prop_map(|(kind, tuple)| Old { kind, tuple })
}

fn relation() -> impl Strategy<Value = Relation> {
    let identity = prop_oneof![
        Just(ReplicaIdentity::Default),
        Just(ReplicaIdentity::Nothing),
        Just(ReplicaIdentity::Full),
        Just(ReplicaIdentity::Index),
    ];
    let column = (any::<bool>(), name(), any::<u32>(), any::<i32>()).prop_map(
        |(is_key, name, type_oid, type_modifier)| RelationColumn {
            is_key,
            name: name.into(),
            type_oid,
            type_modifier,
        },
    );
    (any::<u32>(), name(), name(), identity, prop::collection::vec(column, 0..8)).prop_map(
        |(oid, schema, name, replica_identity, columns)| Relation {
            oid,
            schema,
            name,
            replica_identity,
            columns,
        },
    )
}

fn logical() -> impl Strategy<Value = Logical> {
    prop_oneof![
        (lsn(), time(), any::<u32>()).prop_map(|(final_lsn, commit_time, xid)| Logical::Begin {
            final_lsn,
            commit_time,
            xid
        }),
        (lsn(), lsn(), time()).prop_map(|(commit_lsn, end_lsn, commit_time)| Logical::Commit {
            commit_lsn,
            end_lsn,
            commit_time
        }),
        (lsn(), name()).prop_map(|(commit_lsn, name)| Logical::Origin { commit_lsn, name }),
        relation().prop_map(Logical::Relation),
        (any::<u32>(), name(), name()).prop_map(|(oid, schema, name)| Logical::Type { oid, schema, name }),
        (any::<u32>(), tuple()).prop_map(|(relation, new)| Logical::Insert { relation, new }),
        (any::<u32>(), prop::option::of(old()), tuple()).prop_map(|(relation, old, new)| Logical::Update {
            relation,
            old,
            new
        }),
        (any::<u32>(), old()).prop_map(|(relation, old)| Logical::Delete { relation, old }),
        (prop::collection::vec(any::<u32>(), 0..5), any::<bool>(), any::<bool>()).prop_map(
            |(relations, cascade, restart_identity)| Logical::Truncate {
                relations,
                cascade,
                restart_identity
            }
        ),
        (any::<bool>(), lsn(), name(), content()).prop_map(|(transactional, lsn, prefix, content)| {
            Logical::Message(LogicalMessage { transactional, lsn, prefix, content })
        }),
    ]
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(message in logical()) {
        prop_assert_eq!(Logical::decode(encode(&message)), Ok(message));
    }

    #[test]
    fn a_message_cut_short_or_too_long_is_refused(message in logical(), cut in any::<prop::sample::Index>()) {
        let whole = encode(&message);
        let cut = whole.slice(..cut.index(whole.len()));
        prop_assert!(Logical::decode(cut).is_err());
        let mut longer = BytesMut::from(&whole[..]);
        longer.put_u8(0);
        prop_assert_eq!(Logical::decode(longer.freeze()), Err(Malformed::Trailing(1)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in any::<prop::sample::Index>()) {
        let kinds = b"BCORYIUDTM";
        let mut message = vec![kinds[kind.index(kinds.len())]];
        message.extend(&bytes);
        let _ = Logical::decode(Bytes::from(message));
        let _ = Logical::decode(Bytes::from(bytes));
    }

    #[test]
    fn a_flipped_bit_never_panics(message in logical(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = encode(&message).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let _ = Logical::decode(Bytes::from(bytes));
    }
}

#[test]
fn debug_shows_lengths_and_no_bytes() {
    let secret = Bytes::from_static(b"sesame");
    let insert = Logical::Insert {
        relation: 1,
        new: vec![Value::Text(secret.clone()), Value::Binary(secret.clone()), Value::Null],
    };
    let message =
        LogicalMessage { transactional: true, lsn: Lsn(1), prefix: "p".to_owned(), content: secret };
    let shown = format!("{insert:?} {:?}", Logical::Message(message));
    assert!(!shown.contains("sesame") && !shown.contains("115"), "{shown}");
    assert!(shown.contains("Text(6 bytes)"), "{shown}");
}

#[test]
fn values_are_slices_of_the_message() {
    let message =
        encode(&Logical::Insert { relation: 1, new: vec![Value::Text(Bytes::from_static(b"abc"))] });
    let within = message.as_ptr_range();
    let Ok(Logical::Insert { new, .. }) = Logical::decode(message.clone()) else { panic!("no insert") };
    let [Value::Text(bytes)] = new.as_slice() else { panic!("no text") };
    assert!(within.contains(&bytes.as_ptr()), "the value was copied");
}

#[test]
fn a_count_far_beyond_the_message_costs_no_memory() {
    let message = Bytes::from_static(&[b'T', 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(Logical::decode(message), Err(Malformed::Truncated));
}
