import type { Clock } from '../../base/clock.ts'
import { asPosternError, PosternError } from '../../base/errors.ts'
import { pause } from '../../base/pause.ts'
import { VERSION } from '../../base/version.ts'
import { identityUri } from '../../identity/name.ts'
import type { Connected } from '../access/access.ts'
import type { GatewayRooms } from './rooms.ts'

/** What `gateway status --json` prints. Times are ISO 8601, spans in ms. Fields are only ever added. */
export interface GatewayStatus {
  readonly version: string
  readonly identity: string
  readonly startedAt: string
  readonly health: 'healthy' | 'degraded' | 'draining'
  /** Why it is not healthy, in words; empty when it is. */
  readonly reasons: readonly string[]
  /** What to know of, though nothing is wrong. */
  readonly warnings: readonly string[]
  readonly tunnels: number
  readonly clusters: number
  readonly agents: number
  /** Connections of callers. */
  readonly callers: number
  /** Streams that run, over all connections of callers. */
  readonly streams: number
  /** Calls and forwards relayed since the start. */
  readonly relayed: number
  readonly buffers: { readonly reservedBytes: number; readonly bytesMax: number }
  readonly certificate: { readonly notAfter: string; readonly expiresInMs: number }
}

/** The values and collaborators that GatewayControl is given. */
export interface GatewayControlParts {
  readonly gateway: GatewayRooms
  /** Begins to drain, as SIGTERM does. */
  readonly drain: () => void
  readonly clock: Clock
}

/** `watch` is answered this much later. */
const WATCH_MS = 500
/** A certificate with less left than this should have been renewed. */
const EXPIRY_WARN_MS = 3_600_000

/** Orders that come over the gateway's unix socket, one line each, answered by one JSON object. */
export class GatewayControl {
  readonly #parts: GatewayControlParts
  readonly #startedAtMs: number

  constructor(parts: GatewayControlParts) {
    this.#parts = parts
    this.#startedAtMs = parts.clock.wallMs()
  }

  async answer(line: string): Promise<string> {
    try {
      return JSON.stringify(await this.#act(line.trim()))
    } catch (error) {
      const { code, rawMessage: message } = asPosternError(error)
      return JSON.stringify({ error: { code, message } })
    }
  }

  async #act(order: string): Promise<GatewayStatus | Connected[]> {
    const { drain, clock } = this.#parts
    switch (order) {
      case 'status':
        break
      case 'connected':
        return this.#parts.gateway.connected
      case 'watch':
        await pause(clock, WATCH_MS)
        break
      case 'drain':
        drain()
        break
      default:
        throw new PosternError('USAGE', 'status, watch, connected and drain are known')
    }
    return this.#status()
  }

  #status(): GatewayStatus {
    const { gateway, clock } = this.#parts
    const { registry, parts, own, isDraining } = gateway
    const { notAfterMs, identity } = own.credential
    const expiresInMs = Math.round(notAfterMs - clock.wallMs())
    const reasons: string[] = []
    if (expiresInMs < EXPIRY_WARN_MS)
      reasons.push(`the certificate expires in ${String(Math.round(expiresInMs / 60_000))} min`)
    const storeError = gateway.access?.storeError
    if (storeError !== undefined)
      reasons.push(
        `the store cannot be used, what it said last is in force: ${storeError.rawMessage}`,
      )
    const { peers, 'records.file': store } = gateway.settings
    const warnings =
      peers.length > 0 && store !== undefined
        ? [
            'each gateway has a store of its own: what is revoked, locked or issued here is not known to the peers; give the same command on each',
          ]
        : []
    const tunnels = [...registry.clusters.values()].flat()
    const health = reasons.length === 0 ? 'healthy' : 'degraded'
    return {
      version: VERSION,
      identity: identityUri(identity),
      startedAt: new Date(this.#startedAtMs).toISOString(),
      health: isDraining ? 'draining' : health,
      reasons: isDraining ? ['it takes no new calls and tunnels', ...reasons] : reasons,
      warnings,
      tunnels: tunnels.length,
      clusters: registry.clusters.size,
      agents: new Set(tunnels.map(({ cluster, agent }) => `${cluster}/${agent}`)).size,
      ...gateway.callers.report(),
      relayed: gateway.callers.relayed,
      buffers: { reservedBytes: parts.budget.reservedBytes, bytesMax: parts.budget.bytesMax },
      certificate: { notAfter: new Date(notAfterMs).toISOString(), expiresInMs },
    }
  }
}
