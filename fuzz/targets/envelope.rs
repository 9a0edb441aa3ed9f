//! Envelopes of the format aes-gcm: nothing but what was sealed is opened.
#![no_main]

use libfuzzer_sys::fuzz_target;
use projh_bluegreen::testing::phi::{Format, Identity, Key, Keyring, Opener, Sealer, label, parameters};
use uuid::Uuid;

fuzz_target!(|input: (&[u8], &[u8], usize)| {
    let (bytes, text, at) = input;
    let keyring = keyring();
    let mut opener = Opener::new(&keyring);
    let whole = [b"PHI\x01".as_slice(), &1_u128.to_be_bytes(), bytes].concat();
    let _ = (label(&whole), parameters(&whole), opener.open(&whole, &Identity::default(), &mut Vec::new()));

    let Some(key) = keyring.get(Uuid::from_u128(1)) else { return };
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    if Sealer::new(Format::AesGcm, key).seal(text, &Identity::default(), &mut sealed).is_err() {
        return;
    }
    assert!(opener.open(&sealed, &Identity::default(), &mut opened).is_ok() && opened == text);
    let at = at % sealed.len();
    sealed[at] ^= 1;
    assert!(opener.open(&sealed, &Identity::default(), &mut opened).is_err());
});

/// One key, the same each time, so that what was found is found again.
fn keyring() -> Keyring {
    let key = Key::from_base64(Uuid::from_u128(1), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    Keyring::new(key.into_iter())
}
