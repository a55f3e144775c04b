import type { Clock } from '../base/clock.ts'
import { networkOf } from '../transport/handshake-gate.ts'
import type { AgentTunnel, Registry } from './registry.ts'

/** Both must be heard from within this after the second came: an old connection of the same agent is silent by then. */
const WATCH_MS_MIN = 1000

export interface CloneWatchParts {
  readonly registry: Registry
  readonly clock: Clock
  /** How often a live agent is heard from at least, in ms. */
  readonly pingIntervalMs: number
  readonly onClone: (tunnels: readonly [AgentTunnel, AgentTunnel]) => void
}

/**
 * Sees when two live processes in two places present one certificate: whoever copied a key must come
 * from somewhere. A process draws a number at its start and tells it to gateways alone, so that one agent
 * with several tunnels, or whose address has changed, is not taken for two.
 */
export class CloneWatch {
  readonly #parts: CloneWatchParts

  constructor(parts: CloneWatchParts) {
    this.#parts = parts
  }

  /** A tunnel has registered. */
  arrived(tunnel: AgentTunnel): void {
    const { registry, clock, pingIntervalMs } = this.#parts
    const others = registry.clusters.get(tunnel.cluster) ?? []
    const twin = others.find((other) => isTwin(tunnel, other))
    if (twin === undefined) return
    const heard = [tunnel, twin].map(({ connection }) => connection.session.bytesIn)
    clock.startTimer(Math.max(WATCH_MS_MIN, pingIntervalMs * 1.5), () => {
      const areAlive = [tunnel, twin].every(
        ({ connection: { session } }, i) => session.isOpen && session.bytesIn > (heard[i] ?? 0),
      )
      if (areAlive) this.#parts.onClone([tunnel, twin])
    })
  }
}

function isTwin(a: AgentTunnel, b: AgentTunnel): boolean {
  const [one, other] = [a.connection.facts, b.connection.facts]
  return (
    a.connection !== b.connection &&
    one.certificate.equals(other.certificate) &&
    a.instance !== b.instance &&
    networkOf(hostOf(one.address)) !== networkOf(hostOf(other.address))
  )
}

/** "address:port" without the port. */
function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'))
}
