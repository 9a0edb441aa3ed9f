//! The blind index of a value: an HMAC of its normalised text under a key of its own, for equality look-ups.
//!
//! It shows which rows have the same value, and nothing else without the key.

use super::{Key, Refused};
use crate::crypto::Mac;

/// Bytes of a blind index.
pub const BLIND_INDEX_BYTES: usize = 32;

/// The text that is indexed: without spaces (U+0020) at either end, and with the ASCII letters in lower case. In SQL:
/// `lower(btrim(value) collate "C")`.
#[must_use]
pub fn normalised(text: &[u8]) -> Vec<u8> {
    let begin = text.iter().position(|byte| *byte != b' ').unwrap_or(text.len());
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(begin, |last| last + 1);
    text[begin..end].to_ascii_lowercase()
}

/// HMAC-SHA-256 of the normalised text, keyed with the key's base64. In SQL, with pgcrypto:
/// `hmac(convert_to(lower(btrim(value) collate "C"), 'UTF8'), convert_to(key, 'UTF8'), 'sha256')`.
///
/// # Errors
/// None is known: HMAC takes keys of any length.
pub fn blind_index(key: &Key, text: &[u8]) -> Result<[u8; BLIND_INDEX_BYTES], Refused> {
    let mut mac = Mac::new(key.password()).ok_or(Refused::Malformed("a key that HMAC does not take"))?;
    mac.update(&zeroize::Zeroizing::new(normalised(text)));
    Ok(mac.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_spaces_around_do_not_matter() {
        assert_eq!(normalised(b"  Ab C\t "), b"ab c\t");
        assert_eq!(normalised("ÄÖ x".as_bytes()), "ÄÖ x".as_bytes());
        assert_eq!(normalised(b"   "), b"");
        assert_eq!(normalised(b""), b"");
    }
}
