import type { PosternError } from '../../base/errors.ts'
import { Listeners } from '../../base/listeners.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import type { Egress } from '../../transport/egress.ts'
import type { Ambient } from '../../tunnel/process-parts.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import type { CredentialStore } from '../credential/credential.ts'
import { readEnrollUrl } from '../enrolment/enrolment.ts'
import type { AgentGuard } from '../guard/guard.ts'
import type { Reason } from '../health/health.ts'
import { Adoption } from './adoption.ts'
import { Inquiry } from './inquiry.ts'
import { askForRenewal } from './renewal-ways.ts'
import { Renewal } from './renewal.ts'

/** Certificates are backdated by 5 min: a clock this far off is soon in the way. */
const SKEW_WARN_MS = 60_000

/** The tunnels, as far as a change of the identity is tried on them. */
export interface Prover {
  /** Each goes over to another connection. Resolves to whether one did. @throws when none is let in */
  replace(): Promise<boolean>
  /** There is no reason to wait any longer before the next dial. */
  hurry(): void
  readonly ready: readonly { readonly connection: RpcConnection }[]
}

/** The values and collaborators that CredentialChanges is given. */
export interface CredentialChangesPorts {
  readonly settings: AgentSettings
  readonly ambient: Ambient
  readonly store: CredentialStore
  readonly guard: AgentGuard
  readonly egress: Egress
  readonly prover: Prover
}

/** When the certificate is renewed, and what the gateway says of it and of our clock. */
export interface ChangesReport {
  /** The gateway's clock less ours, in ms; undefined until it told its time. */
  readonly clockSkewMs: number | undefined
  /** What the gateway says of our certificate, where it last refused us. */
  readonly diagnosis: { readonly verdict: string; readonly text: string } | undefined
  /** Undefined where somebody else manages the certificate. In wall-clock ms; counts since the start. */
  readonly renewal:
    { readonly dueAtMs: number; readonly succeeded: number; readonly failed: number } | undefined
}

/** Changes the agent's identity: renews it, takes over files and trust bundles, and asks why it is refused. */
export class CredentialChanges {
  readonly #ports: CredentialChangesPorts
  readonly #adoption: Adoption
  readonly #inquiry: Inquiry
  /** Present where the agent manages its own certificate. */
  readonly renewal: Renewal | undefined
  readonly renewed = new Listeners()

  constructor(ports: CredentialChangesPorts) {
    this.#ports = ports
    const { store, egress, prover, guard } = ports
    const { clock, logger } = ports.ambient
    this.#adoption = new Adoption({
      store,
      clock,
      logger: logger.child({ component: 'identity' }),
      prove: async () => {
        const isProven = await prover.replace()
        // Where none is up, there is no reason to wait any longer.
        prover.hurry()
        return isProven
      },
    })
    this.renewal = store.isManaged ? this.#makeRenewal() : undefined
    this.#inquiry = new Inquiry({
      store,
      clock,
      logger: logger.child({ component: 'tunnel' }),
      egress,
      guard,
      enrollUrl: () => this.#enrollUrl,
      adopt: async (bundles) => {
        await this.adopt(bundles)
        prover.hurry()
      },
      orderRenewal: () => this.renewal?.order(0),
    })
  }

  start(): void {
    this.#adoption.start()
    this.renewal?.start()
  }

  stop(): void {
    this.renewal?.stop()
    this.#adoption.stop()
  }

  /** What the gateway said of our certificate when it last refused us; until a tunnel is up. */
  get diagnosis(): Inquiry['diagnosis'] {
    return this.#inquiry.diagnosis
  }

  /** The gateway's clock less ours, in ms; undefined until it told its time. */
  get clockSkewMs(): number | undefined {
    return this.#inquiry.clockSkewMs
  }

  /** Takes trust bundles; resolves to the version held. @throws as Adoption.adopt */
  async adopt(bundles: readonly Uint8Array[]): Promise<number> {
    return await this.#adoption.adopt(bundles)
  }

  /** Reads the identity's files anew. @throws what reading throws; nothing changes then */
  async reload(): Promise<void> {
    await this.#adoption.reload()
  }

  /** A gateway wants a renewal within so many ms; nothing happens where somebody else manages the files. */
  orderRenewal(withinMs: number): void {
    this.renewal?.order(withinMs)
  }

  /** A gateway let us in, and told its time, in wall-clock ms. */
  welcomed(gatewayTimeMs: number, rttMs: number): void {
    this.#inquiry.welcomed(gatewayTimeMs, rttMs)
  }

  /** A tunnel is down, or did not come up: finds out why, and does what helps. */
  explain(cause: PosternError): void {
    this.#inquiry.explain(cause)
  }

  /** When the certificate is renewed, and what the gateway says of it and of our clock. */
  report(): ChangesReport {
    const { diagnosis, clockSkewMs } = this.#inquiry
    const { renewal } = this
    return {
      clockSkewMs,
      diagnosis: diagnosis && { verdict: diagnosis.verdict, text: diagnosis.text },
      renewal: renewal && {
        dueAtMs: renewal.dueAtMs,
        succeeded: renewal.succeeded,
        failed: renewal.failed,
      },
    }
  }

  /** What keeps the agent from being healthy. */
  reasons(): Reason[] {
    const found: Reason[] = []
    const { diagnosis, clockSkewMs = 0 } = this.#inquiry
    if (diagnosis !== undefined) {
      const { verdict, text: why } = diagnosis
      const text = `the gateway says of our certificate: ${verdict} (${why})`
      found.push({ key: 'diagnosis', text })
    }
    if (Math.abs(clockSkewMs) > SKEW_WARN_MS) {
      const seconds = String(Math.round(Math.abs(clockSkewMs) / 1000))
      const side = clockSkewMs > 0 ? 'behind' : 'ahead of'
      found.push({ key: 'clock', text: `our clock is ${seconds} s ${side} the gateway's` })
    }
    const failure = this.#ports.store.renewalError
    if (failure !== undefined && failure.recovery !== 'retry') {
      const text = `the certificate cannot be renewed: ${failure.code}: ${failure.rawMessage}`
      found.push({ key: 'renewal', text })
    }
    return found
  }

  /** Where no certificate is asked for: of the settings, or where we enrolled. */
  get #enrollUrl(): URL | undefined {
    const { settings, store } = this.#ports
    const named = settings['identity.enrollUrl']
    if (named !== undefined) return new URL(named)
    return store.isManaged ? readEnrollUrl(settings['state.directory']) : undefined
  }

  /** The renewal of a certificate that the agent manages itself, over whatever way is open. */
  #makeRenewal(): Renewal {
    const { settings, ambient, store, guard, egress, prover } = this.#ports
    const { clock, random } = ambient
    const logger = ambient.logger.child({ component: 'renewal' })
    const url = settings['identity.renewUrl']
    const renewUrl = url === undefined ? undefined : new URL(url)
    return new Renewal({
      store,
      clock,
      random,
      logger,
      apartMs: settings['identity.renewApart'],
      exclusively: (act) => this.#adoption.exclusively(act),
      ask: async (signingRequest) => {
        const enrollUrl = this.#enrollUrl
        const ways = { store, guard, prover, egress, clock, renewUrl, enrollUrl }
        return await askForRenewal(ways, signingRequest)
      },
      onRenewed: async () => {
        this.renewed.tell()
        try {
          await this.#adoption.useRenewed()
        } catch (error) {
          // The certificate is there; that the tunnel goes over to it is looked after.
          logger.warn({ err: error }, 'the tunnel could not go over to the new certificate yet')
        }
        prover.hurry()
      },
    })
  }
}

export type { Renewal } from './renewal.ts'
