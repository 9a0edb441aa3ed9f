//! Packets of OpenPGP: their headers, in all forms.

use std::borrow::Cow;

use crate::phi::{KeyId, Refused};

pub(super) const SESSION_KEY: u8 = 3;
pub(super) const COMPRESSED: u8 = 8;
pub(super) const ENCRYPTED: u8 = 9;
pub(super) const MARKER: u8 = 10;
pub(super) const LITERAL: u8 = 11;
pub(super) const ENCRYPTED_MDC: u8 = 18;
pub(super) const MDC: u8 = 19;

/// Bytes of [`key_marker`].
pub const KEY_MARKER_BYTES: usize = 21;

/// The marker packet that names the key of the message after it.
#[must_use]
pub fn key_marker(id: KeyId) -> [u8; KEY_MARKER_BYTES] {
    let mut marker = [0; KEY_MARKER_BYTES];
    marker[..5].copy_from_slice(&[0xc0 | MARKER, 19, b'P', b'G', b'P']);
    marker[5..].copy_from_slice(id.as_bytes());
    marker
}

/// A packet.
pub(super) struct Packet<'a> {
    pub(super) tag: u8,
    pub(super) body: Cow<'a, [u8]>,
}

/// Takes bytes off the front.
pub(super) fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refused> {
    let (taken, rest) = input.split_at_checked(count).ok_or(Refused::Truncated)?;
    *input = rest;
    Ok(taken)
}

pub(super) fn take_byte(input: &mut &[u8]) -> Result<u8, Refused> {
    take(input, 1).map(|taken| taken[0])
}

fn take_number(input: &mut &[u8], bytes: usize) -> Result<usize, Refused> {
    Ok(take(input, bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

impl<'a> Packet<'a> {
    /// Takes the next packet off the input; `None` at its end.
    pub(super) fn next(input: &mut &'a [u8]) -> Result<Option<Self>, Refused> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        if first & 0x80 == 0 {
            return Err(Refused::Malformed("a packet does not begin with a tag"));
        }
        *input = rest;
        if first & 0x40 == 0 {
            let tag = first >> 2 & 0x0f;
            let length = match first & 3 {
                3 => input.len(),
                kind => take_number(input, 1 << kind)?,
            };
            return Ok(Some(Self { tag, body: Cow::Borrowed(take(input, length)?) }));
        }
        let tag = first & 0x3f;
        let (length, is_partial) = new_length(input)?;
        let part = take(input, length)?;
        if !is_partial {
            return Ok(Some(Self { tag, body: Cow::Borrowed(part) }));
        }
        let mut body = part.to_vec();
        loop {
            let (length, is_partial) = new_length(input)?;
            body.extend_from_slice(take(input, length)?);
            if !is_partial {
                return Ok(Some(Self { tag, body: Cow::Owned(body) }));
            }
        }
    }
}

/// A length in the new form, and whether it is that of a part of the body only.
fn new_length(input: &mut &[u8]) -> Result<(usize, bool), Refused> {
    let first = usize::from(take_byte(input)?);
    Ok(match first {
        0..192 => (first, false),
        192..224 => (((first - 192) << 8) + usize::from(take_byte(input)?) + 192, false),
        224..255 => (1 << (first & 0x1f), true),
        _ => (take_number(input, 4)?, false),
    })
}

/// Appends the header of a packet in the new form.
pub(super) fn put_header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(0xc0 | tag);
    match length {
        0..192 => out.push(length as u8),
        192..8384 => out.extend_from_slice(&[((length - 192) >> 8) as u8 + 192, (length - 192) as u8]),
        _ => {
            out.push(255);
            out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}
