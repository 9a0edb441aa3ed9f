//! Writes messages under one key.

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::packet::{ENCRYPTED_MDC, LITERAL, MDC, SESSION_KEY, key_marker, put_header};
use super::s2k::{BLOCK, S2k, SessionKey};
use crate::phi::Key;

/// Writes messages under one key, whose session key is derived once.
pub(in crate::phi) struct Writer {
    /// What each message begins with: the marker, and how the password becomes the key.
    head: Vec<u8>,
    key: SessionKey,
}

impl Writer {
    pub(in crate::phi) fn new(key: &Key) -> Self {
        let salt = Sha256::new()
            .chain_update("projh-bluegreen: salt of OpenPGP messages")
            .chain_update(key.id.as_bytes())
            .chain_update(key.password())
            .finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&salt[..8]);
        // A passphrase can be guessed: it gets the count of 65,536, and a key of 256 random bits that of 1,024.
        let count = if key.encrypts() { 0 } else { 96 };
        let s2k = S2k::written(first, count);
        let mut head = key_marker(key.id).to_vec();
        // Version 4, AES-256, S2K 3 with SHA-256, the salt, and the count.
        put_header(&mut head, SESSION_KEY, 13);
        head.extend_from_slice(&[4, 9, 3, 8]);
        head.extend_from_slice(&first);
        head.push(count);
        Self { head, key: s2k.key(key.password()) }
    }

    /// Appends the message with a text; `random` must never have been used before.
    pub(in crate::phi) fn write(&self, random: &[u8; BLOCK], text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        let literal = 6 + text.len();
        let header = match literal {
            0..192 => 2,
            192..8384 => 3,
            _ => 6,
        };
        put_header(out, ENCRYPTED_MDC, 1 + BLOCK + 2 + header + literal + 22);
        out.push(1);
        let begin = out.len();
        out.extend_from_slice(random);
        out.extend_from_slice(&random[BLOCK - 2..]);
        put_header(out, LITERAL, literal);
        // Text, without a name and a date.
        out.extend_from_slice(&[b't', 0, 0, 0, 0, 0]);
        out.extend_from_slice(text);
        out.extend_from_slice(&[0xc0 | MDC, 20]);
        let mdc = Sha1::digest(&out[begin..]);
        out.extend_from_slice(&mdc);
        self.key.encrypt(&mut out[begin..]);
    }
}
