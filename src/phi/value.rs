//! Values: sealed under one key, opened under any of a key ring, and labelled without a key.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::envelope;
use super::pgp::{Message, S2k, SessionKey, Writer};
use super::{Identity, Key, KeyId, Keyring, Refused};
use crate::crypto::{COVERS_PGP, Random};

/// The format of an encrypted value.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Format {
    /// An OpenPGP message, which pgcrypto reads.
    #[serde(rename = "pgp")]
    Pgp,
    /// XAES-256-GCM, bound to its row and column.
    #[serde(rename = "aes-gcm")]
    AesGcm,
}

impl Format {
    /// As in a plan.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pgp => "pgp",
            Self::AesGcm => "aes-gcm",
        }
    }

    /// Whether this build may read and write it.
    ///
    /// # Errors
    /// If its cryptographic module does not cover the format.
    pub fn is_covered(self) -> Result<(), Refused> {
        match self {
            Self::Pgp if !COVERS_PGP => Err(Refused::NotCovered),
            Self::Pgp | Self::AesGcm => Ok(()),
        }
    }
}

/// What a value says of itself, without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its format.
    pub format: Format,
    /// The key that it names, or that has opened it: OpenPGP messages that were written by others name none.
    pub key: Option<KeyId>,
}

/// What every value of this format begins with that names this key.
#[must_use]
pub fn prefix(format: Format, key: KeyId) -> Vec<u8> {
    match format {
        Format::Pgp => super::pgp::key_marker(key).to_vec(),
        Format::AesGcm => [&envelope::MAGIC[..], key.as_bytes()].concat(),
    }
}

/// Reads a value's label.
///
/// # Errors
/// If the value is not encrypted, malformed, or encrypted with an algorithm that is not accepted.
pub fn label(value: &[u8]) -> Result<Label, Refused> {
    let label = match envelope::key_of(value) {
        Some(key) => key.map(|id| Label { format: Format::AesGcm, key: Some(id) }),
        None => Message::read(value).map(|message| Label { format: Format::Pgp, key: message.key }),
    };
    label.map_err(|why| or_plaintext(why, value))
}

/// How a value is encrypted, without a key: `aes256, s2k 3 sha256 1024, mdc`; empty if it is not.
#[must_use]
pub fn parameters(value: &[u8]) -> String {
    match envelope::key_of(value) {
        Some(_) => "xaes-256-gcm".to_owned(),
        None => Message::read(value).map(|message| message.words()).unwrap_or_default(),
    }
}

/// A text may begin as a message does, and is then no message that is truncated.
fn or_plaintext(why: Refused, value: &[u8]) -> Refused {
    let is_shape = matches!(why, Refused::Truncated | Refused::Malformed(_) | Refused::Algorithm(_));
    if is_shape && std::str::from_utf8(value).is_ok() { Refused::NotEncrypted } else { why }
}

/// Encrypts values under one key.
pub struct Sealer {
    key: Arc<Key>,
    format: Format,
    /// For OpenPGP.
    writer: Option<Writer>,
    random: Random,
}

impl Sealer {
    /// Under a key of 256 bits.
    #[must_use]
    pub fn new(format: Format, key: &Arc<Key>) -> Self {
        let is_written = format == Format::Pgp && format.is_covered().is_ok();
        let writer = is_written.then(|| Writer::new(key));
        Self { key: Arc::clone(key), format, writer, random: Random::new() }
    }

    /// Appends the encrypted text.
    ///
    /// # Errors
    /// If it is too large, this build does not cover the format, or there are no random bytes.
    pub fn seal(&mut self, text: &[u8], identity: &Identity, out: &mut Vec<u8>) -> Result<(), Refused> {
        // The messages of all larger values would be longer than PostgreSQL takes.
        if text.len() > (1 << 30) - 1024 {
            return Err(Refused::TooLarge);
        }
        self.format.is_covered()?;
        let random = &mut self.random;
        match (&self.writer, self.key.xaes()) {
            (Some(writer), _) => {
                let random = random.take().map_err(|_| Refused::NotSealed)?;
                writer.write(&random, text, out);
                Ok(())
            }
            (None, Some(xaes)) => envelope::seal((xaes, random), self.key.id, identity, (text, out)),
            (None, None) => Err(Refused::WrongKey(self.key.id)),
        }
    }
}

/// Decrypts values under the keys of a key ring.
pub struct Opener {
    keyring: Keyring,
    /// The session key that each key gave last: values of one key mostly have one salt.
    sessions: HashMap<KeyId, (S2k, SessionKey)>,
    /// The key that opened a message without a key's id last.
    last: Option<KeyId>,
}

impl Opener {
    /// With these keys.
    #[must_use]
    pub fn new(keyring: &Keyring) -> Self {
        Self { keyring: keyring.clone(), sessions: HashMap::new(), last: None }
    }

    /// Appends the text of a value, and returns its label.
    ///
    /// # Errors
    /// Why it cannot be opened; nothing is appended then.
    pub fn open(&mut self, value: &[u8], identity: &Identity, out: &mut Vec<u8>) -> Result<Label, Refused> {
        let begin = out.len();
        let opened = match envelope::key_of(value) {
            Some(id) => id.and_then(|id| {
                let key = self.keyring.get(id).ok_or(Refused::UnknownKey(id))?;
                let xaes = key.xaes().ok_or(Refused::WrongKey(id))?;
                envelope::open(xaes, identity, (value, out))?;
                Ok(Label { format: Format::AesGcm, key: Some(id) })
            }),
            None => self.open_message(value, out),
        };
        opened.map_err(|why| {
            out.truncate(begin);
            or_plaintext(why, value)
        })
    }

    fn open_message(&mut self, value: &[u8], out: &mut Vec<u8>) -> Result<Label, Refused> {
        let message = Message::read(value)?;
        Format::Pgp.is_covered()?;
        let label = Label { format: Format::Pgp, key: message.key };
        if let Some(id) = message.key {
            let key = self.keyring.get(id).cloned().ok_or(Refused::UnknownKey(id))?;
            return match self.attempt(&message, &key, out) {
                Some(opened) => opened.map(|()| label),
                None => Err(Refused::WrongKey(id)),
            };
        }
        let mut keys: Vec<Arc<Key>> = self.keyring.all().into_iter().cloned().collect();
        keys.sort_by_key(|key| Some(key.id) != self.last);
        for key in keys {
            match self.attempt(&message, &key, out) {
                // Without an MDC, a wrong key is taken for the right one in one of 65,536 cases.
                Some(Err(_)) if !message.has_mdc => {}
                Some(opened) => {
                    self.last = Some(key.id);
                    return opened.map(|()| Label { key: Some(key.id), ..label });
                }
                None => {}
            }
        }
        Err(Refused::NoKey)
    }

    fn attempt(
        &mut self,
        message: &Message<'_>,
        key: &Key,
        out: &mut Vec<u8>,
    ) -> Option<Result<(), Refused>> {
        let known = self.sessions.get(&key.id).filter(|(s2k, _)| *s2k == message.s2k);
        if let Some((_, session)) = known {
            return message.open(session, out);
        }
        let session = message.s2k.key(key.password());
        let opened = message.open(&session, out);
        if opened.is_some() {
            self.sessions.insert(key.id, (message.s2k.clone(), session));
        }
        opened
    }
}
