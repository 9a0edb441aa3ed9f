//! The primitives against published vectors, so that one build reads what the other writes.

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Of NIST, "abc".
#[test]
fn hashes_are_those_of_their_specification() {
    let first = |hash: Hash| hex(&hash.of(b"abc")[..8]);
    assert_eq!(first(Hash::Sha256), "ba7816bf8f01cfea");
    assert_eq!(first(Hash::Sha384), "cb00753f45a35e8b");
    assert_eq!(first(Hash::Sha512), "ddaf35a193617aba");
    assert_eq!([Hash::Sha256, Hash::Sha384, Hash::Sha512].map(|hash| hash.of(b"").len()), [32, 48, 64]);
}

/// Of RFC 4231: a short key, and one that is longer than a block.
#[test]
fn a_mac_is_that_of_its_specification() {
    let long: &[u8] = &[0xaa; 131];
    let cases = [
        (
            &b"Jefe"[..],
            ["what do ya want ", "for nothing?"],
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            long,
            ["Test Using Larger Than Block-Size Key", " - Hash Key First"],
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for (key, parts, expected) in cases {
        let begun = Mac::new(key).unwrap();
        let mut mac = begun.clone();
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        assert_eq!(hex(&mac.end()), expected);
        assert_ne!(hex(&begun.end()), expected);
    }
}

/// Of NIST SP 800-38B, for AES-256 and a message of one block.
#[test]
fn a_cmac_is_that_of_its_specification() {
    let key = [
        0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81, 0x1f,
        0x35, 0x2c, 0x07, 0x3b, 0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
    ];
    let block =
        [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
    let mut code = [0; BLOCK_BYTES];
    Cmac::new(&key).unwrap().of(&block, &mut code).unwrap();
    assert_eq!(hex(&code), "28a7023f452e8f82bd4bf28d8c37c35c");
}

#[test]
fn random_bytes_do_not_repeat() {
    let mut random = Random::new();
    let mut taken: Vec<[u8; 24]> = (0..1000).map(|_| random.take().unwrap()).collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 1000);
    let mut none = [];
    assert_eq!(fill(&mut none), Ok(()));
}

/// TLS is that of the module if the build is.
#[test]
fn the_build_says_what_it_is() {
    assert_eq!(is_usable(), Ok(()));
    assert_eq!(tls().fips(), !COVERS_PGP);
    assert_eq!(version().contains("(fips: AWS-LC FIPS "), !COVERS_PGP, "{}", version());
}
