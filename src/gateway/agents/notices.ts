import type { MessageInitShape } from '@bufbuild/protobuf'
import type { Clock } from '../../base/clock.ts'
import { asPosternError, printable } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { Notices as NoticesService, type NoticeSchema } from '../../gen/postern/v1/tunnel_pb.js'
import { RpcError } from '../../rpc/status.ts'
import { clientOf } from '../../rpc/typed.ts'
import type { Authorities, CertificateAuthority } from '../ca/ca.ts'
import { NARROW_FEATURE } from '../../contract/features.ts'
import { BUNDLES_PAGE } from '../../contract/paths.ts'
import { credentialsOf } from '../access/access.ts'
import type { AgentTunnel, Registry } from '../clusters/clusters.ts'

const TELL_MS_MAX = 20_000

type Notice = MessageInitShape<typeof NoticeSchema>

/** The values and collaborators that Notices is given. */
export interface NoticesPorts {
  readonly registry: Registry
  /** Undefined: this gateway has no CA, and nothing to tell of one. */
  readonly ca: CertificateAuthority | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** Over how long a fleet that is told to renew does so, in ms. */
  readonly renewSpreadMs: number
  /** The narrower policy for the agents of a cluster; undefined: there is none. @throws CONFIG_UNREADABLE */
  readonly narrowFor: (cluster: string) => string | undefined
}

/** Tells agents what they did not ask for: trust bundles, lists of what is revoked, to renew. */
export class Notices {
  readonly #ports: NoticesPorts
  /** Tunnels whose agent has been told to renew: each is told once. */
  readonly #toldToRenew = new WeakSet<AgentTunnel>()

  constructor(ports: NoticesPorts) {
    this.#ports = ports
  }

  /** To one agent, what it may lack. `heldVersion`: of the trust bundle that it holds. */
  welcome(tunnel: AgentTunnel, heldVersion: number): void {
    if (tunnel.hello.features.has(NARROW_FEATURE)) this.#narrow(tunnel)
    const { ca } = this.#ports
    if (ca === undefined) return
    this.#attempt(tunnel, async () => {
      await this.#acknowledged(tunnel, heldVersion)
      await this.#tellNews(tunnel, heldVersion, ca)
    })
  }

  /** What is narrower than the customer's policy holds for the life of this tunnel. */
  #narrow(tunnel: AgentTunnel): void {
    const { logger, narrowFor } = this.#ports
    const { cluster, agent } = tunnel
    void (async () => {
      try {
        const policy = narrowFor(cluster)
        if (policy === undefined) return
        const client = clientOf(NoticesService, tunnel.connection.channel(cluster))
        const { widening } = await client.narrow({ policy }, { timeoutMs: TELL_MS_MAX })
        const reason = widening.map((name) => printable(name)).join(', ')
        if (reason === '') logger.info({ cluster, agent }, 'an agent took a narrower policy')
        else logger.warn({ cluster, agent, reason }, 'rules of the pushed policy change nothing')
      } catch (error) {
        const { code, rawMessage: reason } = asPosternError(error)
        logger.warn({ cluster, agent, code, reason }, 'an agent did not take the narrower policy')
      }
    })()
  }

  /** To every agent. */
  broadcast(): void {
    const { ca } = this.#ports
    if (ca === undefined) return
    for (const tunnels of this.#ports.registry.clusters.values())
      for (const tunnel of tunnels)
        this.#attempt(tunnel, () => this.#tellNews(tunnel, tunnel.bundleVersion, ca))
  }

  warn(tunnel: AgentTunnel, text: string): void {
    this.#attempt(tunnel, async () => {
      await this.#tell(tunnel, { warnings: [text] })
    })
  }

  async #tellNews(tunnel: AgentTunnel, held: number, ca: CertificateAuthority): Promise<void> {
    const { authorities, crls } = ca
    const bundles = await authorities.bundlesSince(held, BUNDLES_PAGE)
    const renewWithinMs = this.#renewWithin(tunnel, authorities)
    const version = await this.#tell(tunnel, {
      bundles,
      crls: [...crls.gatewayLists],
      gatewayAuthorities: [...crls.gatewayAuthorities],
      ...(renewWithinMs === undefined ? {} : { renewWithinMs }),
    })
    await this.#acknowledged(tunnel, version)
    // There are more than go in one notice.
    if (bundles.length === BUNDLES_PAGE && version > held) await this.#tellNews(tunnel, version, ca)
  }

  #renewWithin(tunnel: AgentTunnel, authorities: Authorities): number | undefined {
    const { certificate, identity } = tunnel.connection.facts
    const { issuer } = credentialsOf(certificate, identity)
    if (!authorities.isOutgoing(issuer) || this.#toldToRenew.has(tunnel)) return undefined
    this.#toldToRenew.add(tunnel)
    return this.#ports.renewSpreadMs
  }

  async #tell(tunnel: AgentTunnel, notice: Notice): Promise<number> {
    const client = clientOf(NoticesService, tunnel.connection.channel(tunnel.cluster))
    const { bundleVersion } = await client.tell(notice, { timeoutMs: TELL_MS_MAX })
    return bundleVersion
  }

  async #acknowledged(tunnel: AgentTunnel, version: number): Promise<void> {
    tunnel.bundleVersion = version
    const { cluster, agent } = tunnel
    const records = this.#ports.ca?.authorities.parts.records
    if (records === undefined) return
    await records.acknowledge({ cluster, agent, version, nowMs: this.#ports.clock.wallMs() })
  }

  /** An agent of an earlier version knows no notices, and one that has gone hears none. */
  #attempt(tunnel: AgentTunnel, act: () => Promise<void>): void {
    act().catch((error: unknown) => {
      const { cluster, agent } = tunnel
      const reason = error instanceof RpcError ? error.rawMessage : String(error)
      this.#ports.logger.debug({ cluster, agent, reason }, 'an agent could not be told')
    })
  }
}
