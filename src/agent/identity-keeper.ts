import { statSync } from 'node:fs'
import type { CancelTimer } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import { LogLimiter } from '../base/log-limiter.ts'
import type { Logger } from '../base/logger.ts'
import type { AgentSettings } from '../config/agent-settings.ts'
import { certificatesIn } from '../identity/certificate-files.ts'
import { Generations, type BundleFacts } from '../identity/generations.ts'
import { readCredential, type Credential, type KeyFilePaths } from '../identity/key-files.ts'
import type { KeyProtection } from '../identity/key-protection.ts'
import { identityUri, type Identity } from '../identity/name.ts'
import { readProtection } from '../identity/passphrase.ts'
import { judgeWhole } from '../identity/whole-identity.ts'
import { pemBlocks, pemText } from '../identity/pem.ts'
import { newestBundle, type VerifiedBundle } from '../identity/trust-bundle.ts'
import type { CertificateFacts } from '../identity/validation/certificate.ts'
import type { Ambient } from '../tunnel/process-parts.ts'
import { enrolledFiles, isManaged, namedFiles } from './identity-files.ts'

/** Files that somebody else changes are looked at this often. */
const WATCH_MS = 5000
const LABEL = 'CERTIFICATE'

export type AgentIdentity = Extract<Identity, { role: 'agent' }>
export type AgentCredential = Credential & { readonly identity: AgentIdentity }

export interface IdentityKeeperParts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly logger: Logger
  /**
   * Opens a tunnel with the present credential beside the one before; resolves to whether one was
   * welcomed, which is not where none was up. @throws when it is not let in
   */
  readonly onChanged: () => Promise<boolean>
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
  /** What is in force: replaced as a whole, by #enter alone. */
  #inForce: InForce
  /** Of the files as they were last read. */
  #fingerprint = ''
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
    this.#inForce = {
      credential: this.#read(this.#protection),
      trust: this.isManaged ? this.generations.trust : { version: 0, issuingKeys: [] },
    }
  }

  get credential(): AgentCredential {
    return this.#inForce.credential
  }

  get roots(): CertificateFacts[] {
    return certificatesIn(this.credential.bundlePem)
  }

  /** Of the signed trust bundle that is held. */
  get trust(): BundleFacts {
    return this.#inForce.trust
  }

  #enter(next: Partial<InForce>): void {
    this.#inForce = { ...this.#inForce, ...next }
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
    this.#enter({ credential: this.#read(this.#protection) })
    await this.#parts.onChanged()
  }

  /** Reads everything anew, the passphrase too. @throws what reading throws; nothing changes then */
  async reload(): Promise<void> {
    await this.exclusively(() => this.#takeOver(protectionOf(this.#parts.settings)))
  }

  async #takeOver(protection: KeyProtection): Promise<void> {
    const credential = this.#attempt(protection)
    this.#protection = protection
    this.generations.use(protection)
    this.lastError = undefined
    const before = this.#inForce
    if (isSame(credential, before.credential)) return
    const trust = this.isManaged ? this.generations.trust : before.trust
    this.#enter({ credential, trust })
    this.#parts.logger.info(
      { notAfter: new Date(credential.notAfterMs).toISOString() },
      'the identity has changed on disk and is taken over',
    )
    try {
      await this.#parts.onChanged()
    } catch (error) {
      // Whoever is let in by the old one stays with it, while it lasts; what is on disk is tried again.
      if (before.credential.notAfterMs > this.#parts.ambient.clock.wallMs()) {
        this.#enter(before)
        this.lastError = asPosternError(error)
        this.#fingerprint = ''
      }
      throw error
    }
  }

  /** Reads the files; where they are not in order that is kept for status, and they are read again. */
  #attempt(protection: KeyProtection): AgentCredential {
    try {
      return this.#read(protection)
    } catch (error) {
      this.lastError = asPosternError(error)
      this.#fingerprint = ''
      throw error
    }
  }

  #files(): KeyFilePaths {
    const { settings } = this.#parts
    return namedFiles(settings) ?? enrolledFiles(this.generations, settings)
  }

  /**
   * Takes trust bundles, oldest first, each signed by a root that was trusted before it. What they drop
   * is let go only after a tunnel came up without it. Resolves to the version held.
   * @throws BUNDLE_REFUSED, STATE_UNWRITABLE, and what dialling throws; the bundle before then stays
   */
  async adopt(bundles: readonly Uint8Array[]): Promise<number> {
    return await this.exclusively(async () => {
      const before = this.#inForce
      const { trustDomain } = before.credential.identity
      const last = newestBundle(
        bundles,
        { roots: this.roots, version: before.trust.version },
        trustDomain,
      )
      if (last === undefined) return before.trust.version
      if (!this.isManaged) return this.#acknowledge(last)
      this.#enter({ credential: withBundle(before.credential, last.pem) })
      try {
        if (this.#drops(before.credential, last) && !(await this.#parts.onChanged())) {
          // Not proven: trusted beside the old until a tunnel is up, and the bundle is handed out again.
          const both = joined(before.credential.bundlePem, last.pem)
          this.#enter({ credential: withBundle(before.credential, both) })
          return before.trust.version
        }
        this.#install(last)
      } catch (error) {
        this.#enter(before)
        throw error
      }
      return last.version
    })
  }

  #install({ pem, version, issuingKeys, roots }: VerifiedBundle): void {
    const trust = { version, issuingKeys }
    this.generations.installBundle(pem, trust, this.#parts.ambient.clock.wallMs())
    this.#enter({ trust })
    const facts = { version, roots: roots.length }
    this.#parts.logger.info(facts, 'a trust bundle is taken over')
  }

  #drops(before: Credential, { roots }: VerifiedBundle): boolean {
    return certificatesIn(before.bundlePem).some(
      ({ der }) => !roots.some((root) => root.der.equals(der)),
    )
  }

  /** Files are somebody else's to write: we can only say whether they hold what is due. */
  #acknowledge({ version, roots, issuingKeys }: VerifiedBundle): number {
    const held = this.roots
    const missing = roots.filter(({ der }) => !held.some((root) => root.der.equals(der)))
    if (missing.length === 0) this.#enter({ trust: { version, issuingKeys } })
    else
      this.#log.warn(
        'BUNDLE',
        { version, roots: missing.length },
        'identity.bundleFile lacks roots of the trust bundle: add them',
      )
    return this.trust.version
  }

  /** Reads what has changed on disk, with the passphrase that we have: asking for it may be slow. */
  #look(): void {
    if (fingerprintOf(this.#files()) === this.#fingerprint) return
    this.exclusively(() => this.#takeOver(this.#protection)).catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      this.#log.warn(
        code,
        { code, reason },
        'the identity on disk is not in order; the old one stays',
      )
    })
  }

  /** Names the generation before, where the present one is damaged. */
  #whole<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      const earlier = this.isManaged ? this.generations.previous : undefined
      if (!(error instanceof PosternError) || earlier === undefined) throw error
      const { folder } = this.generations
      const text = `${error.rawMessage}; the generation before it may be whole: ln -sfn ${earlier} ${folder}/current`
      throw new PosternError(error.code, text, error.facts, { cause: error })
    }
  }

  /** @throws CERTIFICATE_UNUSABLE, and what readCredential throws */
  #read(protection: KeyProtection): AgentCredential {
    const { settings, ambient } = this.#parts
    const files = this.#files()
    // Before they are read: what changes meanwhile is seen at the next look.
    this.#fingerprint = fingerprintOf(files)
    const options = { protection, mayBeExpired: this.isManaged }
    const nowMs = ambient.clock.wallMs()
    const credential = this.#whole(() => readCredential(files, 'agent', nowMs, options))
    // What was enrolled may be under a CA that is trusted no more, and be renewed all the same.
    if (!this.isManaged) judgeWhole(credential, 'client', files, nowMs)
    const { identity } = credential
    const { trustDomain } = settings
    if (identity.role === 'agent' && identity.trustDomain === trustDomain)
      return credential as AgentCredential
    const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${trustDomain}`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
}

interface InForce {
  readonly credential: AgentCredential
  /** Of the signed trust bundle that is held. */
  readonly trust: BundleFacts
}

/** Changes when one of the files does, or is another; cheap enough for every few seconds. */
function fingerprintOf(files: KeyFilePaths): string {
  return [files.certificateFile, files.keyFile, files.bundleFile]
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false, bigint: true })
      return stat === undefined
        ? 'none'
        : [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join()
    })
    .join(';')
}

/** The certificates of both bundles, each once. */
function joined(one: string, other: string): string {
  const blocks = [one, other].flatMap((pem) =>
    pemBlocks(pem, LABEL).map((der) => pemText(LABEL, der)),
  )
  return [...new Set(blocks)].join('')
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
