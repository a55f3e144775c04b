import { statSync } from 'node:fs'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { Generations, type BundleFacts } from '../../identity/generations.ts'
import { readCredential, type Credential, type KeyFilePaths } from '../../identity/key-files.ts'
import type { KeyProtection } from '../../identity/key-protection.ts'
import { identityUri, type Identity } from '../../identity/name.ts'
import { protectionOf } from '../../identity/passphrase.ts'
import { judgeWhole } from '../../identity/whole-identity.ts'
import type { CertificateFacts } from '../../identity/validation/validation.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { Reason } from '../health/health.ts'
import { enrolledFiles, isManaged, namedFiles } from './files.ts'
import { GatewayCrls } from './gateway-crls.ts'

/** A certificate with less left, or with less than a quarter of its life, should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000

/** The identity of an agent. */
export type AgentIdentity = Extract<Identity, { role: 'agent' }>
/** The credential of an agent. */
export type AgentCredential = Credential & { readonly identity: AgentIdentity }

/** The credential and the trust bundle that are in force together. */
export interface InForce {
  readonly credential: AgentCredential
  /** Of the signed trust bundle that is held. */
  readonly trust: BundleFacts
}

/** The certificate and the bundle in force. Times in wall-clock ms. */
export interface CredentialReport {
  /** URI name. */
  readonly identity: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Why the last try to renew failed, until one succeeds. */
  readonly renewalError: { readonly code: string; readonly message: string } | undefined
  readonly bundleVersion: number
  readonly roots: number
}

/** Holds the agent's identity as it is in force, and reads what lies on disk. Changing it is the room of changes. */
export class CredentialStore {
  readonly generations: Generations
  /** The agent renews it by itself. */
  readonly isManaged: boolean
  readonly #settings: AgentSettings
  readonly #ambient: Ambient
  readonly #crls: GatewayCrls
  #protection: KeyProtection
  /** What is in force: replaced as a whole, by enter() alone. */
  #inForce: InForce
  /** Of the files as they were last read. */
  #fingerprint = ''
  /** Why the files on disk are not in force, if so. */
  lastError: PosternError | undefined
  /** Why the last renewal failed, until one succeeds. */
  renewalError: PosternError | undefined

  /** @throws CONFIG_INVALID, NOT_ENROLLED, and what readCredential throws */
  constructor(settings: AgentSettings, ambient: Ambient, logger: Logger) {
    this.#settings = settings
    this.#ambient = ambient
    this.#protection = protectionOf(settings)
    this.isManaged = isManaged(settings)
    const folder = settings['state.directory']
    this.generations = new Generations(folder, this.#protection)
    this.#inForce = {
      credential: this.#read(this.#protection),
      trust: this.isManaged ? this.generations.trust : { version: 0, issuingKeys: [] },
    }
    this.#crls = new GatewayCrls(this.isManaged ? folder : undefined, logger)
  }

  get inForce(): InForce {
    return this.#inForce
  }

  get credential(): AgentCredential {
    return this.#inForce.credential
  }

  /** Of the signed trust bundle that is held. */
  get trust(): BundleFacts {
    return this.#inForce.trust
  }

  get roots(): CertificateFacts[] {
    return certificatesIn(this.credential.bundlePem)
  }

  /** Puts another credential, or another bundle, in force. */
  enter(next: Partial<InForce>): void {
    this.#inForce = { ...this.#inForce, ...next }
  }

  /** Why a gateway is refused whose chain was verified: it is on a list, or its CA is retired. */
  refusalOf(certificate: Buffer): PosternError | undefined {
    return this.#crls.refusalOf(certificate, this.trust.issuingKeys)
  }

  /** Takes lists of revoked gateways, as far as a CA under one of our roots signed them. */
  takeCrls(crls: readonly Uint8Array[], authorities: readonly Uint8Array[]): void {
    this.#crls.use(crls, authorities, this.roots)
  }

  /** The files have changed since they were read. Cheap enough for every few seconds. */
  get hasChanged(): boolean {
    return fingerprintOf(this.#files()) !== this.#fingerprint
  }

  /** Has the files read again at the next look. */
  distrust(): void {
    this.#fingerprint = ''
  }

  /** Reads what lies on disk. Where it is not in order that is kept for status, and it is read again. */
  reread(askPassphrase: boolean): AgentCredential {
    const protection = askPassphrase ? protectionOf(this.#settings) : this.#protection
    try {
      const credential = this.#read(protection)
      this.#protection = protection
      this.generations.use(protection)
      this.lastError = undefined
      return credential
    } catch (error) {
      this.lastError = asPosternError(error)
      this.distrust()
      throw error
    }
  }

  /** The certificate and the bundle in force. */
  report(): CredentialReport {
    const { identity, notBeforeMs, notAfterMs } = this.credential
    const error = this.renewalError
    return {
      identity: identityUri(identity),
      notBeforeMs,
      notAfterMs,
      renewalError: error && { code: error.code, message: error.rawMessage },
      bundleVersion: this.trust.version,
      roots: this.roots.length,
    }
  }

  /** What keeps the agent from being healthy. */
  reasons(nowMs: number): Reason[] {
    const { notBeforeMs, notAfterMs } = this.credential
    const leftMs = notAfterMs - nowMs
    const found: Reason[] = []
    const key = 'certificate'
    if (leftMs <= 0) found.push({ key, text: 'our certificate has expired' })
    else if (leftMs <= Math.min(EXPIRY_WARN_MS, (notAfterMs - notBeforeMs) / 4)) {
      const minutes = String(Math.round(leftMs / 60_000))
      found.push({ key, text: `our certificate expires in ${minutes} min` })
    }
    if (this.lastError !== undefined) {
      const text = `the identity on disk is not in order: ${this.lastError.rawMessage}`
      found.push({ key: 'identity', text })
    }
    return found
  }

  #files(): KeyFilePaths {
    return namedFiles(this.#settings) ?? enrolledFiles(this.generations, this.#settings)
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
    const files = this.#files()
    // Before they are read: what changes meanwhile is seen at the next look.
    this.#fingerprint = fingerprintOf(files)
    const options = { protection, mayBeExpired: this.isManaged }
    const nowMs = this.#ambient.clock.wallMs()
    const credential = this.#whole(() => readCredential(files, 'agent', nowMs, options))
    // What was enrolled may be under a CA that is trusted no more, and be renewed all the same.
    if (!this.isManaged) judgeWhole(credential, 'client', files, nowMs)
    const { identity } = credential
    const { trustDomain } = this.#settings
    if (identity.role === 'agent' && identity.trustDomain === trustDomain)
      return credential as AgentCredential
    const text = `our certificate names ${identityUri(identity)}, the setting trustDomain ${trustDomain}`
    throw new PosternError('CERTIFICATE_UNUSABLE', text)
  }
}

/** Changes when one of the files does, or is another. */
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
