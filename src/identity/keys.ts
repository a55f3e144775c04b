import {
  createHash,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  type webcrypto,
} from 'node:crypto'
import { promisify } from 'node:util'

/** Kinds of key that we make. P-256 unless somebody chooses otherwise. */
export const KEY_KINDS = ['p256', 'p384', 'ed25519', 'rsa3072'] as const
/** The name of a kind of key. */
export type KeyKind = (typeof KEY_KINDS)[number]

const generate = promisify(generateKeyPair)

type SigningAlgorithm = webcrypto.EcKeyImportParams & { readonly hash: string }

/** Makes a private key on this machine. */
export async function makeKey(kind: KeyKind): Promise<KeyObject> {
  switch (kind) {
    case 'p256':
      return (await generate('ec', { namedCurve: 'prime256v1' })).privateKey
    case 'p384':
      return (await generate('ec', { namedCurve: 'secp384r1' })).privateKey
    case 'ed25519':
      return (await generate('ed25519', {})).privateKey
    case 'rsa3072':
      return (await generate('rsa', { modulusLength: 3072, publicExponent: 65537 })).privateKey
  }
}

/** The kind of a key, or for one that we would not make the kind to take in its place. */
export function keyKindOf(key: KeyObject): KeyKind {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519'
  if (key.asymmetricKeyType === 'rsa') return 'rsa3072'
  return key.asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'p384' : 'p256'
}

/** SubjectPublicKeyInfo in DER. */
export function publicDer(key: KeyObject): Buffer {
  const half = key.type === 'private' ? createPublicKey(key) : key
  return half.export({ type: 'spki', format: 'der' })
}

/** PKCS#8 without a passphrase. */
export function privatePem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' })
}

/** SHA-256 of the SubjectPublicKeyInfo: `sha256:` and 64 hex digits (RFC 7469 section 2.4). */
export function spkiPin(publicKeyDer: Uint8Array): string {
  return `sha256:${createHash('sha256').update(publicKeyDer).digest('hex')}`
}

/** Returns WebCrypto's name for the signature algorithm of a key, with its hash. */
export function signingAlgorithm(key: KeyObject): SigningAlgorithm {
  const { namedCurve } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'ec':
      return namedCurve === 'secp384r1'
        ? { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }
        : { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
    case 'ed25519':
      return { name: 'Ed25519', namedCurve: 'Ed25519', hash: 'SHA-512' }
    default:
      return { name: 'RSASSA-PKCS1-v1_5', namedCurve: '', hash: 'SHA-256' }
  }
}

/** The key as WebCrypto's, for @peculiar/x509. */
export function cryptoKey(key: KeyObject): webcrypto.CryptoKey {
  return key.toCryptoKey(signingAlgorithm(key), true, [key.type === 'private' ? 'sign' : 'verify'])
}
