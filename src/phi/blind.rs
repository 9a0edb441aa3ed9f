//! HMACs of a value, each under a key of its own. The blind index, of its normalised text, is for equality look-ups: it shows
//! which rows have the same value, and nothing else without the key. The tag, of its text, its row and its column, shows that
//! a value of the format pgp belongs there: no other row has the same tag, whatever its value is.

use super::{Identity, Key, Refused};
use crate::crypto::Mac;

/// Bytes of either.
pub const MAC_BYTES: usize = 32;

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
pub fn blind_index(key: &Key, text: &[u8]) -> Result<[u8; MAC_BYTES], Refused> {
    let mut mac = keyed(key)?;
    mac.update(&zeroize::Zeroizing::new(normalised(text)));
    Ok(mac.end())
}

/// HMAC-SHA-256 of the identity of the row and the column, as associated data has it, and of the text in the same form,
/// keyed with the key's base64. In SQL: `phi_tag` of `sql/project-h/phi.sql`.
///
/// # Errors
/// None is known: HMAC takes keys of any length.
pub fn tag(key: &Key, identity: &Identity, text: &[u8]) -> Result<[u8; MAC_BYTES], Refused> {
    let mut mac = keyed(key)?;
    mac.update(identity.bytes());
    mac.update(&u32::try_from(text.len()).map_err(|_| Refused::TooLarge)?.to_be_bytes());
    mac.update(text);
    Ok(mac.end())
}

fn keyed(key: &Key) -> Result<Mac, Refused> {
    Mac::new(key.password()).ok_or(Refused::Malformed("a key that HMAC does not take"))
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
