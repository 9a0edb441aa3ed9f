//! OpenPGP messages: whatever the bytes are, they are read or refused, with and without a key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use projh_bluegreen::testing::phi::{Identity, Key, Keyring, Opener, label, parameters};
use uuid::Uuid;

fuzz_target!(|bytes: &[u8]| {
    // Behind the marker packet of the key, too.
    let named = [&[0xca, 19, b'P', b'G', b'P'][..], &1_u128.to_be_bytes(), bytes].concat();
    for message in [bytes, &named] {
        let _ = label(message);
        if is_cheap(&parameters(message)) {
            let _ = Opener::new(&keyring()).open(message, &Identity::default(), &mut Vec::new());
        }
    }
});

/// Whether a key is made of a passphrase in microseconds: the count of its S2K, which can be 65,011,712 bytes, is small.
fn is_cheap(parameters: &str) -> bool {
    let numbers = parameters.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok());
    numbers.max().is_none_or(|count| count <= 65_536)
}

/// One key, the same each time, so that what was found is found again.
fn keyring() -> Keyring {
    let key = Key::from_base64(Uuid::from_u128(1), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    Keyring::new(key.into_iter())
}
