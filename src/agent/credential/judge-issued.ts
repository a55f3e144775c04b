import { PosternError } from '../../base/errors.ts'
import { judgeLeaf } from '../../identity/leaf-rules.ts'
import type { Identity } from '../../identity/name.ts'
import {
  readCertificate,
  type CertificateFacts,
  validatePath,
} from '../../identity/validation/validation.ts'

/** A clock that is behind by no more than this is no reason to refuse a certificate. */
const SKEW_MS_MAX = 5 * 60_000

/** The key, trust domain and roots that an issued certificate must fit. */
export interface Expected {
  readonly known: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
  readonly publicKey: Buffer
  readonly trustDomain: string | undefined
  /** Default: agent. */
  readonly role?: 'agent' | 'caller'
}

/** One certificate, for our key, of the role, under a root that we trust. @throws ENROL_ANSWER_INVALID */
export function judgeIssued(
  certificates: readonly Buffer[],
  { known, roots, publicKey, trustDomain, role = 'agent' }: Expected,
  timeMs: number,
): { path: readonly CertificateFacts[]; identity: Identity; notAfterMs: number } {
  const [der, ...more] = certificates
  if (der === undefined || more.length > 0)
    throw invalidAnswer('it does not hold exactly one certificate')
  const leaf = decoded(der)
  if (!leaf.publicKey.equals(publicKey)) throw invalidAnswer('the certificate is for another key')
  const { isValid, path, faults } = validatePath({
    leaf,
    intermediates: known,
    roots,
    timeMs: Math.max(timeMs, Math.min(leaf.notBeforeMs, timeMs + SKEW_MS_MAX)),
    role: 'client',
  })
  if (!isValid)
    throw invalidAnswer(`the ${faults.map(({ place, text }) => `${place} ${text}`).join('; the ')}`)
  try {
    const identity = judgeLeaf(leaf.der, { trustDomain, roles: [role] })
    return { path, identity, notAfterMs: leaf.notAfterMs }
  } catch (error) {
    throw invalidAnswer(error instanceof PosternError ? error.rawMessage : String(error))
  }
}

/** Decodes a certificate that a gateway has issued. @throws ENROL_ANSWER_INVALID */
export function decoded(der: Buffer): CertificateFacts {
  try {
    return readCertificate(der)
  } catch (error) {
    throw invalidAnswer(`it cannot be decoded: ${(error as Error).message}`)
  }
}

/** Makes the error of an answer to enrolment that cannot be used. */
export function invalidAnswer(text: string): PosternError {
  return new PosternError('ENROL_ANSWER_INVALID', `the answer is not taken: ${text}`)
}
