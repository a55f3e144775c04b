import type { CancelTimer, Clock } from '../base/clock.ts'
import { asPosternError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { ServiceHealth } from '../dataplane/probes.ts'
import { Tunnel as TunnelService } from '../gen/postern/v1/tunnel_pb.js'
import { clientOf } from '../rpc/typed.ts'
import type { RpcConnection } from '../tunnel/rpc-connection.ts'
import type { Capacity } from './capacity.ts'
import type { Tunnels } from './tunnels.ts'

/** What a gateway says that takes heartbeats. */
export const HEARTBEAT_FEATURE = 'heartbeat'
const SEND_MS_MAX = 10_000

export interface HeartbeatParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly tunnels: Tunnels
  readonly intervalMs: () => number
  readonly healths: () => readonly ServiceHealth[]
  readonly capacity: () => Capacity
}

/** Tells every gateway how the services and the machine are: at intervals, and at each change. */
export class Heartbeat {
  readonly #parts: HeartbeatParts
  #cancelTimer: CancelTimer | undefined

  constructor(parts: HeartbeatParts) {
    this.#parts = parts
  }

  start(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#parts.clock.startTimer(this.#parts.intervalMs(), () => {
      this.start()
      this.tell()
    })
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  tell(): void {
    for (const { connection, welcome } of this.#parts.tunnels.ready)
      if (welcome.features.includes(HEARTBEAT_FEATURE)) this.#send(connection)
  }

  #send(connection: RpcConnection): void {
    const { healths, capacity, logger } = this.#parts
    const services = healths().map(({ name, isDown, reason, sinceMs, latencyMs }) => ({
      name,
      isDown,
      reason,
      sinceMs: BigInt(Math.round(sinceMs)),
      ...(latencyMs === undefined ? {} : { latencyMs }),
    }))
    const client = clientOf(TunnelService, connection.channel())
    client
      .heartbeat({ services, capacity: capacity() }, { timeoutMs: SEND_MS_MAX })
      .catch((error: unknown) => {
        const { code, rawMessage: reason } = asPosternError(error)
        logger.debug({ code, reason }, 'a heartbeat did not arrive')
      })
  }
}
