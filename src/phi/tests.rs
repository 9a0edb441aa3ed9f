//! Properties of the formats that need no server.

use proptest::prelude::*;

use super::*;

fn keyring() -> (KeyId, Keyring) {
    let (id, text) = Key::generate().unwrap();
    (id, Keyring::new([Key::from_base64(id, &text).unwrap()]))
}

fn sealed(format: Format, ring: (&Keyring, KeyId), text: &[u8], identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    Sealer::new(format, ring.0.get(ring.1).unwrap()).seal(text, identity, &mut out).unwrap();
    out
}

fn row(key: &[&str]) -> Identity {
    let mut identity = Identity::of_column("public.patients", "ssn_encrypted");
    identity.of_row(key.iter().map(|value| value.as_bytes()));
    identity
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever the bytes are, they are read, or refused.
    #[test]
    fn arbitrary_bytes_are_refused_or_opened(bytes in prop::collection::vec(any::<u8>(), 0..300), head in 0..4u8) {
        let (id, ring) = keyring();
        let start: Vec<u8> = match head {
            0 => Vec::new(),
            1 => envelope::MAGIC.to_vec(),
            2 => pgp::key_marker(id).to_vec(),
            _ => sealed(Format::Pgp, (&ring, id), b"x", &Identity::default())[..36].to_vec(),
        };
        let value = [start, bytes].concat();
        let _ = label(&value);
        prop_assert!(Opener::new(&ring).open(&value, &Identity::default(), &mut Vec::new()).is_err());
    }

    /// No change of a single bit goes unnoticed, except in the id that a message names.
    #[test]
    fn a_flipped_bit_is_noticed(text in ".{0,40}", at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (id, ring) = keyring();
        for format in [Format::Pgp, Format::AesGcm] {
            let identity = row(&["1"]);
            let mut value = sealed(format, (&ring, id), text.as_bytes(), &identity);
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            let opened = Opener::new(&ring).open(&value, &identity, &mut Vec::new());
            prop_assert!(opened.is_err(), "{format:?}, byte {at}: {opened:?}");
        }
    }

    #[test]
    fn what_is_truncated_is_refused(text in ".{0,40}", cut in any::<prop::sample::Index>()) {
        let (id, ring) = keyring();
        for format in [Format::Pgp, Format::AesGcm] {
            let value = sealed(format, (&ring, id), text.as_bytes(), &Identity::default());
            let cut = &value[..cut.index(value.len())];
            prop_assert!(Opener::new(&ring).open(cut, &Identity::default(), &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn an_envelope_opens_in_its_row_and_column_only() {
    let (id, ring) = keyring();
    let value = sealed(Format::AesGcm, (&ring, id), b"123-45-6789", &row(&["1", "23"]));
    let mut opener = Opener::new(&ring);
    let mut out = Vec::new();
    assert_eq!(
        opener.open(&value, &row(&["1", "23"]), &mut out),
        Ok(Label { format: Format::AesGcm, key: Some(id) })
    );
    assert_eq!(out, b"123-45-6789");
    for other in [row(&["12", "3"]), row(&["2", "23"]), row(&["1", "23", ""]), Identity::default()] {
        assert_eq!(opener.open(&value, &other, &mut out), Err(Refused::WrongKey(id)));
    }
    assert_eq!(out, b"123-45-6789");
}

#[test]
fn a_value_names_its_key_and_another_one_does_not_open_it() {
    for format in [Format::Pgp, Format::AesGcm] {
        let ((id, ring), (other, others)) = (keyring(), keyring());
        let value = sealed(format, (&ring, id), b"x", &Identity::default());
        assert_eq!(label(&value), Ok(Label { format, key: Some(id) }));
        let opened = Opener::new(&others).open(&value, &Identity::default(), &mut Vec::new());
        assert_eq!(opened, Err(Refused::UnknownKey(id)));
        // The id of the one, and the secret of the other.
        let (_, text) = Key::generate().unwrap();
        let wrong = Keyring::new([Key::from_base64(id, &text).unwrap()]);
        let opened = Opener::new(&wrong).open(&value, &Identity::default(), &mut Vec::new());
        assert_eq!(opened, Err(Refused::WrongKey(id)));
        assert_ne!(id, other);
    }
}

#[test]
fn two_values_of_one_text_differ() {
    for format in [Format::Pgp, Format::AesGcm] {
        let (id, ring) = keyring();
        let one = sealed(format, (&ring, id), b"same", &Identity::default());
        assert_ne!(one, sealed(format, (&ring, id), b"same", &Identity::default()));
    }
}

#[test]
fn plaintext_is_not_taken_for_encrypted() {
    for text in [&b""[..], b"123-45-6789", b"{\"a\": 1}", b"P", "Ärger".as_bytes()] {
        assert_eq!(label(text), Err(Refused::NotEncrypted), "{text:?}");
    }
}
