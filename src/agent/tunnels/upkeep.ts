import type { CancelTimer, Clock } from '../../base/clock.ts'
import { asPosternError } from '../../base/errors.ts'
import { every } from '../../base/every.ts'
import type { Logger } from '../../base/logger.ts'
import type { TlsFacts } from '../../transport/tls-wire.ts'
import type { Tunnel } from '../../tunnel/tunnel.ts'
import type { TunnelSet } from './tunnel-set.ts'
import { WakeWatch } from './wake-watch.ts'

const CHECK_MS = 5000
/** A tunnel is replaced when a certificate that it stands on has less left than this, or a quarter. */
const END_MS = 3_600_000
const REPLACE_APART_MS = 60_000

/** The values and collaborators that `TunnelUpkeep` is given. */
export interface UpkeepPorts {
  readonly tunnels: TunnelSet
  readonly clock: Clock
  readonly logger: Logger
  /** The connection stands on what we have replaced since. */
  readonly isOutdated: (facts: TlsFacts) => boolean
}

/** Looks after the tunnels: moves them off certificates that near their end, and tries anew when the machine woke up or moved. */
export class TunnelUpkeep {
  readonly #ports: UpkeepPorts
  readonly #wakes: WakeWatch
  readonly #replacedAtMs = new WeakMap<Tunnel, number>()
  #cancelTimer: CancelTimer | undefined

  constructor(ports: UpkeepPorts) {
    this.#ports = ports
    this.#wakes = new WakeWatch(ports.clock)
  }

  start(): void {
    this.#cancelTimer = every(
      this.#ports.clock,
      () => CHECK_MS,
      () => {
        this.#checkWake()
        this.#check()
      },
    )
  }

  stop(): void {
    this.#cancelTimer?.()
  }

  #check(): void {
    for (const tunnel of this.#ports.tunnels.all)
      if (this.#mayReplace(tunnel) && this.#nearsItsEnd(tunnel)) this.#replace(tunnel)
  }

  /** It stands on a certificate that has little left, or on what we have replaced. */
  #nearsItsEnd({ state }: Tunnel): boolean {
    if (state.name !== 'ready') return false
    const { clock, isOutdated } = this.#ports
    const { facts } = state.connection
    const leftMs = facts.certificateNotAfterMs - clock.wallMs()
    const lifeMs = facts.certificateNotAfterMs - facts.certificateNotBeforeMs
    return isOutdated(facts) || leftMs <= Math.min(END_MS, lifeMs / 4)
  }

  #checkWake(): void {
    const { tunnels, logger } = this.#ports
    const wake = this.#wakes.check()
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
    return beforeMs === undefined || this.#ports.clock.nowMs() - beforeMs >= REPLACE_APART_MS
  }

  #replace(tunnel: Tunnel): void {
    const { clock, logger } = this.#ports
    this.#replacedAtMs.set(tunnel, clock.nowMs())
    tunnel.replace().catch((error: unknown) => {
      const { code, rawMessage: reason } = asPosternError(error)
      logger.warn({ code, reason }, 'no other tunnel came up; the one that is there stays')
    })
  }
}
