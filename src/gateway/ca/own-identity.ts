import { createPrivateKey } from 'node:crypto'
import { PosternError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { Generations } from '../../identity/generations.ts'
import { readCredential, type Credential, type KeyFilePaths } from '../../identity/key-files.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import { keyKindOf } from '../../identity/keys.ts'
import { identityUri } from '../../identity/name.ts'
import { renewAtMs } from '../../identity/schedule.ts'
import type { CertificateFacts } from '../../identity/validation/validation.ts'
import type { Authorities } from './authorities.ts'
import { enterCertificate, findCertificate } from './certificate-book.ts'
import { credentialsOf, type Credentials } from '../access/access.ts'
import { installLeaf, makeGatewayLeaf, type GatewayIdentity } from './gateway-leaf.ts'
import type { Records } from '../../store/records.ts'

/** The credential of a gateway. */
export type GatewayCredential = Credential & { readonly identity: GatewayIdentity }

/** The settings that say where a gateway's identity lies. */
export type GatewayIdentitySettings = Pick<
  GatewaySettings,
  | 'trustDomain'
  | 'identity.directory'
  | 'identity.certificateFile'
  | 'identity.keyFile'
  | 'identity.bundleFile'
>

/**
 * Returns the paths of a gateway's certificate, key and bundle by its settings.
 * @throws CONFIG_INVALID, NOT_ENROLLED
 */
export function gatewayFiles(settings: GatewayIdentitySettings): KeyFilePaths {
  const directory = settings['identity.directory']
  const certificateFile = settings['identity.certificateFile']
  const keyFile = settings['identity.keyFile']
  const bundleFile = settings['identity.bundleFile']
  const named = [certificateFile, keyFile, bundleFile].filter((file) => file !== undefined)
  if (directory !== undefined && named.length === 0) {
    const { current } = new Generations(directory)
    if (current !== undefined) return current
    throw new PosternError('NOT_ENROLLED', `${directory} holds no identity; see gateway init`)
  }
  if (
    directory === undefined &&
    certificateFile !== undefined &&
    keyFile !== undefined &&
    bundleFile !== undefined
  )
    return { certificateFile, keyFile, bundleFile }
  const text =
    'identity: name directory, or certificateFile, keyFile and bundleFile; not both and not some'
  throw new PosternError('CONFIG_INVALID', text)
}

/** The gateway's own certificate. Times in wall-clock ms. */
export interface OwnReport {
  /** URI name. */
  readonly identity: string
  readonly notAfterMs: number
  /** When the first of the roots that it trusts ends. */
  readonly rootNotAfterMs: number
}

/** The gateway's own certificate: read from files, or where there is a CA renewed by itself. */
export class OwnIdentity {
  readonly #settings: GatewayIdentitySettings
  readonly #clock: Clock
  #protection: KeyProtection
  #credential: GatewayCredential

  /** @throws CONFIG_INVALID, and what readCredential throws */
  constructor(settings: GatewayIdentitySettings, protection: KeyProtection, clock: Clock) {
    this.#settings = settings
    this.#protection = protection
    this.#clock = clock
    this.#credential = this.#read()
  }

  /** The certificate in use. */
  report(): OwnReport {
    const { identity, notAfterMs, bundlePem } = this.credential
    const ends = certificatesIn(bundlePem).map((root) => root.notAfterMs)
    return { identity: identityUri(identity), notAfterMs, rootNotAfterMs: Math.min(...ends) }
  }

  get credential(): GatewayCredential {
    return this.#credential
  }

  get isManaged(): boolean {
    return this.#settings['identity.directory'] !== undefined
  }

  /** Takes the files as they are now; the credential stays where they are not in order. @throws what readCredential throws */
  reload(protection: KeyProtection): void {
    const before = this.#protection
    this.#protection = protection
    try {
      this.#credential = this.#read()
    } catch (error) {
      this.#protection = before
      throw error
    }
  }

  /**
   * Makes a new key and certificate where the present one is due, or does not fit the CAs as they
   * stand; returns whether it did. @throws STATE_UNWRITABLE
   */
  async renew(authorities: Authorities, isRevoked: boolean): Promise<boolean> {
    const directory = this.#settings['identity.directory']
    if (directory === undefined) return false
    const { active, bundle, servedChain, parts } = authorities
    const [leaf, ...chain] = certificatesIn(this.#credential.certificatePem)
    if (leaf === undefined || (!isRevoked && !this.#isDue(leaf, chain, authorities))) return false
    const { identity, keyPem } = this.#credential
    const nowMs = this.#clock.wallMs()
    const names = leaf.extensions.names ?? []
    const dnsNames = names.flatMap(({ kind, value }) => (kind === 'dns' ? [value] : []))
    const keyKind = keyKindOf(createPrivateKey(keyPem))
    const made = await makeGatewayLeaf({ identity, dnsNames, keyKind }, active.gateways, nowMs)
    const protection = this.#protection
    await installLeaf(new Generations(directory, protection), made, {
      chain: servedChain,
      bundle,
      nowMs,
      protection,
    })
    const { records } = parts
    const issued = { der: made.der, identity, state: 'current', grant: 'gateway', nowMs } as const
    await records.database.transaction().execute(async (within) => {
      const serial = await enterCertificate(issued, within)
      const uri = identityUri(identity)
      await within
        .updateTable('certificates')
        .set({ state: 'superseded' })
        .where('identity', '=', uri)
        .where('serial', '!=', serial)
        .execute()
      const event = { at: nowMs, kind: 'certificate.issued', actor: uri, identity: uri, serial }
      await records.note(event, within)
    })
    this.#credential = this.#read()
    return true
  }

  /** Writes the certificate down that gateway init made, where the store does not know it. */
  async enter({ records }: { readonly records: Records }): Promise<void> {
    const [leaf] = certificatesIn(this.#credential.certificatePem)
    if (leaf === undefined || !this.isManaged) return
    const { identity } = this.#credential
    await records.database.transaction().execute(async (within) => {
      if ((await findCertificate(leaf.der, within)) !== undefined) return
      const nowMs = this.#clock.wallMs()
      const issued = { der: leaf.der, identity, grant: 'init', nowMs }
      await enterCertificate({ ...issued, state: 'current' }, within)
    })
  }

  /** Issuer and serial, as a denial names them. */
  get credentials(): Credentials {
    const [leaf] = certificatesIn(this.#credential.certificatePem)
    return credentialsOf(leaf?.der ?? Buffer.alloc(0), this.#credential.identity)
  }

  #isDue(
    leaf: CertificateFacts,
    chain: readonly CertificateFacts[],
    { active, bundle, servedChain }: Authorities,
  ): boolean {
    const { serial, notBeforeMs, notAfterMs, extensions } = leaf
    const life = { serial: serial.toString('hex'), notBeforeMs, notAfterMs }
    const isServed =
      chain.length === servedChain.length &&
      chain.every(({ der }, i) => servedChain[i]?.equals(der) === true)
    return (
      this.#clock.wallMs() >= renewAtMs(life) ||
      extensions.authorityKeyId?.keyId !== active.gateways.keyId ||
      !isServed ||
      this.#credential.bundlePem !== bundle.pem
    )
  }

  /** @throws what readCredential throws */
  #read(): GatewayCredential {
    const { trustDomain } = this.#settings
    const nowMs = this.#clock.wallMs()
    const options = { protection: this.#protection, mayBeExpired: this.isManaged }
    const credential = readCredential(gatewayFiles(this.#settings), 'gateway', nowMs, options)
    const { identity } = credential
    if (identity.role === 'gateway' && identity.trustDomain === trustDomain)
      return credential as GatewayCredential
    const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${trustDomain}`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
}
