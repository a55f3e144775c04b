import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { Random } from '../../base/random.ts'
import { certificatesIn } from '../../identity/certificate-files.ts'
import { makeSigningRequest } from '../../identity/csr.ts'
import { keyKindOf, makeKey, publicDer, type KeyKind } from '../../identity/keys.ts'
import { identityUri } from '../../identity/name.ts'
import { certificatePem } from '../../identity/pem.ts'
import { renewAtMs, retryMs } from '../../identity/schedule.ts'
import { type CredentialStore, decoded, judgeIssued } from '../credential/credential.ts'
import type { Answered } from './renewal-ways.ts'

/** The wall clock is looked at this often: one long timer would sleep through suspend and steps. */
const POLL_MS = 15_000
/** One that is due is not tried in the same moment over and over. */
const PAUSE_MS_MIN = 100

/** The values and collaborators that Renewal is given. */
export interface RenewalPorts {
  /** The credential and the bundle in use, and where the next one is put. */
  readonly store: Pick<CredentialStore, 'generations' | 'credential' | 'trust' | 'renewalError'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Least time between two renewals, in ms. */
  readonly apartMs: number
  /** Asks the gateway, over whatever way is open. @throws what the call throws */
  readonly ask: (signingRequest: Buffer) => Promise<Answered>
  /** Runs one change of the identity after another. */
  readonly exclusively: (act: () => Promise<void>) => Promise<void>
  /** Puts the new credential, which is on disk, to use. */
  readonly onRenewed: () => Promise<void>
}

/** Renews the agent's own certificate in good time, with a new key each time. */
export class Renewal {
  readonly #ports: RenewalPorts
  #cancelTimer: CancelTimer | undefined
  #running: Promise<void> | undefined
  #tries = 0
  #notBeforeMs = 0
  /** However often it is ordered, no two renewals are closer than this allows. */
  #floorMs = 0
  /** The gateway wants it done by then, at a moment that we drew. */
  #orderedAtMs = Number.POSITIVE_INFINITY
  /** Of this process. */
  succeeded = 0
  failed = 0

  constructor(ports: RenewalPorts) {
    this.#ports = ports
  }

  /** When the next renewal is due, in wall-clock ms. */
  get dueAtMs(): number {
    const [leaf] = certificatesIn(this.#ports.store.credential.certificatePem)
    if (leaf === undefined) return Number.POSITIVE_INFINITY
    const { serial, notBeforeMs, notAfterMs } = leaf
    const life = { serial: serial.toString('hex'), notBeforeMs, notAfterMs }
    const dueMs = Math.min(renewAtMs(life), this.#orderedAtMs)
    return Math.max(dueMs, this.#notBeforeMs, this.#floorMs)
  }

  start(): void {
    this.#poll()
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  /** The gateway wants a renewal within so many ms: at a moment of our own, so that a fleet spreads out. */
  order(withinMs: number): void {
    const { clock, random } = this.#ports
    const atMs = clock.wallMs() + withinMs * random.fraction()
    if (atMs >= this.#orderedAtMs) return
    this.#orderedAtMs = atMs
    this.#notBeforeMs = 0
    if (this.#cancelTimer !== undefined) this.#arm()
  }

  /** Renews at once; a renewal that is under way is waited for. `kind`: of the key, default as it is. @throws its error */
  async renewNow(kind?: KeyKind): Promise<void> {
    this.#running ??= this.#renew(kind).finally(() => {
      this.#running = undefined
      if (this.#cancelTimer !== undefined) this.#arm()
    })
    await this.#running
  }

  #arm(): void {
    this.#cancelTimer?.()
    const leftMs = this.dueAtMs - this.#ports.clock.wallMs()
    const delayMs = Math.min(POLL_MS, Math.max(leftMs, PAUSE_MS_MIN))
    this.#cancelTimer = this.#ports.clock.startTimer(delayMs, () => {
      this.#poll()
    })
  }

  #poll(): void {
    const { clock, random, logger, store } = this.#ports
    if (clock.wallMs() < this.dueAtMs || this.#running !== undefined) {
      this.#arm()
      return
    }
    this.renewNow().catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      const remainingMs = store.credential.notAfterMs - clock.wallMs()
      const delayMs = retryMs(++this.#tries, remainingMs, random.fraction())
      this.#notBeforeMs = clock.wallMs() + delayMs
      const facts = { code, reason, tries: this.#tries, delayMs: Math.round(delayMs), remainingMs }
      logger.warn(facts, 'the certificate could not be renewed, retrying')
    })
    this.#arm()
  }

  async #renew(kind: KeyKind | undefined): Promise<void> {
    const { store } = this.#ports
    try {
      await this.#ports.exclusively(() => this.#issue(kind))
      this.#tries = 0
      this.#notBeforeMs = 0
      this.#floorMs = this.#ports.clock.wallMs() + this.#ports.apartMs
      this.#orderedAtMs = Number.POSITIVE_INFINITY
      store.renewalError = undefined
      this.succeeded++
    } catch (error) {
      this.failed++
      store.renewalError = asPosternError(error)
      // A refusal is final for this key; whatever else went wrong, the same question is asked again.
      if (store.renewalError.code === 'CSR_INVALID') store.generations.dropPending()
      throw error
    }
  }

  async #issue(kind: KeyKind | undefined): Promise<void> {
    const { store, clock, logger, ask, onRenewed } = this.#ports
    const { generations, trust } = store
    const { bundlePem, identity, keyPem: oldKeyPem } = this.#ports.store.credential
    if (kind !== undefined) generations.dropPending()
    const { key, keyPem } = await generations.pendingKey(() =>
      makeKey(kind ?? keyKindOf(createPrivateKey(oldKeyPem))),
    )
    const publicKey = publicDer(createPublicKey(key))
    const answered = (await ask(makeSigningRequest(key))).map(decoded)
    // In no order that means anything: ours is the one with our key.
    const ours = answered.filter((facts) => facts.publicKey.equals(publicKey))
    const { path, identity: issued } = judgeIssued(
      (ours.length === 0 ? answered.slice(0, 1) : ours).map(({ der }) => der),
      {
        known: answered.filter((facts) => !ours.includes(facts)),
        roots: certificatesIn(bundlePem),
        publicKey,
        trustDomain: identity.trustDomain,
      },
      clock.wallMs(),
    )
    if (identityUri(issued) !== identityUri(identity))
      throw new PosternError(
        'ENROL_ANSWER_INVALID',
        `the certificate is for ${identityUri(issued)}`,
      )
    const chainPem = path
      .slice(0, -1)
      .map(({ der }) => certificatePem(der))
      .join('')
    const generation = { key, keyPem, chainPem, bundlePem, trust }
    generations.install(generation, clock.wallMs())
    const leaf = new X509Certificate(chainPem)
    const notAfter = new Date(leaf.validTo).toISOString()
    logger.info({ serial: leaf.serialNumber.toLowerCase(), notAfter }, 'the certificate is renewed')
    await onRenewed()
  }
}
