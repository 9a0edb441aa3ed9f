//! The cryptographic primitives, each in one place: of well-kept crates, or, with the feature `fips`, of the FIPS module
//! of AWS-LC. Both give the same bytes.
//!
//! Invariant: nothing else in the crate names one of these libraries, except for the format `pgp`, which needs what no such
//! module covers, and is refused where [`COVERS_PGP`] is false. Passwords for the server are postgres-protocol's.

#[cfg_attr(feature = "fips", path = "module.rs")]
#[cfg_attr(not(feature = "fips"), path = "crates.rs")]
mod primitives;
mod random;

pub(crate) use primitives::{COVERS_PGP, Cmac, Mac, is_usable, open_gcm, seal_gcm, tls, version};
pub(crate) use random::Random;
pub use random::{NoRandom, fill};

/// Bytes of a key of AES-256.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a block of AES, and of a tag of GCM.
pub(crate) const BLOCK_BYTES: usize = 16;
/// Bytes of a nonce of GCM.
pub(crate) const NONCE_BYTES: usize = 12;

/// A hash function.
#[derive(Clone, Copy)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn of(self, bytes: &[u8]) -> Vec<u8> {
        primitives::hash(self, bytes)
    }
}

#[cfg(test)]
mod tests;
