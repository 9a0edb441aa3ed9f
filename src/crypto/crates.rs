//! The primitives of the ordinary build: the system's random numbers, RustCrypto, and for TLS ring.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::{AeadInOut, Aes256Gcm};
use hmac::{Hmac, Mac as _};
use rustls::crypto::{CryptoProvider, ring};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use super::{BLOCK_BYTES, Hash, KEY_BYTES, NONCE_BYTES, Random};

/// Whether the format `pgp` may be used.
pub(crate) const COVERS_PGP: bool = true;

/// The version of the program, and which build it is.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Why the primitives cannot be used.
pub(crate) fn is_usable() -> Result<(), &'static str> {
    Ok(())
}

/// The primitives of TLS.
pub(crate) fn tls() -> CryptoProvider {
    ring::default_provider()
}

pub(super) fn fill(bytes: &mut [u8]) -> Option<()> {
    getrandom::fill(bytes).ok()
}

pub(super) fn hash(hash: Hash, bytes: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Sha256 => Sha256::digest(bytes).to_vec(),
        Hash::Sha384 => Sha384::digest(bytes).to_vec(),
        Hash::Sha512 => Sha512::digest(bytes).to_vec(),
    }
}

/// HMAC-SHA-256.
#[derive(Clone)]
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn end(self) -> [u8; 32] {
        self.0.finalize().into_bytes().into()
    }
}

/// CMAC with AES-256 (NIST SP 800-38B), of messages of one block.
pub(crate) struct Cmac {
    aes: Aes256,
    /// K1 of the specification.
    subkey: Zeroizing<[u8; BLOCK_BYTES]>,
}

impl Cmac {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Option<Self> {
        let aes = Aes256::new(&Array::from(*key));
        let mut block = Array::from([0; BLOCK_BYTES]);
        aes.encrypt_block(&mut block);
        let carry = block[0] >> 7;
        let mut subkey = Zeroizing::new([0; BLOCK_BYTES]);
        for at in 0..BLOCK_BYTES {
            let next = if at + 1 < BLOCK_BYTES { block[at + 1] >> 7 } else { 0 };
            subkey[at] = block[at] << 1 | next;
        }
        subkey[BLOCK_BYTES - 1] ^= carry * 0x87;
        block.zeroize();
        Some(Self { aes, subkey })
    }

    /// Writes the code of a block to `out`.
    pub(crate) fn of(&self, block: &[u8; BLOCK_BYTES], out: &mut [u8]) -> Option<()> {
        let mut block = Array::from(*block);
        block.iter_mut().zip(self.subkey.iter()).for_each(|(byte, mask)| *byte ^= mask);
        self.aes.encrypt_block(&mut block);
        out.copy_from_slice(&block);
        block.zeroize();
        Some(())
    }
}

/// Encrypts in place with AES-256-GCM; the nonce, which is random, and the tag. `None` if the value is too long.
pub(crate) fn seal_gcm(
    key: &[u8; KEY_BYTES],
    random: &mut Random,
    aad: &[u8],
    value: &mut [u8],
) -> Option<([u8; NONCE_BYTES], [u8; BLOCK_BYTES])> {
    let nonce = random.take().ok()?;
    let gcm = Aes256Gcm::new(&Array::from(*key));
    let tag = gcm.encrypt_inout_detached(&Array::from(nonce), aad, value.into()).ok()?;
    Some((nonce, tag.into()))
}

/// Decrypts in place a value with its tag behind it; whether it is authentic.
pub(crate) fn open_gcm(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    aad: &[u8],
    value: &mut [u8],
) -> bool {
    let Some((value, tag)) = value.split_last_chunk_mut::<BLOCK_BYTES>() else { return false };
    let (gcm, tag) = (Aes256Gcm::new(&Array::from(*key)), Array::from(*tag));
    gcm.decrypt_inout_detached(&Array::from(*nonce), aad, value.into(), &tag).is_ok()
}
