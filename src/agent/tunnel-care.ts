import { credentialSteps } from './check-certificate.ts'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError, type PosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Credential } from '../identity/key-files.ts'
import type { Egress } from '../transport/egress.ts'
import type { TlsFacts } from '../transport/tls-wire.ts'
import type { Tunnel } from '../tunnel/tunnel.ts'
import { bundlesSince, diagnose, type Diagnosis } from './proof-client.ts'
import type { Tunnels } from './tunnels.ts'
import type { WakeWatch } from './wake-watch.ts'

const TEND_MS = 5000
/** A tunnel is replaced when a certificate that it stands on has less left than this, or a quarter. */
const END_MS = 3_600_000
const REPLACE_APART_MS = 60_000
/** The gateway is asked why at most this often. */
const ASK_APART_MS = 15_000

export interface TunnelCareParts {
  readonly tunnels: Tunnels
  /** The gateway does not know of what we offer by now. */
  readonly isOutdated: (facts: TlsFacts) => boolean
  readonly clock: Clock
  readonly wakes: WakeWatch
  readonly logger: Logger
  readonly credential: () => Credential
  readonly issuingKeys: () => readonly string[]
  readonly egress: Egress
  readonly enrolUrl: () => URL | undefined
  readonly bundleVersion: () => number
  readonly adopt: (bundles: readonly Uint8Array[]) => Promise<number>
  /** The CA of our certificate is trusted no more: another certificate is needed. */
  readonly orderRenewal: () => void
}

/**
 * Looks after the tunnels: finds out why they are refused, catches up on trust, moves them off certificates
 * that near their end, tries anew when the machine woke up or moved, and compares the clocks.
 */
export class TunnelCare {
  readonly #parts: TunnelCareParts
  readonly #credentialOf = new WeakMap<TlsFacts, Credential>()
  #cancelTimer: CancelTimer | undefined
  readonly #replacedAtMs = new WeakMap<Tunnel, number>()
  readonly #askedAtMs = {
    diagnosis: Number.NEGATIVE_INFINITY,
    bundles: Number.NEGATIVE_INFINITY,
    finding: Number.NEGATIVE_INFINITY,
  }
  /** What the gateway said of our certificate when it last refused us; until a tunnel is up. */
  diagnosis: Diagnosis | undefined
  /** The gateway's clock less ours, in ms; undefined until it told its time. */
  clockSkewMs: number | undefined

  constructor(parts: TunnelCareParts) {
    this.#parts = parts
  }

  start(): void {
    this.#cancelTimer = this.#parts.clock.startTimer(TEND_MS, () => {
      this.start()
      this.#lookForWake()
      this.#tend()
    })
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  dialled(facts: TlsFacts, credential: Credential): void {
    this.#credentialOf.set(facts, credential)
  }

  /** The gateway let us in, and told its time. */
  welcomed(gatewayTimeMs: number, rttMs: number): void {
    this.diagnosis = undefined
    if (gatewayTimeMs > 0) this.#compare(gatewayTimeMs + rttMs / 2)
  }

  /** The tunnel is down, or did not come up. */
  explain({ code }: PosternError): void {
    if (code === 'CA_RETIRED') this.#parts.orderRenewal()
    const enrolUrl = this.#parts.enrolUrl()
    const { clock, logger } = this.#parts
    const what =
      code === 'PEER_REFUSED' || code === 'CERT_EXPIRED'
        ? 'diagnosis'
        : code === 'CERT_UNTRUSTED'
          ? 'bundles'
          : undefined
    if (code === 'PEER_REFUSED') this.#examine(enrolUrl === undefined)
    if (enrolUrl === undefined || what === undefined) return
    if (clock.nowMs() - this.#askedAtMs[what] < ASK_APART_MS) return
    this.#askedAtMs[what] = clock.nowMs()
    const asked = what === 'diagnosis' ? this.#diagnose(enrolUrl) : this.#catchUp(enrolUrl)
    asked.catch((error: unknown) => {
      const { code: cause, rawMessage: reason } = asPosternError(error)
      logger.warn(
        { code: cause, reason, peer: enrolUrl.host },
        'the gateway could not be asked why',
      )
    })
  }

  /** Says what the doctor finds on our side, where nobody else says why we were refused, or where it is at fault. */
  #examine(isAlone: boolean): void {
    const { clock, logger, credential } = this.#parts
    if (clock.nowMs() - this.#askedAtMs.finding < ASK_APART_MS) return
    const faulty = credentialSteps(credential(), clock.wallMs(), !isAlone).find(
      ({ outcome }) => outcome === 'FAIL',
    )
    if (faulty === undefined && !isAlone) return
    this.#askedAtMs.finding = clock.nowMs()
    const reason =
      faulty === undefined
        ? 'our certificate is in order by our own bundle: does the gateway trust that root, and was it revoked? Its log says; agent doctor looks further'
        : [faulty.text, faulty.fix].filter((text) => text !== undefined).join('; ')
    logger.warn({ step: faulty?.name ?? 'files', reason }, 'what the doctor finds on our side')
  }

  async #diagnose(enrolUrl: URL): Promise<void> {
    const { credential, issuingKeys, egress } = this.#parts
    const trusting = { credential: credential(), issuingKeys: issuingKeys(), egress }
    const diagnosis = await diagnose(enrolUrl, trusting)
    this.diagnosis = diagnosis
    this.#compare(diagnosis.gatewayTimeMs)
    const { verdict, text: reason, mayRenew } = diagnosis
    if (mayRenew) this.#parts.orderRenewal()
    this.#parts.logger.warn({ verdict, reason }, 'the gateway says of our certificate')
  }

  /** We trust other roots than the gateway's, perhaps as we slept through a change of CA. */
  async #catchUp(enrolUrl: URL): Promise<void> {
    const { adopt, bundleVersion, tunnels, egress } = this.#parts
    const bundles = await bundlesSince(enrolUrl, bundleVersion(), egress)
    if (bundles.length === 0) return
    await adopt(bundles)
    tunnels.hurry()
  }

  #compare(gatewayTimeMs: number): void {
    this.clockSkewMs = Math.round(gatewayTimeMs - this.#parts.clock.wallMs())
  }

  #tend(): void {
    for (const tunnel of this.#parts.tunnels.all)
      if (this.#mayReplace(tunnel) && this.#nearsItsEnd(tunnel)) this.#replace(tunnel)
  }

  /** It stands on a certificate that has little left, or on what we have replaced. */
  #nearsItsEnd({ state }: Tunnel): boolean {
    if (state.name !== 'ready') return false
    const { clock, credential } = this.#parts
    const { facts } = state.connection
    const used = this.#credentialOf.get(facts)
    const isOurs = used !== undefined && used !== credential()
    const leftMs = facts.certificateNotAfterMs - clock.wallMs()
    const lifeMs = facts.certificateNotAfterMs - facts.certificateNotBeforeMs
    return isOurs || this.#parts.isOutdated(facts) || leftMs <= Math.min(END_MS, lifeMs / 4)
  }

  #lookForWake(): void {
    const { wakes, tunnels, logger } = this.#parts
    const wake = wakes.look()
    if (wake === undefined) return
    for (const tunnel of tunnels.all) {
      const { name } = tunnel.state
      if (name === 'backoff') {
        logger.info({ wake }, 'the machine woke up or moved: dialling at once')
        tunnel.hurry()
      }
      // One that slept is most often dead, and would be found so only after a silence.
      if (name === 'ready' && wake === 'resumed' && this.#mayReplace(tunnel)) this.#replace(tunnel)
    }
  }

  #mayReplace(tunnel: Tunnel): boolean {
    const beforeMs = this.#replacedAtMs.get(tunnel)
    return beforeMs === undefined || this.#parts.clock.nowMs() - beforeMs >= REPLACE_APART_MS
  }

  #replace(tunnel: Tunnel): void {
    const { clock, logger } = this.#parts
    this.#replacedAtMs.set(tunnel, clock.nowMs())
    tunnel.replace().catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      logger.warn({ code, reason }, 'no other tunnel came up; the one that is there stays')
    })
  }
}
