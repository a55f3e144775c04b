import type { Identity } from '../../identity/name.ts'
import type { AgentGuard } from '../guard/guard.ts'
import { asPosternError, type PosternError } from '../../base/errors.ts'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { Egress } from '../../transport/egress.ts'
import type { CredentialStore } from '../credential/credential.ts'
import { credentialSteps } from '../doctor/doctor.ts'
import { bundlesSince, diagnose, type Diagnosis } from '../enrolment/enrolment.ts'

/** The gateway is asked why at most this often. */
const ASK_APART_MS = 15_000

/** The values and collaborators that Inquiry is given. */
export interface InquiryPorts {
  readonly store: CredentialStore
  readonly clock: Clock
  readonly logger: Logger
  readonly egress: Egress
  readonly guard: AgentGuard
  /** Where no certificate is asked for; undefined: not known. */
  readonly enrollUrl: () => URL | undefined
  /** Takes trust bundles that were asked for. */
  readonly adopt: (bundles: readonly Uint8Array[]) => Promise<unknown>
  /** Another certificate is needed, or to be had. */
  readonly orderRenewal: () => void
}

/** Finds out why tunnels are refused, catches up on trust, and compares the clocks. */
export class Inquiry {
  readonly #ports: InquiryPorts
  readonly #askedAtMs = {
    diagnosis: Number.NEGATIVE_INFINITY,
    bundles: Number.NEGATIVE_INFINITY,
    finding: Number.NEGATIVE_INFINITY,
  }
  /** What the gateway said of our certificate when it last refused us; until a tunnel is up. */
  diagnosis: Diagnosis | undefined
  /** The gateway's clock less ours, in ms; undefined until it told its time. */
  clockSkewMs: number | undefined

  constructor(ports: InquiryPorts) {
    this.#ports = ports
  }

  /** The gateway let us in, and told its time. */
  welcomed(gatewayTimeMs: number, rttMs: number): void {
    this.diagnosis = undefined
    if (gatewayTimeMs > 0) this.#compare(gatewayTimeMs + rttMs / 2)
  }

  /** A tunnel is down, or did not come up. */
  explain({ code }: PosternError): void {
    const { clock, logger, orderRenewal, enrollUrl } = this.#ports
    // The CA of our certificate is trusted no more: another certificate is needed.
    if (code === 'CA_RETIRED') orderRenewal()
    const url = enrollUrl()
    const what =
      code === 'PEER_REFUSED' || code === 'CERT_EXPIRED'
        ? 'diagnosis'
        : code === 'CERT_UNTRUSTED'
          ? 'bundles'
          : undefined
    if (code === 'PEER_REFUSED') this.#examine(url === undefined)
    if (url === undefined || what === undefined) return
    if (clock.nowMs() - this.#askedAtMs[what] < ASK_APART_MS) return
    this.#askedAtMs[what] = clock.nowMs()
    const asked = what === 'diagnosis' ? this.#diagnose(url) : this.#catchUp(url)
    asked.catch((error: unknown) => {
      const { code: cause, rawMessage: reason } = asPosternError(error)
      logger.warn({ code: cause, reason, peer: url.host }, 'the gateway could not be asked why')
    })
  }

  /** Says what the doctor finds on our side, where nobody else says why we were refused, or where it is at fault. */
  #examine(isAlone: boolean): void {
    const { clock, logger, store } = this.#ports
    if (clock.nowMs() - this.#askedAtMs.finding < ASK_APART_MS) return
    const faulty = credentialSteps(store.credential, clock.wallMs(), !isAlone).find(
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

  async #diagnose(url: URL): Promise<void> {
    const { store, egress, logger, orderRenewal, guard } = this.#ports
    const { credential, trust } = store
    const { issuingKeys } = trust
    const refuse = (identity: Identity): PosternError | undefined => guard.regionRefusal(identity)
    const diagnosis = await diagnose(url, { credential, issuingKeys, egress, refuse })
    this.diagnosis = diagnosis
    this.#compare(diagnosis.gatewayTimeMs)
    const { verdict, text: reason, mayRenew } = diagnosis
    if (mayRenew) orderRenewal()
    logger.warn({ verdict, reason }, 'the gateway says of our certificate')
  }

  /** We trust other roots than the gateway's, perhaps as we slept through a change of CA. */
  async #catchUp(url: URL): Promise<void> {
    const { store, egress, adopt } = this.#ports
    const bundles = await bundlesSince(url, store.trust.version, egress)
    if (bundles.length > 0) await adopt(bundles)
  }

  #compare(gatewayTimeMs: number): void {
    this.clockSkewMs = Math.round(gatewayTimeMs - this.#ports.clock.wallMs())
  }
}
