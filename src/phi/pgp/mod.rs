//! The format `pgp`: an OpenPGP message (RFC 4880) that pgcrypto's `pgp_sym_decrypt` reads.
//!
//! What is written is always the same: AES-256, an MDC, one literal of type text, the session key derived directly from
//! the password (S2K 3 with SHA-256 and the lowest count, which is right for keys of 256 random bits and for nothing
//! else), and before it all a marker packet with the key's id: readers ignore it, so that pgcrypto opens the value, and
//! whatever SQL writes can have it, too. What is read is all that pgcrypto writes with any of its options, except for
//! ciphers with blocks of 64 bits.
//!
//! One salt for each key, derived from it: a salt makes guessing passwords dearer, and there is nothing to guess in 256
//! random bits. The 16 random bytes that each message begins with act as its initialization vector.

mod message;
mod packet;
mod s2k;
mod write;

pub use message::Message;
pub use packet::{KEY_MARKER_BYTES, key_marker};
pub(super) use s2k::{S2k, SessionKey};
pub(super) use write::Writer;
