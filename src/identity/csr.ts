import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { PosternError } from '../base/errors.ts'
import { context, countOf, DerReader, oidText, readOne, TAG } from './der.ts'
import { element, oid, sequence, smallInteger } from './der-write.ts'
import { publicDer } from './keys.ts'

/** Larger than any honest request with a key that we take. */
const CSR_BYTES_MAX = 16 * 1024
const RSA_BITS = { min: 2048, max: 4096 }

/** Signature algorithms by object identifier: the hash for node:crypto, and the kind of key. */
const ALGORITHMS: ReadonlyMap<string, readonly [hash: string | null, key: string]> = new Map([
  ['1.2.840.10045.4.3.2', ['sha256', 'ec']],
  ['1.2.840.10045.4.3.3', ['sha384', 'ec']],
  ['1.2.840.113549.1.1.11', ['sha256', 'rsa']],
  ['1.2.840.113549.1.1.12', ['sha384', 'rsa']],
  ['1.2.840.113549.1.1.13', ['sha512', 'rsa']],
  ['1.3.101.112', [null, 'ed25519']],
])
const CURVES = new Set(['prime256v1', 'secp384r1'])

/**
 * What of a request is believed: that its sender holds the key. The names and extensions in it are
 * wishes; who is enrolled is decided by the token or the certificate that came along.
 */
export interface SigningRequest {
  readonly publicKey: KeyObject
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKeyDer: Buffer
}

/** Reads PKCS#10 in DER and verifies its proof of possession (RFC 2986). @throws CSR_INVALID */
export function readSigningRequest(der: Buffer): SigningRequest {
  if (der.length > CSR_BYTES_MAX) throw invalid(`it is larger than ${String(CSR_BYTES_MAX)} bytes`)
  let found: ReturnType<typeof decode>
  try {
    found = decode(der)
  } catch (error) {
    throw invalid(`it cannot be decoded: ${(error as Error).message}`)
  }
  const { info, publicKeyDer, algorithm, signature } = found
  const [hash, kind] = ALGORITHMS.get(algorithm) ?? []
  if (hash === undefined) throw invalid(`it is signed with ${algorithm}, which is not taken`)
  const publicKey = judgedKey(publicKeyDer)
  if (publicKey.asymmetricKeyType !== kind)
    throw invalid('its key is of another kind than its signature')
  let holds = false
  try {
    holds = verify(hash, info, publicKey, signature)
  } catch {
    // A signature that cannot even be decoded does not hold.
  }
  if (!holds) throw invalid('its signature does not hold')
  return { publicKey, publicKeyDer: publicDer(publicKey) }
}

/** A request that asks for nothing but a certificate for this key. */
export function makeSigningRequest(key: KeyObject): Buffer {
  const algorithm = requestOid(key)
  const parameters = key.asymmetricKeyType === 'rsa' ? [element(TAG.null)] : []
  const info = sequence(smallInteger(0), sequence(), publicDer(key), element(context(0, true)))
  const signature = sign(ALGORITHMS.get(algorithm)?.[0] ?? null, info, key)
  return sequence(
    info,
    sequence(oid(algorithm), ...parameters),
    element(TAG.bitString, Buffer.from([0]), signature),
  )
}

function requestOid(key: KeyObject): string {
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return '1.3.101.112'
    case 'rsa':
      return '1.2.840.113549.1.1.11'
    default:
      return key.asymmetricKeyDetails?.namedCurve === 'secp384r1'
        ? '1.2.840.10045.4.3.3'
        : '1.2.840.10045.4.3.2'
  }
}

function decode(der: Buffer): {
  info: Buffer
  publicKeyDer: Buffer
  algorithm: string
  signature: Buffer
} {
  const outer = new DerReader(readOne(der, TAG.sequence).content)
  const info = outer.next(TAG.sequence)
  const algorithm = oidText(outer.enter(TAG.sequence).next(TAG.oid).content)
  const bits = outer.next(TAG.bitString).content
  outer.end()
  const reader = new DerReader(info.content)
  if (countOf(reader.next(TAG.integer).content) !== 0) throw new Error('its version is not 0')
  reader.next(TAG.sequence)
  const publicKeyDer = reader.next(TAG.sequence).raw
  reader.optional(context(0, true))
  reader.end()
  if (bits[0] !== 0) throw new Error('its signature does not end on a byte')
  return { info: info.raw, publicKeyDer, algorithm, signature: bits.subarray(1) }
}

function judgedKey(publicKeyDer: Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: publicKeyDer, format: 'der', type: 'spki' })
  } catch {
    // OpenSSL's own words say no more to whoever sent it.
    throw invalid('its key cannot be read')
  }
  const { namedCurve = '', modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return key
    case 'ec':
      if (CURVES.has(namedCurve) && isCurveNamed(publicKeyDer)) return key
      throw invalid(`its key is on curve ${namedCurve}, or spells out its parameters`)
    case 'rsa':
      if (modulusLength < RSA_BITS.min || modulusLength > RSA_BITS.max || publicExponent !== 65537n)
        throw invalid(`its RSA key of ${String(modulusLength)} bits is not taken`)
      return key
    default:
      throw invalid(`its key of type ${String(key.asymmetricKeyType)} is not taken`)
  }
}

/** OpenSSL recognises a named curve behind spelled-out parameters; others may not. */
function isCurveNamed(publicKeyDer: Buffer): boolean {
  const algorithm = new DerReader(readOne(publicKeyDer, TAG.sequence).content).enter(TAG.sequence)
  algorithm.next(TAG.oid)
  return algorithm.nextTag === TAG.oid
}

function invalid(text: string): PosternError {
  return new PosternError('CSR_INVALID', `the certificate signing request is not taken: ${text}`)
}
