import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { isCrlOf, readCrl, type CrlFacts } from '../../identity/crl.ts'
import { FOR_ALL, writeState } from '../../identity/state-files.ts'
import { isIssuedByOne } from '../../identity/trust-bundle.ts'
import {
  readCertificate,
  type CertificateFacts,
  KEY_USAGE,
  isSignedBy,
} from '../../identity/validation/validation.ts'

const FILE = /^crl-([0-9a-f]{1,64})\.der$/
const ISSUERS_MAX = 16

/**
 * Which gateways' certificates are revoked, as lists signed by their own CAs say: a stolen gateway key
 * is of no use once an agent has heard of it from any other gateway. A list is never dropped for being
 * old, nor taken for an older one.
 */
export class GatewayCrls {
  readonly #folder: string | undefined
  readonly #logger: Logger
  readonly #byIssuer = new Map<string, CrlFacts>()

  /** `folder`: where they are kept over restarts; undefined: nowhere. */
  constructor(folder: string | undefined, logger: Logger) {
    this.#folder = folder
    this.#logger = logger
    if (folder === undefined || !existsSync(folder)) return
    for (const name of readdirSync(folder)) {
      const issuer = FILE.exec(name)?.[1]
      if (issuer === undefined) continue
      try {
        this.#byIssuer.set(issuer, readCrl(readFileSync(join(folder, name))))
      } catch (error) {
        logger.warn({ err: error, reason: name }, 'a list of revoked gateways cannot be read')
      }
    }
  }

  isRevoked(leafDer: Buffer): boolean {
    const { serial, extensions } = readCertificate(leafDer)
    const crl = this.#byIssuer.get(extensions.authorityKeyId?.keyId ?? '')
    return crl?.serials.has(serial.toString('hex')) === true
  }

  /** Why a gateway is refused whose chain was verified: its certificate is revoked, or its CA retired. */
  refusalOf(leafDer: Buffer, issuingKeys: readonly string[]): PosternError | undefined {
    const isRevoked = this.isRevoked(leafDer)
    if (!isRevoked && isIssuedByOne(leafDer, issuingKeys)) return undefined
    const what = isRevoked
      ? 'certificate of the gateway is revoked'
      : 'CA of the gateway is retired'
    return new PosternError('IDENTITY_REVOKED', `the ${what}`)
  }

  /** Takes the lists that a CA under one of the roots has signed and that are newer; the others are left. */
  use(
    lists: readonly Uint8Array[],
    authorities: readonly Uint8Array[],
    roots: readonly CertificateFacts[],
  ): void {
    const issuers = authorities.slice(0, ISSUERS_MAX).flatMap((der) => authority(der, roots))
    for (const der of lists.slice(0, ISSUERS_MAX)) {
      const crl = readable(der)
      const issuer =
        crl === undefined ? undefined : issuers.find((candidate) => isCrlOf(crl, candidate))
      const keyId = issuer?.extensions.subjectKeyId
      if (crl === undefined || keyId === undefined) {
        this.#logger.warn({}, 'a list of revoked gateways is not taken: no CA of ours signed it')
        continue
      }
      const known = this.#byIssuer.get(keyId)
      if (known !== undefined && known.number >= crl.number) continue
      this.#byIssuer.set(keyId, crl)
      this.#keep(keyId, crl)
    }
  }

  #keep(keyId: string, { der }: CrlFacts): void {
    if (this.#folder === undefined) return
    try {
      writeState(join(this.#folder, `crl-${keyId}.der`), der, FOR_ALL)
    } catch (error) {
      this.#logger.warn({ err: error }, 'a list of revoked gateways could not be kept')
    }
  }
}

function readable(der: Uint8Array): CrlFacts | undefined {
  try {
    return readCrl(Buffer.from(der))
  } catch {
    // Whoever sent it sent no list.
    return undefined
  }
}

/** The certificate, if it is of a CA that may sign lists, directly under one of the roots. */
function authority(der: Uint8Array, roots: readonly CertificateFacts[]): CertificateFacts[] {
  try {
    const facts = readCertificate(Buffer.from(der))
    const { basicConstraints, keyUsage = 0 } = facts.extensions
    const maySign = basicConstraints?.isCa === true && (keyUsage & KEY_USAGE.cRLSign) !== 0
    return maySign && roots.some((root) => isSignedBy(facts, root)) ? [facts] : []
  } catch {
    // Whoever sent it sent no certificate.
    return []
  }
}
