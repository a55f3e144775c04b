import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import { every } from '../../base/every.ts'
import type { Logger } from '../../base/logger.ts'
import type { Random } from '../../base/random.ts'
import type { AgentSettings } from '../../config/agent-settings.ts'
import { HEARTBEAT_FEATURE } from '../../contract/features.ts'
import { Tunnel as TunnelService } from '../../gen/postern/v1/tunnel_pb.js'
import { unaryClientOf } from '../../rpc/typed.ts'
import type { RpcConnection } from '../../tunnel/rpc-connection.ts'
import { OwnChannel, type AgentGuard } from '../guard/guard.ts'
import { PostureWatch } from '../posture/posture.ts'
import type { Services } from '../services/services.ts'
import type { Tunnels } from '../tunnels/tunnels.ts'
import { readCapacity } from '../../dataplane/capacity.ts'

const SEND_MS_MAX = 10_000

/** The values and collaborators that Heartbeat is given. */
export interface HeartbeatPorts {
  readonly settings: AgentSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly guard: AgentGuard
  readonly tunnels: Tunnels
  readonly services: Services
  readonly random: Random
}

/** Tells every gateway how the services and the machine are: at intervals, and at each change. */
export class Heartbeat {
  readonly #ports: HeartbeatPorts
  readonly #posture: PostureWatch
  #settings: AgentSettings
  #intervalMs: number
  #cancelTimer: CancelTimer | undefined

  constructor(ports: HeartbeatPorts) {
    this.#ports = ports
    this.#settings = ports.settings
    this.#intervalMs = ports.settings['heartbeat.interval']
    this.#posture = new PostureWatch({
      ...ports,
      settings: () => this.#settings,
      onLooked: () => {
        this.tell()
      },
    })
  }

  start(): void {
    this.#cancelTimer?.()
    this.#posture.start()
    this.#cancelTimer = every(
      this.#ports.clock,
      () => this.#intervalMs,
      () => {
        this.tell()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
    this.#posture.stop()
  }

  /** Takes over another interval, and tells at once. */
  use(settings: AgentSettings): void {
    this.#settings = settings
    this.#intervalMs = settings['heartbeat.interval']
    this.start()
    this.tell()
  }

  tell(): void {
    for (const { connection, welcome } of this.#ports.tunnels.ready)
      if (welcome.features.includes(HEARTBEAT_FEATURE)) this.#send(connection)
  }

  #send(connection: RpcConnection): void {
    const { services, settings, logger, guard } = this.#ports
    const { lockdown, tellsLockdown, record } = guard.report()
    const lockdownReason = tellsLockdown ? (lockdown ?? '') : ''
    const healths = services.healths.map(({ name, isDown, reason, sinceMs, latencyMs }) => ({
      name,
      isDown,
      reason,
      sinceMs: BigInt(Math.round(sinceMs)),
      ...(latencyMs === undefined ? {} : { latencyMs }),
    }))
    const { summary: posture } = this.#posture
    const capacity = readCapacity(settings['state.directory'])
    const client = unaryClientOf(TunnelService, new OwnChannel(this.#ports.guard.guard, connection))
    client
      .heartbeat(
        {
          services: healths,
          capacity,
          isLockedDown: lockdown !== undefined,
          lockdownReason,
          recordLines: BigInt(record?.lines ?? 0),
          recordHead: Buffer.from(record?.head ?? '', 'hex'),
          ...(posture === undefined ? {} : { posture }),
        },
        { timeoutMs: SEND_MS_MAX },
      )
      .catch((error: unknown) => {
        const { code, rawMessage: reason } = asPosternError(error)
        logger.debug({ code, reason }, 'a heartbeat did not arrive')
      })
  }
}
