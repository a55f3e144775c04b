import { PosternError } from '../base/errors.ts'
import { isCrlOf, readCrl, type CrlFacts } from '../identity/crl.ts'
import { spkiPin } from '../identity/keys.ts'
import { judgeLeaf } from '../identity/leaf-rules.ts'
import type { Identity, Role } from '../identity/name.ts'
import { pemBlocks } from '../identity/pem.ts'
import {
  readCertificate,
  validatePath,
  type CertificateFacts,
} from '../identity/validation/validation.ts'
import type { TlsFacts } from '../transport/tls-wire.ts'

/** Whom one end of sealed sessions takes the other to be: by the pin of a key, or by a certificate of a CA of the customer's. */
export interface SealTrust {
  /** Who holds the key of a pin, `sha256:HEX` of its SubjectPublicKeyInfo. */
  readonly pins: ReadonlyMap<string, Identity>
  readonly roots: readonly CertificateFacts[]
  readonly crls: readonly CrlFacts[]
}

/** Roots, and lists of what they have revoked, as they stand in one file. @throws CERTIFICATE_UNUSABLE */
export function readAuthorities(pem: string, path: string): Pick<SealTrust, 'roots' | 'crls'> {
  try {
    const roots = pemBlocks(pem, 'CERTIFICATE').map(readCertificate)
    const crls = pemBlocks(pem, 'X509 CRL').map(readCrl)
    if (roots.length > 0) return { roots, crls }
  } catch (error) {
    const text = `${path}: ${(error as Error).message}`
    throw new PosternError('CERTIFICATE_UNUSABLE', text, { path }, { cause: error })
  }
  throw new PosternError('CERTIFICATE_UNUSABLE', `${path}: it holds no certificate`, { path })
}

/**
 * Decides who has proven to hold the key of a certificate; `chain`: leaf first, in DER. The CAs of the vendor have no
 * say in it. @throws SEAL_REFUSED
 */
export function judgeSeal(
  chain: readonly Buffer[],
  { pins, roots, crls }: SealTrust,
  role: Role,
  nowMs: number,
): Pick<TlsFacts, 'identity' | 'certificateNotAfterMs'> {
  const [leaf, ...intermediates] = chain.map(readShown)
  if (leaf === undefined) throw refused('no certificate was shown')
  const pin = spkiPin(leaf.publicKey)
  const pinned = pins.get(pin)
  if (pinned !== undefined) return { identity: pinned, certificateNotAfterMs: Infinity }
  if (roots.length === 0) throw refused(`its key ${pin} is not pinned`)
  const verdict = validatePath({ leaf, intermediates, roots, timeMs: nowMs, role: undefined })
  const [fault] = verdict.faults
  if (fault !== undefined) {
    const text = `its key ${pin} is not pinned, and its certificate proves nothing: the ${fault.place} ${fault.text}`
    throw refused(text)
  }
  judgeRevocation(verdict.path, crls)
  return { identity: identityOf(leaf, role), certificateNotAfterMs: leaf.notAfterMs }
}

function readShown(der: Buffer): CertificateFacts {
  try {
    return readCertificate(der)
  } catch (error) {
    throw refused(`its certificate cannot be decoded: ${(error as Error).message}`)
  }
}

function judgeRevocation(path: readonly CertificateFacts[], crls: readonly CrlFacts[]): void {
  path.forEach(({ serial }, index) => {
    const issuer = path[index + 1]
    const isRevoked = (crl: CrlFacts): boolean =>
      crl.serials.has(serial.toString('hex')) && issuer !== undefined && isCrlOf(crl, issuer)
    if (crls.some(isRevoked)) throw refused('its certificate is revoked')
  })
}

function identityOf({ der }: CertificateFacts, role: Role): Identity {
  try {
    return judgeLeaf(der, { trustDomain: undefined, roles: [role] })
  } catch (error) {
    throw refused(error instanceof PosternError ? error.rawMessage : String(error))
  }
}

function refused(text: string): PosternError {
  return new PosternError('SEAL_REFUSED', text)
}
