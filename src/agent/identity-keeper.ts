import type { CancelTimer } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { certificatesIn } from '../identity/certificate-files.ts'
import { Generations } from '../identity/generations.ts'
import { readCredential, type Credential } from '../identity/key-files.ts'
import type { KeyProtection } from '../identity/key-protection.ts'
import { identityUri, type Identity } from '../identity/name.ts'
import { readProtection } from '../identity/passphrase.ts'
import { readBundle, type VerifiedBundle } from '../identity/trust-bundle.ts'
import type { CertificateFacts } from '../identity/validation/certificate.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import { enrolledFiles, isManaged, namedFiles } from './identity-files.ts'

/** Files that somebody else changes are looked at this often. */
const WATCH_MS = 5000

export type AgentIdentity = Extract<Identity, { role: 'agent' }>
export type AgentCredential = Credential & { readonly identity: AgentIdentity }

export interface IdentityKeeperParts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly logger: Logger
  /** Opens a tunnel with the present credential beside the one before. @throws when it is not let in */
  readonly onChanged: () => Promise<void>
}

/**
 * The agent's credential and whom it trusts: one change at a time, each tried on a new tunnel before
 * what went before is let go.
 */
export class IdentityKeeper {
  readonly generations: Generations
  /** The agent renews it by itself. */
  readonly isManaged: boolean
  readonly #parts: IdentityKeeperParts
  readonly #log: LogLimiter
  #protection: KeyProtection
  #credential: AgentCredential
  #bundleVersion: number
  #queue: Promise<unknown> = Promise.resolve()
  #cancelTimer: CancelTimer | undefined
  lastError: PosternError | undefined

  /** @throws CONFIG_INVALID, NOT_ENROLLED, and what readCredential throws */
  constructor(parts: IdentityKeeperParts) {
    this.#parts = parts
    const { settings, ambient, logger } = parts
    this.#log = new LogLimiter(logger, ambient.clock, 1 / 60, 3)
    this.#protection = protectionOf(settings)
    this.isManaged = isManaged(settings)
    this.generations = new Generations(settings['state.directory'], this.#protection)
    this.#credential = this.#read(this.#protection)
    this.#bundleVersion = this.isManaged ? this.generations.bundleVersion : 0
  }

  get credential(): AgentCredential {
    return this.#credential
  }

  get roots(): CertificateFacts[] {
    return certificatesIn(this.#credential.bundlePem)
  }

  /** Of the signed trust bundle that is held; 0 before the first. */
  get bundleVersion(): number {
    return this.#bundleVersion
  }

  /** Begins to watch the files. */
  start(): void {
    this.#cancelTimer = this.#parts.ambient.clock.startTimer(WATCH_MS, () => {
      this.start()
      this.#look()
    })
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  /** Runs one change of the identity after another. */
  async exclusively<T>(act: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(act, act)
    this.#queue = result.catch(() => undefined)
    return await result
  }

  /** A renewed credential, which lies on disk already, is put to use. */
  async renewed(): Promise<void> {
    this.#credential = this.#read(this.#protection)
    await this.#parts.onChanged()
  }

  /** Reads everything anew, the passphrase too. @throws what reading throws; nothing changes then */
  async reload(): Promise<void> {
    await this.exclusively(async () => {
      const protection = protectionOf(this.#parts.settings)
      const credential = this.#read(protection)
      this.#protection = protection
      if (isSame(credential, this.#credential)) return
      this.#credential = credential
      this.lastError = undefined
      this.#parts.logger.info(
        { notAfter: new Date(credential.notAfterMs).toISOString() },
        'the identity has changed on disk and is taken over',
      )
      await this.#parts.onChanged()
    })
  }

  /**
   * Takes trust bundles, oldest first, each signed by a root that was trusted before it. What they drop
   * is let go only after a tunnel came up without it. Resolves to the version held.
   * @throws BUNDLE_REFUSED, STATE_UNWRITABLE, and what dialling throws; the bundle before then stays
   */
  async adopt(bundles: readonly Uint8Array[]): Promise<number> {
    return await this.exclusively(async () => {
      const last = this.#newest(bundles)
      if (last === undefined) return this.#bundleVersion
      if (!this.isManaged) return this.#acknowledge(last)
      const before = this.#credential
      this.#credential = withBundle(before, last.pem)
      try {
        if (this.#drops(before, last)) await this.#parts.onChanged()
        this.generations.installBundle(last.pem, last.version, this.#parts.ambient.clock.wallMs())
      } catch (error) {
        this.#credential = before
        throw error
      }
      this.#bundleVersion = last.version
      const facts = { version: last.version, roots: last.roots.length }
      this.#parts.logger.info(facts, 'a trust bundle is taken over')
      return last.version
    })
  }

  #newest(bundles: readonly Uint8Array[]): VerifiedBundle | undefined {
    const { trustDomain } = this.#credential.identity
    let trusted: readonly CertificateFacts[] = this.roots
    let last: VerifiedBundle | undefined
    for (const bytes of bundles) {
      const bundle = readBundle(bytes, trusted, trustDomain)
      if (bundle.version <= (last?.version ?? this.#bundleVersion)) continue
      last = bundle
      trusted = bundle.roots
    }
    return last
  }

  #drops(before: Credential, { roots }: VerifiedBundle): boolean {
    return certificatesIn(before.bundlePem).some(
      ({ der }) => !roots.some((root) => root.der.equals(der)),
    )
  }

  /** Files are somebody else's to write: we can only say whether they hold what is due. */
  #acknowledge({ version, roots }: VerifiedBundle): number {
    const held = this.roots
    const missing = roots.filter(({ der }) => !held.some((root) => root.der.equals(der)))
    if (missing.length === 0) this.#bundleVersion = version
    else
      this.#log.warn(
        'BUNDLE',
        { version, missing: missing.length },
        'identity.bundleFile lacks roots of the trust bundle: add them',
      )
    return this.#bundleVersion
  }

  #look(): void {
    this.reload().catch((error: unknown) => {
      this.lastError = asPosternError(error)
      const { code, rawMessage: reason } = this.lastError
      this.#log.warn(
        code,
        { code, reason },
        'the identity on disk is not in order; the old one stays',
      )
    })
  }

  /** @throws CERTIFICATE_UNUSABLE, and what readCredential throws */
  #read(protection: KeyProtection): AgentCredential {
    const { settings, ambient } = this.#parts
    const files = namedFiles(settings) ?? enrolledFiles(this.generations, settings)
    const options = { protection, mayBeExpired: this.isManaged }
    const credential = readCredential(files, 'agent', ambient.clock.wallMs(), options)
    const { identity } = credential
    const { trustDomain } = settings
    if (identity.role === 'agent' && identity.trustDomain === trustDomain)
      return credential as AgentCredential
    const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${trustDomain}`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
}

function isSame(a: Credential, b: Credential): boolean {
  return (
    a.keyPem === b.keyPem && a.certificatePem === b.certificatePem && a.bundlePem === b.bundlePem
  )
}

function withBundle(credential: AgentCredential, bundlePem: string): AgentCredential {
  const copy = { ...credential, bundlePem }
  return Object.defineProperty(copy, 'keyPem', {
    value: credential.keyPem,
    enumerable: false,
  })
}

function protectionOf(settings: AgentSettings): KeyProtection {
  const file = settings['identity.passphraseFile']
  return readProtection({ file, command: settings['identity.passphraseCommand'] })
}
