import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import { every } from '../../base/every.ts'
import { LogLimiter } from '../../base/log-limiter.ts'
import type { Logger } from '../../base/logger.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import type { Credential } from '../../identity/key-files.ts'
import { CERTIFICATE, certificatePem, pemBlocks } from '../../identity/pem.ts'
import { newestBundle, type VerifiedBundle } from '../../identity/trust-bundle.ts'
import type { AgentCredential, CredentialStore } from '../credential/credential.ts'

/** Files that somebody else changes are looked at this often. */
const WATCH_MS = 5000

/** The values and collaborators that Adoption is given. */
export interface AdoptionPorts {
  readonly store: CredentialStore
  readonly clock: Clock
  readonly logger: Logger
  /**
   * Opens a tunnel with the present credential beside the one before; resolves to whether one was
   * welcomed, which is not where none was up. @throws when it is not let in
   */
  readonly prove: () => Promise<boolean>
}

/**
 * Puts other credentials and trust bundles in force: one change at a time, each tried on a new tunnel
 * before what went before is let go.
 */
export class Adoption {
  readonly #ports: AdoptionPorts
  readonly #log: LogLimiter
  #queue: Promise<unknown> = Promise.resolve()
  #cancelTimer: CancelTimer | undefined

  constructor(ports: AdoptionPorts) {
    this.#ports = ports
    this.#log = new LogLimiter(ports.logger, ports.clock, 1 / 60, 3)
  }

  /** Begins to watch the files. */
  start(): void {
    this.#cancelTimer = every(
      this.#ports.clock,
      () => WATCH_MS,
      () => {
        this.#checkFiles()
      },
    )
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

  /** Puts a renewed credential, which lies on disk already, to use. */
  async useRenewed(): Promise<void> {
    const { store, prove } = this.#ports
    store.enter({ credential: store.reread(false) })
    await prove()
  }

  /** Reads everything anew, the passphrase too. @throws what reading throws; nothing changes then */
  async reload(): Promise<void> {
    await this.exclusively(() => this.#takeOver(true))
  }

  async #takeOver(askPassphrase: boolean): Promise<void> {
    const { store, clock, logger } = this.#ports
    const credential = store.reread(askPassphrase)
    const before = store.inForce
    if (isSame(credential, before.credential)) return
    const trust = store.isManaged ? store.generations.trust : before.trust
    store.enter({ credential, trust })
    logger.info(
      { notAfter: new Date(credential.notAfterMs).toISOString() },
      'the identity has changed on disk and is taken over',
    )
    try {
      await this.#ports.prove()
    } catch (error) {
      // Whoever is let in by the old one stays with it, while it lasts; what is on disk is tried again.
      if (before.credential.notAfterMs > clock.wallMs()) {
        store.enter(before)
        store.lastError = asPosternError(error)
        store.distrust()
      }
      throw error
    }
  }

  /**
   * Takes trust bundles, oldest first, each signed by a root that was trusted before it. What they drop
   * is let go only after a tunnel came up without it. Resolves to the version held.
   * @throws BUNDLE_REFUSED, STATE_UNWRITABLE, and what dialling throws; the bundle before then stays
   */
  async adopt(bundles: readonly Uint8Array[]): Promise<number> {
    return await this.exclusively(async () => {
      const { store } = this.#ports
      const before = store.inForce
      const { version } = before.trust
      const { trustDomain } = before.credential.identity
      const last = newestBundle(bundles, { roots: store.roots, version }, trustDomain)
      if (last === undefined) return version
      if (!store.isManaged) return this.#acknowledge(last)
      store.enter({ credential: withBundle(before.credential, last.pem) })
      try {
        if (drops(before.credential, last) && !(await this.#ports.prove())) {
          // Not proven: trusted beside the old until a tunnel is up, and the bundle is handed out again.
          const both = joined(before.credential.bundlePem, last.pem)
          store.enter({ credential: withBundle(before.credential, both) })
          return version
        }
        this.#install(last)
      } catch (error) {
        store.enter(before)
        throw error
      }
      return last.version
    })
  }

  #install({ pem, version, issuingKeys, roots }: VerifiedBundle): void {
    const { store, clock, logger } = this.#ports
    const trust = { version, issuingKeys }
    store.generations.installBundle(pem, trust, clock.wallMs())
    store.enter({ trust })
    logger.info({ version, roots: roots.length }, 'a trust bundle is taken over')
  }

  /** Files are somebody else's to write: we can only say whether they hold what is due. */
  #acknowledge({ version, roots, issuingKeys }: VerifiedBundle): number {
    const { store } = this.#ports
    const held = store.roots
    const missing = roots.filter(({ der }) => !held.some((root) => root.der.equals(der)))
    if (missing.length === 0) store.enter({ trust: { version, issuingKeys } })
    else
      this.#log.warn(
        'BUNDLE',
        { version, roots: missing.length },
        'identity.bundleFile lacks roots of the trust bundle: add them',
      )
    return store.trust.version
  }

  /** Reads what has changed on disk, with the passphrase that we have: asking for it may be slow. */
  #checkFiles(): void {
    if (!this.#ports.store.hasChanged) return
    this.exclusively(() => this.#takeOver(false)).catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      this.#log.warn(
        code,
        { code, reason },
        'the identity on disk is not in order; the old one stays',
      )
    })
  }
}

function drops(before: Credential, { roots }: VerifiedBundle): boolean {
  return certificatesIn(before.bundlePem).some(
    ({ der }) => !roots.some((root) => root.der.equals(der)),
  )
}

/** The certificates of both bundles, each once. */
function joined(one: string, other: string): string {
  const blocks = [one, other].flatMap((pem) => pemBlocks(pem, CERTIFICATE).map(certificatePem))
  return [...new Set(blocks)].join('')
}

function isSame(a: Credential, b: Credential): boolean {
  return (
    a.keyPem === b.keyPem && a.certificatePem === b.certificatePem && a.bundlePem === b.bundlePem
  )
}

function withBundle(credential: AgentCredential, bundlePem: string): AgentCredential {
  const copy = { ...credential, bundlePem }
  return Object.defineProperty(copy, 'keyPem', { value: credential.keyPem, enumerable: false })
}
