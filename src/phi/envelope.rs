//! The format `aes-gcm`: XAES-256-GCM in an envelope that names its key. docs/phi-format.md specifies it byte by byte.
//!
//! ```text
//! 0   4  "PHI" and the version of the format, 1
//! 4  16  the key's id
//! 20 24  the nonce, random
//! 44  n  the ciphertext, as long as the text
//!    16  the tag
//! ```
//!
//! Invariant: a value opens in its own row and column only: table, column and the row's key are associated data.

use super::xaes::{NONCE_BYTES, TAG_BYTES, Xaes};
use super::{KeyId, Refused};
use crate::crypto::Random;

pub(super) const MAGIC: [u8; 4] = [b'P', b'H', b'I', 1];
const HEADER_BYTES: usize = 20;
const BODY_AT: usize = HEADER_BYTES + NONCE_BYTES;

/// Which row and column a value belongs to, as the associated data has it: the table as `schema.table`, the column, and
/// each value of the row's key as text, each with its length in bytes before it (4 bytes, big-endian).
#[derive(Clone, Debug, Default)]
pub struct Identity {
    bytes: Vec<u8>,
    /// The length of what all rows have in common.
    common: usize,
}

impl Identity {
    /// Of the values of one column; [`Identity::of_row`] adds the row.
    #[must_use]
    pub fn of_column(table: &str, column: &str) -> Self {
        let mut identity = Self::default();
        identity.push(table.as_bytes());
        identity.push(column.as_bytes());
        identity.common = identity.bytes.len();
        identity
    }

    /// The identity of the row with this key, for as long as no other row is asked for.
    pub fn of_row<'k>(&mut self, key: impl IntoIterator<Item = &'k [u8]>) -> &Self {
        self.bytes.truncate(self.common);
        for value in key {
            self.push(value);
        }
        self
    }

    fn push(&mut self, part: &[u8]) {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(part);
    }

    /// The bytes: those of the table and the column, and those of the row's key.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn aad(&self, header: &[u8]) -> Vec<u8> {
        [header, &self.bytes].concat()
    }
}

/// The id of the key that an envelope names; `None` if the bytes are no envelope.
pub(super) fn key_of(value: &[u8]) -> Option<Result<KeyId, Refused>> {
    value.strip_prefix(&MAGIC[..3])?;
    Some(match value.get(3) {
        None => Err(Refused::Truncated),
        Some(&version) if version != MAGIC[3] => {
            Err(Refused::Malformed("an unknown version of the envelope"))
        }
        Some(_) if value.len() < BODY_AT + TAG_BYTES => Err(Refused::Truncated),
        Some(_) => KeyId::from_slice(&value[4..HEADER_BYTES]).map_err(|_| Refused::Truncated),
    })
}

/// Appends the envelope of a text.
pub(super) fn seal(
    (xaes, random): (&Xaes, &mut Random),
    id: KeyId,
    identity: &Identity,
    (text, out): (&[u8], &mut Vec<u8>),
) -> Result<(), Refused> {
    let begin = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(&[0; NONCE_BYTES]);
    out.extend_from_slice(text);
    let (header, body) = out[begin..].split_at_mut(BODY_AT);
    let aad = identity.aad(&header[..HEADER_BYTES]);
    let (nonce, tag) = xaes.seal(random, &aad, body).ok_or(Refused::NotSealed)?;
    header[HEADER_BYTES..].copy_from_slice(&nonce);
    out.extend_from_slice(&tag);
    Ok(())
}

/// Appends the text of an envelope.
pub(super) fn open(
    xaes: &Xaes,
    identity: &Identity,
    (value, out): (&[u8], &mut Vec<u8>),
) -> Result<(), Refused> {
    let id = key_of(value).unwrap_or(Err(Refused::NotEncrypted))?;
    let (header, body) = value.split_at_checked(BODY_AT).ok_or(Refused::Truncated)?;
    let (of_value, nonce) = header.split_last_chunk().ok_or(Refused::Truncated)?;
    let begin = out.len();
    out.extend_from_slice(body);
    let is_open = xaes.open(nonce, &identity.aad(of_value), &mut out[begin..]);
    out.truncate(if is_open { out.len() - TAG_BYTES } else { begin });
    if is_open { Ok(()) } else { Err(Refused::WrongKey(id)) }
}
