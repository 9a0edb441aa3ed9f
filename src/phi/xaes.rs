//! XAES-256-GCM (C2SP): AES-256-GCM with a nonce of 192 bits, which may be random for every value however many there are.
//! A key and a nonce of GCM's own are derived for each value.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes_gcm::{AeadInOut, Aes256Gcm};
use zeroize::{Zeroize, Zeroizing};

use super::keys::KEY_BYTES;

pub(super) const NONCE_BYTES: usize = 24;
pub(super) const TAG_BYTES: usize = 16;

/// A key, expanded once.
pub(super) struct Xaes {
    aes: Aes256,
    /// The CMAC subkey K1 of NIST SP 800-38B.
    subkey: Zeroizing<[u8; 16]>,
}

impl Xaes {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let aes = Aes256::new(&Array::from(*key));
        let mut block = Array::from([0; 16]);
        aes.encrypt_block(&mut block);
        let carry = block[0] >> 7;
        let mut subkey = Zeroizing::new([0; 16]);
        for at in 0..16 {
            let next = if at < 15 { block[at + 1] >> 7 } else { 0 };
            subkey[at] = block[at] << 1 | next;
        }
        subkey[15] ^= carry * 0x87;
        block.zeroize();
        Self { aes, subkey }
    }

    fn of_value(&self, nonce: &[u8; NONCE_BYTES]) -> (Aes256Gcm, Array<u8, aes::cipher::consts::U12>) {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (half, counter) in key.chunks_exact_mut(16).zip([1, 2]) {
            let mut block = [0; 16];
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            for (byte, mask) in block.iter_mut().zip(self.subkey.iter()) {
                *byte ^= mask;
            }
            let mut block = Array::from(block);
            self.aes.encrypt_block(&mut block);
            half.copy_from_slice(&block);
            block.zeroize();
        }
        let mut rest = [0; 12];
        rest.copy_from_slice(&nonce[12..]);
        (Aes256Gcm::new(&Array::from(*key)), Array::from(rest))
    }

    /// Encrypts in place; `None` if the value is too long for GCM.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        value: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let (gcm, nonce) = self.of_value(nonce);
        gcm.encrypt_inout_detached(&nonce, aad, value.into()).ok().map(Into::into)
    }

    /// Decrypts in place; whether the value is authentic. If it is not, it is unchanged.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        value: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> bool {
        let (gcm, nonce) = self.of_value(nonce);
        gcm.decrypt_inout_detached(&nonce, aad, value.into(), &tag.into()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification.
    #[test]
    fn it_is_the_algorithm_of_the_specification() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let cases: [(u8, &[u8], &str); 2] = [
            (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
        ];
        for (byte, aad, expected) in cases {
            let xaes = Xaes::new(&[byte; 32]);
            let mut value = b"XAES-256-GCM".to_vec();
            let tag = xaes.seal(nonce, aad, &mut value).unwrap();
            let hex: String = value.iter().chain(&tag).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
            assert!(xaes.open(nonce, aad, &mut value, tag));
            assert_eq!(value, b"XAES-256-GCM");
        }
    }
}
