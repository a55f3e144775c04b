import { refuseStreams } from '../../mux/session-owner.ts'
import type { CancelTimer } from '../../base/clock.ts'
import { PosternError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import { Notices } from '../../gen/postern/v1/tunnel_pb.js'
import type { Identity } from '../../identity/name.ts'
import { asRpcError, rpcErrorOfCode } from '../../rpc/status.ts'
import { clientOf } from '../../rpc/typed.ts'
import { RpcConnection, type PeerWire, type ProcessParts } from '../../tunnel/rpc-connection.ts'
import { CANARY_FEATURE } from '../../contract/features.ts'
import { loopback } from '../../tunnel/loopback-wire.ts'
import type { AgentTunnel, Registry, CanaryResult } from '../clusters/clusters.ts'

const CALL_MS_MAX = 10_000
/** Calls at the same time are spread over this part of an interval. */
const SPREAD = 0.1

/** The values and collaborators that Canary is given. */
export interface CanaryPorts {
  readonly parts: ProcessParts
  readonly registry: Registry
  readonly identity: Extract<Identity, { role: 'gateway' }>
  readonly logger: Logger
  readonly intervalMs: number
  /** Takes a connection of our own, whose calls go into tunnels by their marks. */
  readonly callers: {
    acceptOwn(wire: PeerWire, tunnelOf: (mark: string) => AgentTunnel | undefined): void
  }
}

/**
 * Sends a call through every tunnel at intervals, by the way that callers' calls go: into the side of
 * callers, through the relay, to the agent and back. Its answer is what tells that a tunnel works.
 */
export class Canary {
  readonly #ports: CanaryPorts
  /** By the `traceparent` of its calls, which says which tunnel they are for. */
  readonly #tunnels = new Map<string, AgentTunnel>()
  #connection: Promise<RpcConnection> | undefined
  readonly #timers = new Map<AgentTunnel, CancelTimer>()
  #serial = 0

  constructor(ports: CanaryPorts) {
    this.#ports = ports
  }

  /** A tunnel has come: its first call goes out at once. */
  watch(tunnel: AgentTunnel): void {
    if (!tunnel.hello.features.has(CANARY_FEATURE)) return
    const mark = `00-${(++this.#serial).toString(16).padStart(32, '0')}-${'1'.padStart(16, '0')}-00`
    this.#tunnels.set(mark, tunnel)
    void this.#round(mark, tunnel)
  }

  /** A tunnel has gone. */
  unwatch(tunnel: AgentTunnel): void {
    this.#timers.get(tunnel)?.()
    this.#timers.delete(tunnel)
    for (const [mark, one] of this.#tunnels) if (one === tunnel) this.#tunnels.delete(mark)
  }

  stop(): void {
    for (const cancel of this.#timers.values()) cancel()
    this.#timers.clear()
    const error = new PosternError('SHUTDOWN', 'the gateway is stopping')
    this.#connection?.then(
      (connection) => {
        connection.close(error)
      },
      () => undefined,
    )
  }

  async #round(mark: string, tunnel: AgentTunnel): Promise<void> {
    const { parts, intervalMs } = this.#ports
    const { clock, random } = parts.runtime
    // One that takes no new streams is left in peace.
    if (tunnel.connection.session.isOpen) tunnel.canary = await this.#call(mark, tunnel)
    if (!this.#isThere(tunnel)) return
    const cancel = clock.startTimer(intervalMs * (1 - SPREAD * random.fraction()), () => {
      void this.#round(mark, tunnel)
    })
    this.#timers.set(tunnel, cancel)
  }

  #isThere(tunnel: AgentTunnel): boolean {
    return this.#ports.registry.clusters.get(tunnel.cluster)?.includes(tunnel) === true
  }

  async #call(mark: string, tunnel: AgentTunnel): Promise<CanaryResult> {
    const { parts, intervalMs, identity, registry, logger } = this.#ports
    const { clock } = parts.runtime
    const { latencyMs, failures } = tunnel.canary
    const beganAtMs = clock.nowMs()
    const request = {
      gateway: identity.gateway,
      intervalMs,
      failures,
      ...(latencyMs === undefined ? {} : { latencyMs }),
    }
    try {
      const connection = await this.#connected()
      const client = clientOf(Notices, connection.channel(tunnel.cluster))
      await client.canary(request, { timeoutMs: CALL_MS_MAX, traceparent: mark })
      return { latencyMs: clock.nowMs() - beganAtMs, failures: 0 }
    } catch (error) {
      const { code = 'CONNECTION_LOST', rawMessage: reason } = asRpcError(error)
      if (!this.#isThere(tunnel)) return tunnel.canary
      tunnel.record.failed(clock.nowMs())
      const { cluster, agent } = tunnel
      if (failures === 0) {
        logger.warn({ cluster, agent, code, reason }, 'a canary call failed')
        const text = `a canary call failed: ${reason}`
        registry.errors.note(cluster, { atMs: clock.wallMs(), agent, code, text })
      }
      return { latencyMs, failures: failures + 1 }
    }
  }

  /** Our own connection to the side of callers, made when it is first needed. */
  async #connected(): Promise<RpcConnection> {
    const known = await this.#connection?.catch(() => undefined)
    if (known?.session.isOpen === true) return known
    this.#connection = this.#connect()
    return await this.#connection
  }

  #connect(): Promise<RpcConnection> {
    const { parts, identity, callers } = this.#ports
    const [near, far] = loopback(parts.runtime.clock, identity)
    callers.acceptOwn(far, (mark) => this.#tunnels.get(mark))
    return new Promise((resolve, reject) => {
      new RpcConnection(near, 'dialer', parts, {
        onReady: resolve,
        streams: refuseStreams('the canary serves nothing'),
        onClosed: (_connection, error) => {
          reject(rpcErrorOfCode(error.code, error.rawMessage))
        },
      })
    })
  }
}
