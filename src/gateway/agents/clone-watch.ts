import { PosternError } from '../../base/errors.ts'
import { Listeners } from '../../base/listeners.ts'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { GatewaySettings } from '../../config/gateway-settings.ts'
import type { EventLog } from '../access/access.ts'
import { networkOf } from '../../transport/peer-address.ts'
import type { AgentTunnel, Registry } from '../clusters/clusters.ts'

/** Both must be heard from within this after the second came: an old connection of the same agent is silent by then. */
const WATCH_MS_MIN = 1000
/** A live agent is heard from within one interval of pings; half of one more is for the way. */
const PING_INTERVALS = 1.5

/** The values and collaborators that CloneWatch is given. */
export interface CloneWatchPorts {
  readonly registry: Registry
  readonly clock: Clock
  readonly settings: Pick<GatewaySettings, 'tunnel.pingInterval' | 'agents.clones'>
  readonly logger: Logger
  /** Where it is written down; undefined: nowhere. */
  readonly access: { readonly events: EventLog } | undefined
}

/**
 * Sees when two live processes in two places present one certificate: whoever copied a key must come
 * from somewhere. A process draws a number at its start and tells it to gateways alone, so that one agent
 * with several tunnels, or whose address has changed, is not taken for two.
 */
export class CloneWatch {
  readonly #ports: CloneWatchPorts
  /** The agent of a tunnel is to be told. */
  readonly warned = new Listeners<{ readonly tunnel: AgentTunnel; readonly text: string }>()

  constructor(ports: CloneWatchPorts) {
    this.#ports = ports
  }

  /** A tunnel has registered. */
  arrived(tunnel: AgentTunnel): void {
    const { registry, clock, settings } = this.#ports
    const others = registry.clusters.get(tunnel.cluster) ?? []
    const twin = others.find((other) => isTwin(tunnel, other))
    if (twin === undefined) return
    const heard = [tunnel, twin].map(({ connection }) => connection.session.bytesIn)
    clock.startTimer(
      Math.max(WATCH_MS_MIN, settings['tunnel.pingInterval'] * PING_INTERVALS),
      () => {
        const areAlive = [tunnel, twin].every(
          ({ connection: { session } }, i) => session.isOpen && session.bytesIn > (heard[i] ?? 0),
        )
        if (areAlive) this.#found([tunnel, twin])
      },
    )
  }

  /** Two processes in two places hold one key: somebody has copied it. */
  #found(tunnels: readonly [AgentTunnel, AgentTunnel]): void {
    const { clock, settings, logger, access } = this.#ports
    const { cluster, agent } = tunnels[0]
    const places = tunnels.map(({ connection }) => connection.facts.address).join(' and ')
    const text = `two live agents present one certificate, from ${places}`
    logger.error({ cluster, agent, peer: places }, 'cloned identity')
    const identity = `${cluster}/${agent}`
    const event = { at: clock.wallMs(), kind: 'identity.cloned', actor: identity, identity }
    access?.events.note({ ...event, detail: text })
    const isCut = settings['agents.clones'] === 'cut'
    for (const tunnel of tunnels) {
      if (isCut) tunnel.connection.close(new PosternError('IDENTITY_CLONED', text))
      else this.warned.tell({ tunnel, text: `cloned identity: ${text}` })
    }
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
