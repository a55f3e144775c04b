import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError, PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import type { RenewResponse } from '../gen/postern/v1/tunnel_pb.js'
import { makeSigningRequest } from '../identity/csr.ts'
import type { Generations } from '../identity/generations.ts'
import { readCredential, type Credential } from '../identity/key-files.ts'
import { keyKindOf, makeKey, privatePem, publicDer } from '../identity/keys.ts'
import { identityUri } from '../identity/name.ts'
import { pemBlocks, pemText } from '../identity/pem.ts'
import { renewAtMs, retryMs } from '../identity/schedule.ts'
import { readCertificate } from '../identity/validation/certificate.ts'
import { decoded, judgeIssued } from './judge-issued.ts'

/** The wall clock is looked at this often: one long timer would sleep through suspend and steps. */
const POLL_MS = 15_000
/** However the schedule comes out, no two renewals are closer than this. */
const APART_MS = 60_000
const LABEL = 'CERTIFICATE'

export interface RenewalParts {
  readonly generations: Generations
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The credential in use. */
  readonly credential: () => Credential
  /** Asks the gateway, over whatever way is open. @throws what the call throws */
  readonly ask: (signingRequest: Buffer) => Promise<Pick<RenewResponse, 'certificate' | 'chain'>>
  /** Puts the new credential to use. */
  readonly onRenewed: (credential: Credential) => Promise<void>
}

/** Renews the agent's own certificate in good time, with a new key each time. */
export class Renewal {
  readonly #parts: RenewalParts
  #cancelTimer: CancelTimer | undefined
  #running: Promise<void> | undefined
  #tries = 0
  #notBeforeMs = 0
  lastError: PosternError | undefined

  constructor(parts: RenewalParts) {
    this.#parts = parts
  }

  /** When the next renewal is due, in wall-clock ms. */
  get dueAtMs(): number {
    const { credential } = this.#parts
    const [leaf] = pemBlocks(credential().certificatePem, LABEL)
    const { serial, notBeforeMs, notAfterMs } = readCertificate(leaf ?? Buffer.alloc(0))
    return Math.max(
      renewAtMs({ serial: serial.toString('hex'), notBeforeMs, notAfterMs }),
      this.#notBeforeMs,
    )
  }

  start(): void {
    this.#cancelTimer = this.#parts.clock.startTimer(POLL_MS, () => {
      this.#poll()
    })
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  /** Renews at once; a renewal that is under way is waited for. @throws its error */
  async renewNow(): Promise<void> {
    this.#running ??= this.#renew().finally(() => {
      this.#running = undefined
    })
    await this.#running
  }

  #poll(): void {
    this.start()
    const { clock, random, logger, credential } = this.#parts
    if (clock.wallMs() < this.dueAtMs) return
    this.renewNow().catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      const remainingMs = credential().notAfterMs - clock.wallMs()
      const delayMs = retryMs(++this.#tries, remainingMs, random.fraction())
      this.#notBeforeMs = clock.wallMs() + delayMs
      const facts = { code, reason, tries: this.#tries, delayMs: Math.round(delayMs), remainingMs }
      logger.warn(facts, 'the certificate could not be renewed, retrying')
    })
  }

  async #renew(): Promise<void> {
    const { generations, clock, logger, ask, onRenewed } = this.#parts
    try {
      const { bundlePem, identity, keyPem: oldKeyPem } = this.#parts.credential()
      const kind = keyKindOf(createPrivateKey(oldKeyPem))
      const keyPem = await generations.pendingKey(async () => privatePem(await makeKey(kind)))
      const key = createPrivateKey(keyPem)
      const { certificate, chain } = await ask(makeSigningRequest(key))
      const { path, identity: issued } = judgeIssued(
        [Buffer.from(certificate)],
        {
          known: chain.map((der) => decoded(Buffer.from(der))),
          roots: pemBlocks(bundlePem, LABEL).map(readCertificate),
          publicKey: publicDer(createPublicKey(key)),
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
        .map(({ der }) => pemText(LABEL, der))
        .join('')
      generations.install({ keyPem, chainPem, bundlePem }, clock.wallMs())
      const paths = generations.current
      if (paths === undefined) throw new PosternError('NOT_ENROLLED', 'the identity has gone')
      const fresh = readCredential(paths, 'agent', clock.wallMs())
      this.#tries = 0
      this.#notBeforeMs = clock.wallMs() + APART_MS
      this.lastError = undefined
      const serial = new X509Certificate(chainPem).serialNumber.toLowerCase()
      const notAfter = new Date(fresh.notAfterMs).toISOString()
      logger.info({ serial, notAfter }, 'the certificate is renewed')
      await onRenewed(fresh)
    } catch (error) {
      this.lastError = asPosternError(error)
      // A refusal is final for this key; whatever else went wrong, the same question is asked again.
      if (this.lastError.code === 'CSR_INVALID') generations.dropPending()
      throw error
    }
  }
}
