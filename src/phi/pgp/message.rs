//! A message, as far as it can be read without a key, and what is in it.

use std::borrow::Cow;

use sha1::{Digest, Sha1};
use zeroize::Zeroizing;

use super::packet::{
    COMPRESSED, ENCRYPTED, ENCRYPTED_MDC, LITERAL, MARKER, MDC, Packet, SESSION_KEY, take, take_byte,
};
use super::s2k::{BLOCK, Cipher, S2k, SessionKey};
use crate::phi::{KeyId, Refused};

/// Bytes of an MDC packet: its header, and a SHA-1.
const MDC_BYTES: usize = 22;
/// The random bytes that a message begins with, and the two of them that are repeated.
const PREFIX: usize = BLOCK + 2;
/// What a compressed message may become: PostgreSQL's own limit of a value.
const INFLATED_MAX: usize = 1 << 30;

/// An encrypted message. Its key, its cipher and its parameters are readable without a key.
pub struct Message<'a> {
    /// The id in the marker packet before it.
    pub key: Option<KeyId>,
    /// The cipher that the password's key is for.
    pub cipher: Cipher,
    /// Whether it ends with an MDC, so that changes are noticed.
    pub has_mdc: bool,
    pub(in crate::phi) s2k: S2k,
    /// The session key, encrypted with the password's key; empty if that is the session key.
    carried: Vec<u8>,
    body: Cow<'a, [u8]>,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Refused::NotEncrypted`] if the bytes do not begin as a message does; otherwise what is wrong with it.
    pub fn read(mut input: &'a [u8]) -> Result<Self, Refused> {
        let first = input.first().ok_or(Refused::NotEncrypted)?;
        let tag = if first & 0x40 == 0 { first >> 2 & 0x0f } else { first & 0x3f };
        if first & 0x80 == 0 || ![MARKER, SESSION_KEY].contains(&tag) {
            return Err(Refused::NotEncrypted);
        }
        let (mut key, mut by_password, mut found) = (None, None, None);
        while let Some(Packet { tag, body }) = Packet::next(&mut input)? {
            match tag {
                MARKER if key.is_none() && body.len() == 19 => {
                    let id = body.strip_prefix(b"PGP").ok_or(Refused::Malformed("an unknown marker"))?;
                    key = KeyId::from_slice(id).ok();
                }
                MARKER => {}
                SESSION_KEY if by_password.is_none() && found.is_none() => {
                    by_password = Some(session_key(&body)?);
                }
                SESSION_KEY if found.is_none() => {}
                ENCRYPTED | ENCRYPTED_MDC if found.is_none() => found = Some((tag == ENCRYPTED_MDC, body)),
                1 => return Err(Refused::Algorithm("a public key")),
                _ => return Err(Refused::Malformed("a packet that is not expected")),
            }
        }
        let (cipher, s2k, carried) = by_password.ok_or(Refused::Truncated)?;
        let (has_mdc, body) = found.ok_or(Refused::Truncated)?;
        Ok(Self { key, cipher, has_mdc, s2k, carried, body })
    }

    /// How it is encrypted: `aes256, s2k 3 sha256 1024, mdc`.
    pub(in crate::phi) fn words(&self) -> String {
        let session = if self.carried.is_empty() { "" } else { ", session key" };
        format!("{}{session}{}", self.s2k.words(), if self.has_mdc { ", mdc" } else { ", no mdc" })
    }

    /// Appends the text of the message. `None` if the key is not the right one, or the message was altered.
    pub(in crate::phi) fn open(&self, key: &SessionKey, out: &mut Vec<u8>) -> Option<Result<(), Refused>> {
        let carried = match &self.carried[..] {
            [] => None,
            carried => Some(key.carried(carried).ok()?),
        };
        let key = carried.as_ref().unwrap_or(key);
        let plain = if self.has_mdc { self.with_mdc(key)? } else { self.without_mdc(key)? };
        Some(literal(&plain, out, true))
    }

    fn with_mdc(&self, key: &SessionKey) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, data) = self.body.split_first()?;
        if version != 1 || data.len() < PREFIX + MDC_BYTES {
            return None;
        }
        let mut data = Zeroizing::new(data.to_vec());
        key.decrypt(&[0; BLOCK], &mut data);
        let hashed = data.len() - 20;
        let is_whole = data[BLOCK - 2..BLOCK] == data[BLOCK..PREFIX]
            && data[hashed - 2..hashed] == [0xc0 | MDC, 20]
            && Sha1::digest(&data[..hashed])[..] == data[hashed..];
        is_whole.then(|| {
            data.truncate(hashed - 2);
            data.drain(..PREFIX);
            data
        })
    }

    /// In the CFB of OpenPGP, which begins anew after the prefix.
    fn without_mdc(&self, key: &SessionKey) -> Option<Zeroizing<Vec<u8>>> {
        let (prefix, data) = self.body.split_at_checked(PREFIX)?;
        let mut begin = Zeroizing::new(prefix.to_vec());
        key.decrypt(&[0; BLOCK], &mut begin);
        if begin[BLOCK - 2..BLOCK] != begin[BLOCK..] {
            return None;
        }
        let iv: [u8; BLOCK] = prefix[2..].try_into().ok()?;
        let mut data = Zeroizing::new(data.to_vec());
        key.decrypt(&iv, &mut data);
        Some(data)
    }
}

/// Reads a packet with how the password becomes a key.
fn session_key(mut body: &[u8]) -> Result<(Cipher, S2k, Vec<u8>), Refused> {
    if take_byte(&mut body)? != 4 {
        return Err(Refused::Malformed("an unknown version of the session key"));
    }
    let cipher = Cipher::of(take_byte(&mut body)?)?;
    let s2k = S2k::read(cipher, &mut body)?;
    Ok((cipher, s2k, body.to_vec()))
}

/// Appends the text of the literal packet in these packets, which one of them may have compressed.
fn literal(mut packets: &[u8], out: &mut Vec<u8>, may_be_compressed: bool) -> Result<(), Refused> {
    let mut is_found = false;
    while let Some(Packet { tag, body }) = Packet::next(&mut packets)? {
        match tag {
            LITERAL if !is_found => {
                let mut body: &[u8] = &body;
                let kind = take_byte(&mut body)?;
                let name = take_byte(&mut body)?;
                take(&mut body, usize::from(name) + 4)?;
                if !matches!(kind, b't' | b'u') || std::str::from_utf8(body).is_err() {
                    return Err(Refused::NotText);
                }
                out.extend_from_slice(body);
            }
            COMPRESSED if !is_found && may_be_compressed => {
                let inflated = inflated(&body)?;
                literal(&inflated, out, false)?;
            }
            MARKER => continue,
            _ => return Err(Refused::Malformed("a packet that is not expected")),
        }
        is_found = true;
    }
    if is_found { Ok(()) } else { Err(Refused::Truncated) }
}

fn inflated(mut body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
    use miniz_oxide::inflate::{decompress_to_vec_with_limit, decompress_to_vec_zlib_with_limit};
    let inflated = match take_byte(&mut body)? {
        0 => return Ok(Zeroizing::new(body.to_vec())),
        1 => decompress_to_vec_with_limit(body, INFLATED_MAX),
        2 => decompress_to_vec_zlib_with_limit(body, INFLATED_MAX),
        3 => return Err(Refused::Algorithm("bzip2")),
        _ => return Err(Refused::Algorithm("an unknown compression")),
    };
    inflated.map(Zeroizing::new).map_err(|_| Refused::Malformed("it cannot be decompressed"))
}
