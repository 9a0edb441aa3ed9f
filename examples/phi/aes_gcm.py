"""Reads and writes values in the format `aes-gcm` (docs/phi-format.md). Needs the package `cryptography`."""
import os, struct, sys, uuid
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

def _gcm(key, nonce):
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
    l = int.from_bytes(aes(bytes(16)), "big")
    k1 = (l << 1 & (1 << 128) - 1) ^ (0x87 if l >> 127 else 0)
    block = lambda n: aes((int.from_bytes(bytes([0, n, 0x58, 0]) + nonce[:12], "big") ^ k1).to_bytes(16, "big"))
    return AESGCM(block(1) + block(2)), nonce[12:]

def _aad(header, table, column, row_key):
    parts = [part.encode() for part in (table, column, *row_key)]
    return header + b"".join(struct.pack(">I", len(part)) + part for part in parts)

def decrypt(value, keys, table, column, row_key):
    """`keys`: the 32 bytes of each key by its id (UUID); `row_key`: the values of the row's key, as text."""
    if value[:4] != b"PHI\x01":
        raise ValueError("not a value in the format aes-gcm")
    gcm, nonce = _gcm(keys[uuid.UUID(bytes=value[4:20])], value[20:44])
    return gcm.decrypt(nonce, value[44:], _aad(value[:20], table, column, row_key)).decode()

def encrypt(text, key_id, key, table, column, row_key):
    header, nonce = b"PHI\x01" + key_id.bytes, os.urandom(24)
    gcm, rest = _gcm(key, nonce)
    return header + nonce + gcm.encrypt(rest, text.encode(), _aad(header, table, column, row_key))

if __name__ == "__main__":  # decrypt|encrypt KEY_ID KEY_HEX TABLE COLUMN ROW_KEY; a value in hex, or a text, on standard input
    what, key_id, key, table, column, row_key = sys.argv[1:]
    key_id, key, given = uuid.UUID(key_id), bytes.fromhex(key), sys.stdin.read()
    if what == "decrypt":
        print(decrypt(bytes.fromhex(given), {key_id: key}, table, column, [row_key]), end="")
    else:
        print(encrypt(given, key_id, key, table, column, [row_key]).hex(), end="")
