//! Protected health information: keys, and the formats in which single values are encrypted.
//!
//! Bytes, key ids and associated data; nothing here knows a table or a lane.
//!
//! Invariants: a key is never part of SQL text, of a parameter, an argument, the environment of a child, a log, an error
//! or a fact, and no error has a value in it. What is opened was authenticated first, except for OpenPGP messages that
//! were written without an MDC, which cannot be.

mod blind;
mod envelope;
mod keyfile;
mod keyring;
mod keys;
pub mod pgp;
mod provider;
mod refused;
mod text;
mod value;
mod xaes;

pub use blind::{blind_index, tag};
pub use envelope::Identity;
pub use keyring::Keyring;
pub use keys::{Key, KeyError, KeyId};
pub use provider::{KeysError, KeysPlan, Provider, without_keys};
pub use refused::Refused;
pub use text::Codec;
pub(crate) use text::sql_text;
pub use value::{Format, Label, Opener, Sealer, label, parameters, prefix};

/// Whether a text is a document with keys, as a provider gives it.
#[must_use]
pub fn is_key_document(text: &str) -> bool {
    keyfile::read(text).is_ok()
}

#[cfg(test)]
mod tests;
