//! Properties of the formats that need no server.

use proptest::prelude::*;

use super::*;

/// Those that the build covers.
fn formats() -> impl Iterator<Item = Format> {
    [Format::Pgp, Format::AesGcm].into_iter().filter(|format| format.is_covered().is_ok())
}

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
            _ => {
                let mut message = Vec::new();
                pgp::Writer::new(ring.get(id).unwrap()).write(&[7; 16], b"x", &mut message);
                message[..36].to_vec()
            }
        };
        let value = [start, bytes].concat();
        let _ = label(&value);
        prop_assert!(Opener::new(&ring).open(&value, &Identity::default(), &mut Vec::new()).is_err());
    }

    /// No change of a single bit goes unnoticed, except in the id that a message names.
    #[test]
    fn a_flipped_bit_is_noticed(text in ".{0,40}", at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (id, ring) = keyring();
        for format in formats() {
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
        for format in formats() {
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
    for format in formats() {
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
    for format in formats() {
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

/// What other programs have written: examples/phi/aes_gcm.py, and gpg.
const BY_OTHERS: [(Format, &str); 2] = [
    (
        Format::AesGcm,
        "504849016f2d1c1e0f6b4a539a432f7b8b1f2f11dfbbaf9eb2b5e6d1905d1ca8957e2fc6b0c854e719aed0e8721bffdbb0b8f4f6dc28288235a569ff305cc31b\
         69248bb6b8108819b674",
    ),
    (
        Format::Pgp,
        "ca135047506f2d1c1e0f6b4a539a432f7b8b1f2f118c0d04090308d05c6348f6aa9c0affd24401bc21de39949307c647c417c0f24de3fc300fa2595e4844b30f\
         977d5c2bce9c041a0a1edbbe19384435ed043143f11898b2e5912b6a8978496c4572028b56540de81344",
    ),
];

/// Either build reads the same bytes, or refuses the format in so many words.
#[test]
fn what_others_have_written_is_read_or_refused() {
    let id = KeyId::try_parse("6f2d1c1e-0f6b-4a53-9a43-2f7b8b1f2f11").unwrap();
    let key = Key::from_base64(id, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let (index, ring) = (blind_index(&key, b" 123-45-6789 ").unwrap(), Keyring::new([key]));
    for (format, hex) in BY_OTHERS {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let value: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let labelled = Label { format, key: Some(id) };
        assert_eq!(label(&value), Ok(labelled));
        let mut out = Vec::new();
        let opened = Opener::new(&ring).open(&value, &row(&["4711"]), &mut out);
        let sealed =
            Sealer::new(format, ring.get(id).unwrap()).seal(b"x", &Identity::default(), &mut Vec::new());
        match format.is_covered() {
            Ok(()) => {
                assert_eq!((opened, out), (Ok(labelled), "123-45-6789 ä".as_bytes().to_vec()));
                assert_eq!(sealed, Ok(()));
            }
            Err(why) => {
                assert_eq!((opened, out), (Err(why.clone()), Vec::new()));
                assert_eq!(sealed, Err(why));
            }
        }
    }
    let hex: String = index[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "b77cae6c5122c1ca");
}
