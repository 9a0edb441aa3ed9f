// Reads and writes values in the format `aes-gcm` (docs/phi-format.md). Needs nothing but Node.js.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

function parameters(key, nonce) {
  const aes = block => createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block)
  const l = BigInt('0x' + aes(Buffer.alloc(16)).toString('hex'))
  const k1 = ((l << 1n) & ((1n << 128n) - 1n)) ^ (l >> 127n ? 0x87n : 0n)
  const mask = Buffer.from(k1.toString(16).padStart(32, '0'), 'hex')
  const block = n => aes(Buffer.concat([Buffer.from([0, n, 0x58, 0]), nonce.subarray(0, 12)]).map((byte, at) => byte ^ mask[at]))
  return [Buffer.concat([block(1), block(2)]), nonce.subarray(12)]
}

function aad(header, table, column, rowKey) {
  const parts = [table, column, ...rowKey].map(part => Buffer.from(part))
  const length = part => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(part.length); return bytes }
  return Buffer.concat([header, ...parts.flatMap(part => [length(part), part])])
}

/** `keys`: the 32 bytes of each key by the hexadecimal digits of its id; `rowKey`: the values of the row's key, as text. */
export function decrypt(value, keys, table, column, rowKey) {
  if (value.subarray(0, 4).toString('latin1') !== 'PHI\x01') throw new Error('not a value in the format aes-gcm')
  const gcm = createDecipheriv('aes-256-gcm', ...parameters(keys[value.subarray(4, 20).toString('hex')], value.subarray(20, 44)))
  gcm.setAAD(aad(value.subarray(0, 20), table, column, rowKey)).setAuthTag(value.subarray(-16))
  return Buffer.concat([gcm.update(value.subarray(44, -16)), gcm.final()]).toString()
}

export function encrypt(text, keyId, key, table, column, rowKey) {
  const [header, nonce] = [Buffer.concat([Buffer.from('PHI\x01', 'latin1'), Buffer.from(keyId, 'hex')]), randomBytes(24)]
  const gcm = createCipheriv('aes-256-gcm', ...parameters(key, nonce)).setAAD(aad(header, table, column, rowKey))
  return Buffer.concat([header, nonce, gcm.update(text, 'utf8'), gcm.final(), gcm.getAuthTag()])
}

// decrypt|encrypt KEY_ID KEY_HEX TABLE COLUMN ROW_KEY; a value in hexadecimal digits, or a text, on standard input
if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [what, id, key, table, column, rowKey] = process.argv.slice(2)
  const [keyId, bytes, given] = [id.replaceAll('-', ''), Buffer.from(key, 'hex'), readFileSync(0, 'utf8')]
  process.stdout.write(what === 'decrypt'
    ? decrypt(Buffer.from(given, 'hex'), { [keyId]: bytes }, table, column, [rowKey])
    : encrypt(given, keyId, bytes, table, column, [rowKey]).toString('hex'))
}
