//! OpenPGP messages: whatever the bytes are, they are read or refused, with and without a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use projh_bluegreen::testing::phi::{Identity, Key, Keyring, Opener, label, parameters};
use uuid::Uuid;

fuzz_target!(|bytes: &[u8]| {
    let _ = (label(bytes), parameters(bytes));
    let _ = Opener::new(&keyring()).open(bytes, &Identity::default(), &mut Vec::new());
    // Behind the marker packet of the key.
    let named = [&[0xca, 19, b'P', b'G', b'P'][..], &1_u128.to_be_bytes(), bytes].concat();
    let _ = (label(&named), parameters(&named));
    let _ = Opener::new(&keyring()).open(&named, &Identity::default(), &mut Vec::new());
});

/// One key, the same each time, so that what was found is found again.
fn keyring() -> Keyring {
    let key = Key::from_base64(Uuid::from_u128(1), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    Keyring::new(key.into_iter())
}
