//! Documents with keys, wrapped or not: whatever the text is, it is read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use projh_bluegreen::testing::phi::is_key_document;

fuzz_target!(|text: &str| {
    let _ = is_key_document(text);
});
