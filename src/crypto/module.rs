//! The primitives of the build with the feature `fips`: all of the FIPS module of AWS-LC, by its approved services.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{cmac, digest, hmac, rand};
use rustls::crypto::CryptoProvider;

use super::{BLOCK_BYTES, Hash, KEY_BYTES, NONCE_BYTES, Random};

/// Whether the format `pgp` may be used.
pub(crate) const COVERS_PGP: bool = false;

/// The version of the program, and which build it is.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        format!("{} (fips: AWS-LC FIPS {})", env!("CARGO_PKG_VERSION"), aws_lc_rs::awslc_version())
    });
    &VERSION
}

/// Why the primitives cannot be used.
pub(crate) fn is_usable() -> Result<(), &'static str> {
    aws_lc_rs::try_fips_mode()
}

/// The primitives of TLS.
pub(crate) fn tls() -> CryptoProvider {
    rustls::crypto::default_fips_provider()
}

pub(super) fn fill(bytes: &mut [u8]) -> Option<()> {
    rand::fill(bytes).ok()
}

pub(super) fn hash(hash: Hash, bytes: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, bytes).as_ref().to_vec()
}

/// HMAC-SHA-256.
#[derive(Clone)]
pub(crate) struct Mac(hmac::Context);

impl Mac {
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        Some(Self(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key))))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn end(self) -> [u8; 32] {
        let mut code = [0; 32];
        code.copy_from_slice(self.0.sign().as_ref());
        code
    }
}

/// CMAC with AES-256 (NIST SP 800-38B), of messages of one block.
pub(crate) struct Cmac(cmac::Key);

impl Cmac {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Option<Self> {
        cmac::Key::new(cmac::AES_256, key).ok().map(Self)
    }

    /// Writes the code of a block to `out`.
    pub(crate) fn of(&self, block: &[u8; BLOCK_BYTES], out: &mut [u8]) -> Option<()> {
        out.copy_from_slice(cmac::sign(&self.0, block).ok()?.as_ref());
        Some(())
    }
}

/// Encrypts in place with AES-256-GCM; the nonce, which the module draws, and the tag. `None` if the value is too long.
pub(crate) fn seal_gcm(
    key: &[u8; KEY_BYTES],
    _random: &mut Random,
    aad: &[u8],
    value: &mut [u8],
) -> Option<([u8; NONCE_BYTES], [u8; BLOCK_BYTES])> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let (nonce, tag) = key.seal_in_place_separate_tag(Aad::from(aad), value).ok()?;
    Some((*nonce.as_ref(), tag.as_ref().try_into().ok()?))
}

/// Decrypts in place a value with its tag behind it; whether it is authentic.
pub(crate) fn open_gcm(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    value: &mut [u8],
) -> bool {
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let key = RandomizedNonceKey::new(&AES_256_GCM, key);
    key.is_ok_and(|key| key.open_in_place(nonce, Aad::from(aad), value).is_ok())
}
