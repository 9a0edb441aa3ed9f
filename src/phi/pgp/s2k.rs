//! String to key: the key that a password gives, and the ciphers that take it.

use aes::cipher::{Array, InnerIvInit, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use cfb_mode::{Decryptor, Encryptor};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::packet::{take, take_byte};
use crate::phi::Refused;

/// A cipher that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES with a key of 128 bits.
    Aes128,
    /// AES with a key of 192 bits.
    Aes192,
    /// AES with a key of 256 bits.
    Aes256,
}

impl Cipher {
    pub(super) fn of(number: u8) -> Result<Self, Refused> {
        match number {
            7 => Ok(Self::Aes128),
            8 => Ok(Self::Aes192),
            9 => Ok(Self::Aes256),
            2 => Err(Refused::Algorithm("3des")),
            3 => Err(Refused::Algorithm("cast5")),
            4 => Err(Refused::Algorithm("bf (Blowfish)")),
            10 => Err(Refused::Algorithm("Twofish")),
            _ => Err(Refused::Algorithm("an unknown cipher")),
        }
    }

    pub(super) fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

/// A hash function of S2K.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hash {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// How a password becomes a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::phi) struct S2k {
    cipher: Cipher,
    hash: Hash,
    salt: Option<[u8; 8]>,
    /// Bytes that are hashed, at least the salt and the password.
    count: usize,
}

impl S2k {
    /// What this program writes: AES-256, SHA-256, and this count as it is encoded.
    pub(super) fn written(salt: [u8; 8], count: u8) -> Self {
        Self { cipher: Cipher::Aes256, hash: Hash::Sha256, salt: Some(salt), count: decoded(count) }
    }

    /// Reads the specifier.
    pub(super) fn read(cipher: Cipher, input: &mut &[u8]) -> Result<Self, Refused> {
        let mode = take_byte(input)?;
        let hash = match take_byte(input)? {
            1 => Hash::Md5,
            2 => Hash::Sha1,
            8 => Hash::Sha256,
            9 => Hash::Sha384,
            10 => Hash::Sha512,
            11 => Hash::Sha224,
            3 => return Err(Refused::Algorithm("RIPEMD-160")),
            _ => return Err(Refused::Algorithm("an unknown hash function")),
        };
        let salt = match mode {
            0 => None,
            1 | 3 => take(input, 8)?.try_into().ok(),
            _ => return Err(Refused::Malformed("an unknown kind of S2K")),
        };
        let count = match mode {
            3 => decoded(take_byte(input)?),
            _ => 0,
        };
        Ok(Self { cipher, hash, salt, count })
    }

    /// As `phi coverage` shows it: the cipher, and how the key is derived from the password.
    pub(super) fn words(&self) -> String {
        let cipher = match self.cipher {
            Cipher::Aes128 => "aes128",
            Cipher::Aes192 => "aes192",
            Cipher::Aes256 => "aes256",
        };
        let hash = format!("{:?}", self.hash).to_lowercase();
        match (self.salt, self.count) {
            (None, _) => format!("{cipher}, s2k 0 {hash}"),
            (Some(_), 0) => format!("{cipher}, s2k 1 {hash}"),
            (Some(_), count) => format!("{cipher}, s2k 3 {hash} {count}"),
        }
    }

    /// The key that a password gives.
    pub(in crate::phi) fn key(&self, password: &[u8]) -> SessionKey {
        let length = self.cipher.key_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(96));
        let mut zeros = 0;
        while bytes.len() < length {
            match self.hash {
                Hash::Md5 => self.hash::<Md5>(password, zeros, &mut bytes),
                Hash::Sha1 => self.hash::<Sha1>(password, zeros, &mut bytes),
                Hash::Sha224 => self.hash::<Sha224>(password, zeros, &mut bytes),
                Hash::Sha256 => self.hash::<Sha256>(password, zeros, &mut bytes),
                Hash::Sha384 => self.hash::<Sha384>(password, zeros, &mut bytes),
                Hash::Sha512 => self.hash::<Sha512>(password, zeros, &mut bytes),
            }
            zeros += 1;
        }
        SessionKey::new(self.cipher, &padded(&bytes))
    }

    fn hash<H: Digest>(&self, password: &[u8], zeros: usize, out: &mut Vec<u8>) {
        let mut hash = H::new();
        hash.update(&[0; 8][..zeros]);
        let salted =
            Zeroizing::new([self.salt.as_ref().map_or(&[][..], |salt| &salt[..]), password].concat());
        let mut left = self.count.max(salted.len());
        while left > 0 {
            let some = left.min(salted.len());
            hash.update(&salted[..some]);
            left -= some;
        }
        out.extend_from_slice(&hash.finalize());
    }
}

/// The number of bytes that an octet encodes.
fn decoded(count: u8) -> usize {
    (16 + usize::from(count & 15)) << (usize::from(count >> 4) + 6)
}

/// The key of a message, expanded.
#[derive(Clone)]
pub(in crate::phi) enum SessionKey {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

pub(super) const BLOCK: usize = 16;
/// Bytes of the longest key.
const KEY_MAX: usize = 32;

impl SessionKey {
    /// A cipher with a shorter key takes the first bytes.
    fn new(cipher: Cipher, bytes: &[u8; KEY_MAX]) -> Self {
        fn first<const N: usize>(bytes: &[u8; KEY_MAX]) -> [u8; N] {
            std::array::from_fn(|at| bytes[at])
        }
        match cipher {
            Cipher::Aes128 => Self::Aes128(Aes128::new(&Array(first(bytes)))),
            Cipher::Aes192 => Self::Aes192(Aes192::new(&Array(first(bytes)))),
            Cipher::Aes256 => Self::Aes256(Aes256::new(&Array(first(bytes)))),
        }
    }

    /// The key that a message carries, encrypted with this one.
    pub(super) fn carried(&self, encrypted: &[u8]) -> Result<Self, Refused> {
        let mut bytes = Zeroizing::new(encrypted.to_vec());
        self.decrypt(&[0; BLOCK], &mut bytes);
        let (&number, key) = bytes.split_first().ok_or(Refused::Truncated)?;
        // A wrong password gives any number.
        let cipher = Cipher::of(number)?;
        if key.len() == cipher.key_bytes() {
            Ok(Self::new(cipher, &padded(key)))
        } else {
            Err(Refused::Truncated)
        }
    }

    /// Decrypts in place, in CFB.
    pub(super) fn decrypt(&self, iv: &[u8; BLOCK], data: &mut [u8]) {
        let iv = Array(*iv);
        match self {
            Self::Aes128(aes) => Decryptor::inner_iv_init(aes, &iv).decrypt(data),
            Self::Aes192(aes) => Decryptor::inner_iv_init(aes, &iv).decrypt(data),
            Self::Aes256(aes) => Decryptor::inner_iv_init(aes, &iv).decrypt(data),
        }
    }

    /// Encrypts in place, in CFB with an IV of zeros.
    pub(super) fn encrypt(&self, data: &mut [u8]) {
        let iv = Array([0; BLOCK]);
        match self {
            Self::Aes128(aes) => Encryptor::inner_iv_init(aes, &iv).encrypt(data),
            Self::Aes192(aes) => Encryptor::inner_iv_init(aes, &iv).encrypt(data),
            Self::Aes256(aes) => Encryptor::inner_iv_init(aes, &iv).encrypt(data),
        }
    }
}

/// At most as many bytes as the longest key has, with zeros after them.
fn padded(bytes: &[u8]) -> Zeroizing<[u8; KEY_MAX]> {
    let mut key = Zeroizing::new([0; KEY_MAX]);
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    key
}
