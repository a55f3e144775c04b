import { generateKeyPairSync, X509Certificate, type KeyObject } from 'node:crypto'
import { PosternError } from '../base/errors.ts'
import { readPublicFile, readSecretFile } from '../identity/key-files.ts'
import { KeyProtection } from '../identity/key-protection.ts'
import { privatePem, publicDer, spkiPin } from '../identity/keys.ts'
import type { Role } from '../identity/name.ts'
import { FOR_OWNER, writeState } from '../identity/state-files.ts'
import type { SealedEnd } from '../transport/sealed-tls.ts'
import { judgeSeal, type SealTrust } from './trust.ts'

const DAY_MS = 86_400_000
/** Of the certificate that a pinned key shows: nobody judges its time. */
const SHOWN_MS = 3650 * DAY_MS

/** Where the key of one end of sealed sessions lies, and the certificate over it, where a CA of the customer's made one. */
export interface SealingFiles {
  /** PEM, PKCS#8, readable by its owner alone. */
  readonly keyFile: string
  /** PEM: leaf first, then intermediates. Undefined: who is at the other end pins the key. */
  readonly certificateFile?: string | undefined
}

/** The key of one end of sealed sessions. */
export interface SealingKey {
  /** `sha256:HEX` of its SubjectPublicKeyInfo. */
  readonly pin: string
  readonly certificatePem: string | undefined
  /** Of the certificate, in wall-clock ms; Infinity where there is none. */
  readonly notAfterMs: number
  /** Not enumerable, so that no log or JSON takes it along. */
  readonly key: KeyObject
}

/** Reads a sealing key. @throws FILE_UNREADABLE, KEY_EXPOSED, KEY_LOCKED, KEY_MISMATCH, CERTIFICATE_UNUSABLE */
export function readSealingKey({ keyFile, certificateFile }: SealingFiles): SealingKey {
  const key = new KeyProtection().open(readSecretFile(keyFile), keyFile)
  const certificatePem = certificateFile === undefined ? undefined : readPublicFile(certificateFile)
  const facts = {
    pin: spkiPin(publicDer(key)),
    certificatePem,
    notAfterMs:
      certificatePem === undefined ? Infinity : endOf(certificatePem, key, certificateFile),
  }
  return Object.defineProperty(facts, 'key', { value: key, enumerable: false }) as SealingKey
}

/** Makes a sealing key that lies nowhere. */
export function generateSealingKey(): SealingKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const facts = {
    pin: spkiPin(publicDer(privateKey)),
    certificatePem: undefined,
    notAfterMs: Infinity,
  }
  return Object.defineProperty(facts, 'key', {
    value: privateKey,
    enumerable: false,
  }) as unknown as SealingKey
}

/** Makes a sealing key in a file that its owner alone may read. @throws STATE_UNWRITABLE */
export function makeSealingKey(keyFile: string): void {
  writeState(keyFile, privatePem(generateSealingKey().key), FOR_OWNER)
}

/** Makes one end of sealed sessions, which judges the other by `trust`. `role`: of the other. */
export async function sealedEnd(
  { key, certificatePem, notAfterMs }: SealingKey,
  trust: () => SealTrust,
  role: Role,
  wallMs: () => number,
): Promise<SealedEnd> {
  const facts = {
    certificatePem: certificatePem ?? (await shownFor(key, wallMs())),
    notAfterMs,
    judge: (chain: readonly Buffer[]) => judgeSeal(chain, trust(), role, wallMs()),
  }
  const options = { value: privatePem(key), enumerable: false }
  return Object.defineProperty(facts, 'keyPem', options) as unknown as SealedEnd
}

/** The certificate that TLS needs for a key that is pinned; the libraries that make one are large. */
async function shownFor(key: KeyObject, nowMs: number): Promise<string> {
  const { Authority } = await import('../identity/authority.ts')
  const notBefore = new Date(nowMs - DAY_MS)
  const notAfter = new Date(nowMs + SHOWN_MS)
  return await Authority.selfSigned(key, 'postern seal', { notBefore, notAfter })
}

function endOf(pem: string, key: KeyObject, path = ''): number {
  let leaf: X509Certificate
  try {
    leaf = new X509Certificate(pem)
  } catch (error) {
    const text = `${path}: it holds no PEM certificate`
    throw new PosternError('CERTIFICATE_UNUSABLE', text, { path }, { cause: error })
  }
  if (leaf.checkPrivateKey(key)) return Date.parse(leaf.validTo)
  throw new PosternError('KEY_MISMATCH', `the sealing key does not belong to ${path}`, { path })
}
