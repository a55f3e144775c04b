import type { RpcConnection } from '../tunnel/rpc-connection.ts'
import type { AgentHello } from './agent-hello.ts'

/** One tunnel that an agent holds, after it registered. */
export interface AgentTunnel {
  readonly cluster: string
  readonly agent: string
  readonly connection: RpcConnection
  readonly hello: AgentHello
  /** Drawn by the agent's process at its start; empty from earlier versions. */
  readonly instance: string
  /** Of the trust bundle that the agent holds. */
  bundleVersion: number
  /** Streams that are relayed into it, by caller. */
  readonly relays: Map<string, number>
  /** A tunnel under a later certificate of the same agent is there: this one gets no new streams. */
  isOutdated: boolean
}

/** Which clusters are connected, by which tunnels. */
export class Registry {
  readonly #clusters = new Map<string, AgentTunnel[]>()

  add(tunnel: AgentTunnel): void {
    const tunnels = this.#clusters.get(tunnel.cluster)
    if (tunnels === undefined) this.#clusters.set(tunnel.cluster, [tunnel])
    else tunnels.push(tunnel)
    this.#judgeAges(tunnel.cluster, tunnel.agent)
  }

  /** Undefined: it was not registered. */
  remove(cluster: string, connection: RpcConnection): AgentTunnel | undefined {
    const tunnels = this.#clusters.get(cluster) ?? []
    const index = tunnels.findIndex((tunnel) => tunnel.connection === connection)
    if (index === -1) return undefined
    const [removed] = tunnels.splice(index, 1)
    if (tunnels.length === 0) this.#clusters.delete(cluster)
    else if (removed !== undefined) this.#judgeAges(cluster, removed.agent)
    return removed
  }

  /** Of one agent's tunnels only those under its latest certificate are current. */
  #judgeAges(cluster: string, agent: string): void {
    const own = this.#clusters.get(cluster)?.filter((tunnel) => tunnel.agent === agent) ?? []
    const endOf = ({ connection }: AgentTunnel): number => connection.facts.certificateNotAfterMs
    const latest = Math.max(...own.map(endOf))
    for (const tunnel of own) tunnel.isOutdated = endOf(tunnel) < latest
  }

  /** The tunnel of a cluster that takes new streams and has the fewest; undefined where none does. */
  pick(cluster: string): AgentTunnel | undefined {
    const tunnels = this.#clusters.get(cluster)
    if (tunnels === undefined) return undefined
    let best: AgentTunnel | undefined
    for (const tunnel of tunnels) {
      const { session } = tunnel.connection
      if (!session.isOpen) continue
      if (
        best === undefined ||
        (best.isOutdated && !tunnel.isOutdated) ||
        (best.isOutdated === tunnel.isOutdated &&
          session.streamCount < best.connection.session.streamCount)
      )
        best = tunnel
    }
    return best
  }

  get clusters(): ReadonlyMap<string, readonly AgentTunnel[]> {
    return this.#clusters
  }

  get tunnelCount(): number {
    let count = 0
    for (const tunnels of this.#clusters.values()) count += tunnels.length
    return count
  }
}
