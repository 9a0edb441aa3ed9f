//! XAES-256-GCM (C2SP): AES-256-GCM with a nonce of 192 bits, which may be random for every value however many there are.
//! A key and a nonce of GCM's own are derived for each value.

use zeroize::Zeroizing;

use crate::crypto::{self, BLOCK_BYTES, Cmac, KEY_BYTES, Random};

pub(super) const NONCE_BYTES: usize = 24;
pub(super) const TAG_BYTES: usize = BLOCK_BYTES;

/// How many bytes of the nonce the key of a value is derived from; the others are the nonce of GCM.
const DERIVED: usize = NONCE_BYTES - crypto::NONCE_BYTES;

/// A key, expanded once.
pub(super) struct Xaes(Cmac);

impl Xaes {
    /// `None` if the library does not take it.
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Option<Self> {
        Cmac::new(key).map(Self)
    }

    /// The key of a value (NIST SP 800-108, in counter mode, by CMAC).
    fn of_value(&self, context: &[u8; DERIVED]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (half, counter) in key.chunks_exact_mut(BLOCK_BYTES).zip([1, 2]) {
            let mut block = [0; BLOCK_BYTES];
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(context);
            self.0.of(&block, half)?;
        }
        Some(key)
    }

    /// Encrypts in place, with a random nonce; that and the tag. `None` if the value is too long for GCM.
    pub(super) fn seal(
        &self,
        random: &mut Random,
        aad: &[u8],
        value: &mut [u8],
    ) -> Option<([u8; NONCE_BYTES], [u8; TAG_BYTES])> {
        let context = random.take().ok()?;
        let (of_gcm, tag) = crypto::seal_gcm(&*self.of_value(&context)?, random, aad, value)?;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..DERIVED].copy_from_slice(&context);
        nonce[DERIVED..].copy_from_slice(&of_gcm);
        Some((nonce, tag))
    }

    /// Decrypts in place a value with its tag behind it; whether it is authentic.
    pub(super) fn open(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], value: &mut [u8]) -> bool {
        let (Some(context), Some(of_gcm)) = (nonce.first_chunk(), nonce.last_chunk()) else { return false };
        self.of_value(context).is_some_and(|key| crypto::open_gcm(&key, of_gcm, aad, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    /// The vectors of the specification. What is sealed opens, and only one value does with a key and a nonce: so what is
    /// sealed is that of the specification, too.
    #[test]
    fn it_is_the_algorithm_of_the_specification() {
        let cases: [(u8, &[u8], &str); 2] = [
            (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ];
        for (byte, aad, sealed) in cases {
            let xaes = Xaes::new(&[byte; 32]).unwrap();
            let mut value = bytes(sealed);
            assert!(xaes.open(b"ABCDEFGHIJKLMNOPQRSTUVWX", aad, &mut value));
            assert_eq!(value[..12], b"XAES-256-GCM"[..]);

            let mut value = b"XAES-256-GCM".to_vec();
            let (nonce, tag) = xaes.seal(&mut Random::new(), aad, &mut value).unwrap();
            value.extend_from_slice(&tag);
            assert!(!xaes.open(&nonce, b"another", &mut value.clone()));
            assert!(xaes.open(&nonce, aad, &mut value));
            assert_eq!(value[..12], b"XAES-256-GCM"[..]);
        }
    }
}
