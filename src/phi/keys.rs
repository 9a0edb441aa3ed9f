//! One key: its id, and its secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::xaes::Xaes;
use crate::crypto::{self, KEY_BYTES, NoRandom};

/// The id of a key. It is not secret, and travels with each value.
pub type KeyId = uuid::Uuid;

/// A key, by its id. Its secret is zeroized on drop, and shown by nothing.
pub struct Key {
    /// The id.
    pub id: KeyId,
    /// What pgcrypto is given as the password: of a key of 256 bits, its base64.
    text: SecretString,
    /// The key of 256 bits, expanded; `None` for a passphrase, which only decrypts.
    xaes: Option<Xaes>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Why a secret is no key. Without the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not base64 of 32 bytes.
    #[error("it is not 32 bytes in base64 (44 characters)")]
    Length,
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// All its bytes are the same.
    #[error("all its bytes are the same")]
    Constant,
    /// The library does not take it.
    #[error("the cryptographic library does not take it")]
    NotTaken,
}

impl Key {
    /// A key of 256 bits, from its base64.
    ///
    /// # Errors
    /// If it is not base64 of 32 bytes, in the one form that an encoder gives; or all its bytes are the same.
    pub fn from_base64(id: KeyId, text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyError::Length)?);
        let raw: &[u8; KEY_BYTES] = bytes.as_slice().try_into().map_err(|_| KeyError::Length)?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(KeyError::Constant);
        }
        let xaes = Xaes::new(raw).ok_or(KeyError::NotTaken)?;
        Ok(Self { id, text: SecretString::from(text), xaes: Some(xaes) })
    }

    /// A passphrase that values were encrypted with by pgcrypto. It decrypts them, and encrypts nothing.
    ///
    /// # Errors
    /// If it is empty.
    pub fn from_passphrase(id: KeyId, text: &str) -> Result<Self, KeyError> {
        match text {
            "" => Err(KeyError::Empty),
            text => Ok(Self { id, text: SecretString::from(text), xaes: None }),
        }
    }

    /// A key of 256 bits if the text is one, otherwise a passphrase.
    ///
    /// # Errors
    /// If it is empty.
    pub fn from_either(id: KeyId, text: &str) -> Result<Self, KeyError> {
        Self::from_base64(id, text).or_else(|_| Self::from_passphrase(id, text))
    }

    /// A new key of 256 random bits, and its base64.
    ///
    /// # Errors
    /// If there are no random bytes.
    pub fn generate() -> Result<(KeyId, Zeroizing<String>), NoRandom> {
        let mut raw = Zeroizing::new([0; KEY_BYTES]);
        crypto::fill(&mut *raw)?;
        Ok((KeyId::new_v4(), Zeroizing::new(STANDARD.encode(*raw))))
    }

    /// Whether it may encrypt: it has 256 bits.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.xaes.is_some()
    }

    /// The password for pgcrypto.
    pub(super) fn password(&self) -> &[u8] {
        self.text.expose_secret().as_bytes()
    }

    /// The key of 256 bits.
    pub(super) fn xaes(&self) -> Option<&Xaes> {
        self.xaes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_32_random_bytes_in_base64_are_a_key() {
        let id = KeyId::new_v4();
        let (_, made) = Key::generate().unwrap();
        assert!(Key::from_base64(id, &made).unwrap().encrypts());
        assert!(Key::from_base64(id, &format!("{}\n", *made)).unwrap().encrypts());
        for short in ["", "c2hvcnQ=", "not base64", &made[..43]] {
            assert_eq!(Key::from_base64(id, short).unwrap_err(), KeyError::Length, "{short}");
        }
        let zeros = STANDARD.encode([0; 32]);
        assert_eq!(Key::from_base64(id, &zeros).unwrap_err(), KeyError::Constant);
        assert!(!Key::from_either(id, "correct horse").unwrap().encrypts());
        assert_eq!(Key::from_either(id, "").unwrap_err(), KeyError::Empty);
    }

    #[test]
    fn a_key_is_not_shown() {
        let (id, made) = Key::generate().unwrap();
        let shown = format!("{:?}", Key::from_base64(id, &made).unwrap());
        assert!(!shown.contains(&made[..10]), "{shown}");
    }
}
