import { createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import type { CertificateFacts } from './certificate.ts'

const RSA_PSS = '1.2.840.113549.1.1.10'

/** Signature algorithms that we take, by object identifier, and the kind of key that each needs. */
const ALGORITHMS: ReadonlyMap<string, string> = new Map([
  ['1.2.840.10045.4.3.2', 'ec'],
  ['1.2.840.10045.4.3.3', 'ec'],
  ['1.2.840.10045.4.3.4', 'ec'],
  ['1.2.840.113549.1.1.11', 'rsa'],
  ['1.2.840.113549.1.1.12', 'rsa'],
  ['1.2.840.113549.1.1.13', 'rsa'],
  [RSA_PSS, 'rsa'],
  ['1.3.101.112', 'ed25519'],
])
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const CURVE_OIDS = new Set(['1.2.840.10045.3.1.7', '1.3.132.0.34', '1.3.132.0.35'])
const EC_KEY = '1.2.840.10045.2.1'
const RSA_BITS_MIN = 2048
const RSA_BITS_MAX = 8192
const RSA_EXPONENT_MIN = 65537n

/** Broken rules of a certificate's public key, in words. */
export function keyFaults({ publicKey, keyAlgorithm }: CertificateFacts): string[] {
  if (keyAlgorithm.oid === EC_KEY && !CURVE_OIDS.has(keyAlgorithm.curve ?? ''))
    return ['has a key on a curve that is not P-256, P-384 or P-521']
  let key: KeyObject
  try {
    key = createPublicKey({ key: publicKey, format: 'der', type: 'spki' })
  } catch {
    // The fault is the answer.
    return ['has a key that cannot be read']
  }
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return []
    case 'ec':
      return CURVES.has(namedCurve) ? [] : [`has a key on curve ${namedCurve}`]
    case 'rsa':
      if (modulusLength < RSA_BITS_MIN || modulusLength > RSA_BITS_MAX || modulusLength % 8 !== 0)
        return [`has an RSA key of ${String(modulusLength)} bits`]
      return publicExponent >= RSA_EXPONENT_MIN ? [] : ['has an RSA key with a small exponent']
    default:
      return [`has a key of type ${String(key.asymmetricKeyType)}`]
  }
}

/** Broken rules of the signature's algorithm, in words. */
export function algorithmFaults(certificate: CertificateFacts): string[] {
  const { signatureAlgorithm, outerAlgorithm, signatureOid } = certificate
  if (!signatureAlgorithm.equals(outerAlgorithm)) return ['names two signature algorithms']
  return ALGORITHMS.has(signatureOid) ? [] : [`is signed with ${signatureOid}, which is not taken`]
}

/** Whether the issuer's key made the signature; OpenSSL decides. */
export function isSignedBy(certificate: CertificateFacts, issuer: CertificateFacts): boolean {
  if (algorithmFaults(certificate).length > 0) return false
  try {
    const key = createPublicKey({ key: issuer.publicKey, format: 'der', type: 'spki' })
    const needed = ALGORITHMS.get(certificate.signatureOid)
    if (key.asymmetricKeyType !== needed) return false
    return new X509Certificate(certificate.der).verify(key)
  } catch {
    // A key or signature that cannot be read has signed nothing.
    return false
  }
}
