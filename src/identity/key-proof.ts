import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { PosternError } from '../base/errors.ts'
import { judgeLeaf } from './leaf-rules.ts'
import type { Identity } from './name.ts'
import { readCertificate } from './validation/validation.ts'

const CONTEXT = 'postern proof of possession 1\n'
const CERTIFICATE_BYTES_MAX = 16 * 1024

/** What a proof is for; one made for the one is worth nothing for the other. */
export type ProofPurpose = 'diagnose' | 'recover'

/**
 * Proves that the key of a certificate is held, to the other end of one TLS connection: a signature
 * over bytes that only its two ends know (RFC 9266), which nobody can replay on another.
 */
export function makeProof(key: KeyObject, purpose: ProofPurpose, exporter: Buffer): Buffer {
  return sign(hashOf(key), message(purpose, exporter), key)
}

/** Who holds the certificate and its key; expired or of an unknown issuer is not judged here. @throws CERT_UNTRUSTED, CERT_LEAF_RULES and identity codes */
export function judgeProof(
  certificate: Buffer,
  signature: Buffer,
  { purpose, exporter, trustDomain }: ProofExpected,
): Identity {
  if (certificate.length > CERTIFICATE_BYTES_MAX)
    throw new PosternError('CERT_LEAF_RULES', 'the certificate is too large')
  const identity = judgeLeaf(certificate, { trustDomain, roles: ['agent'] })
  const key = keyOf(certificate)
  let holds = false
  try {
    holds = verify(hashOf(key), message(purpose, exporter), key, signature)
  } catch {
    // A signature that cannot even be decoded does not hold.
  }
  if (holds) return identity
  throw new PosternError('CERT_UNTRUSTED', 'the key of the certificate was not proven to be held')
}

/** @throws CERT_LEAF_RULES */
function keyOf(certificate: Buffer): KeyObject {
  try {
    const { publicKey } = readCertificate(certificate)
    return createPublicKey({ key: publicKey, format: 'der', type: 'spki' })
  } catch (error) {
    const text = 'the certificate cannot be decoded'
    throw new PosternError('CERT_LEAF_RULES', text, {}, { cause: error })
  }
}

/** The connection and purpose that a proof of a key must be for. */
export interface ProofExpected {
  readonly purpose: ProofPurpose
  readonly exporter: Buffer
  readonly trustDomain: string
}

function message(purpose: ProofPurpose, exporter: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${CONTEXT}${purpose}\n`), exporter])
}

function hashOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'ed25519' ? null : 'sha256'
}
