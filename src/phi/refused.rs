//! Why a value cannot be opened. None of it shows the value.

use super::KeyId;

/// The format that the build with the feature `fips` refuses.
pub(super) const NOT_COVERED: &str =
    "the format pgp (OpenPGP: SHA-1, S2K and CFB), which the FIPS module of this build does not cover";

/// Why a value is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no message of a known format: most likely plaintext.
    #[error("it is not encrypted, or in a format that is not known")]
    NotEncrypted,
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// It begins as a known format does, and is malformed.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// It names a key that the key ring does not have.
    #[error("it is encrypted with key {0}, which the key provider did not give")]
    UnknownKey(KeyId),
    /// It names no key, and none of the key ring opens it.
    #[error("it names no key, and none of the keys that the provider gave opens it")]
    NoKey,
    /// The key that it names does not open it, or it was altered, or belongs to another row or column.
    #[error(
        "key {0} does not open it: it was altered, is another row's, is bound to other columns than the plan says (`bound_to`), or was encrypted with another key"
    )]
    WrongKey(KeyId),
    /// An algorithm that must not be used any more, or is not known.
    #[error("it is encrypted with {0}, which is not accepted")]
    Algorithm(&'static str),
    /// It is encrypted with another key than it has to be.
    #[error("it is encrypted with key {0}, which is not the column's key")]
    OtherKey(KeyId),
    /// It is in another format than the column's.
    #[error("it is in another format than the column's")]
    OtherFormat,
    /// Its plaintext is not text in UTF-8.
    #[error("its plaintext is not text in UTF-8")]
    NotText,
    /// It is in the format pgp, and this build has only what a FIPS module covers.
    #[error("it is in {NOT_COVERED}")]
    NotCovered,
    /// It could not be encrypted.
    #[error("the cryptographic library did not encrypt it")]
    NotSealed,
    /// It is larger than a value can be.
    #[error("it is larger than a value can be")]
    TooLarge,
}
