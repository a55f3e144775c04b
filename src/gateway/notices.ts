import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import { Notices as NoticesService, type NoticeSchema } from '../gen/postern/v1/tunnel_pb.js'
import { RpcError } from '../rpc/status.ts'
import { clientOf } from '../rpc/typed.ts'
import type { Authorities } from './authorities.ts'
import { credentialsOf } from './denials.ts'
import type { Enrolment } from './enrolment.ts'
import type { AgentTunnel, Registry } from './registry.ts'

const TELL_MS_MAX = 20_000
const BUNDLES_MAX = 16

type Notice = MessageInitShape<typeof NoticeSchema>

export interface NoticesParts {
  readonly registry: Registry
  readonly enrolment: () => Enrolment | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** Over how long a fleet that is told to renew does so, in ms. */
  readonly renewSpreadMs: number
}

/** Tells agents what they did not ask for: trust bundles, lists of what is revoked, to renew. */
export class Notices {
  readonly #parts: NoticesParts
  /** Certificates that were told to renew already: an agent that is slow is not hurried. */
  readonly #toldToRenew = new WeakSet<AgentTunnel>()

  constructor(parts: NoticesParts) {
    this.#parts = parts
  }

  /** To one agent, what it may lack. `heldVersion`: of the trust bundle that it holds. */
  welcome(tunnel: AgentTunnel, heldVersion: number): void {
    const enrolment = this.#parts.enrolment()
    if (enrolment === undefined) return
    this.#attempt(tunnel, async () => {
      await this.#acknowledged(tunnel, heldVersion)
      await this.#tellNews(tunnel, heldVersion, enrolment)
    })
  }

  /** To every agent. */
  broadcast(): void {
    const enrolment = this.#parts.enrolment()
    if (enrolment === undefined) return
    for (const tunnels of this.#parts.registry.clusters.values())
      for (const tunnel of tunnels)
        this.#attempt(tunnel, () => this.#tellNews(tunnel, tunnel.bundleVersion, enrolment))
  }

  warn(tunnel: AgentTunnel, text: string): void {
    this.#attempt(tunnel, async () => {
      await this.#tell(tunnel, { warnings: [text] })
    })
  }

  async #tellNews(tunnel: AgentTunnel, held: number, enrolment: Enrolment): Promise<void> {
    const { authorities, crls } = enrolment
    const bundles = await authorities.bundlesSince(held, BUNDLES_MAX)
    const renewWithinMs = this.#renewWithin(tunnel, authorities)
    const version = await this.#tell(tunnel, {
      bundles,
      crls: [...crls.gatewayLists],
      gatewayAuthorities: [...crls.gatewayAuthorities],
      ...(renewWithinMs === undefined ? {} : { renewWithinMs }),
    })
    await this.#acknowledged(tunnel, version)
    // There are more than go in one notice.
    if (bundles.length === BUNDLES_MAX && version > held)
      await this.#tellNews(tunnel, version, enrolment)
  }

  #renewWithin(tunnel: AgentTunnel, authorities: Authorities): number | undefined {
    const { certificate, identity } = tunnel.connection.facts
    const { issuer } = credentialsOf(certificate, identity)
    if (!authorities.isOutgoing(issuer) || this.#toldToRenew.has(tunnel)) return undefined
    this.#toldToRenew.add(tunnel)
    return this.#parts.renewSpreadMs
  }

  async #tell(tunnel: AgentTunnel, notice: Notice): Promise<number> {
    const client = clientOf(NoticesService, tunnel.connection.channel(tunnel.cluster))
    const { bundleVersion } = await client.tell(notice, { timeoutMs: TELL_MS_MAX })
    return bundleVersion
  }

  async #acknowledged(tunnel: AgentTunnel, version: number): Promise<void> {
    tunnel.bundleVersion = version
    const { cluster, agent } = tunnel
    const records = this.#parts.enrolment()?.authorities.parts.records
    if (records === undefined) return
    await records.acknowledge({ cluster, agent, version, nowMs: this.#parts.clock.wallMs() })
  }

  /** An agent of an earlier version knows no notices, and one that has gone hears none. */
  #attempt(tunnel: AgentTunnel, act: () => Promise<void>): void {
    act().catch((error: unknown) => {
      const { cluster, agent } = tunnel
      const reason = error instanceof RpcError ? error.rawMessage : String(error)
      this.#parts.logger.debug({ cluster, agent, reason }, 'an agent could not be told')
    })
  }
}
