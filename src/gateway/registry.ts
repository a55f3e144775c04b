import type { RegisterRequest } from '../gen/postern/v1/tunnel_pb.js'
import type { RpcConnection } from '../tunnel/rpc-connection.ts'

/** One tunnel that an agent holds, after it registered. */
export interface AgentTunnel {
  readonly cluster: string
  readonly agent: string
  readonly connection: RpcConnection
  readonly hello: RegisterRequest
}

/** Which clusters are connected, by which tunnels. */
export class Registry {
  readonly #clusters = new Map<string, AgentTunnel[]>()

  add(tunnel: AgentTunnel): void {
    const tunnels = this.#clusters.get(tunnel.cluster)
    if (tunnels === undefined) this.#clusters.set(tunnel.cluster, [tunnel])
    else tunnels.push(tunnel)
  }

  remove(connection: RpcConnection): AgentTunnel | undefined {
    for (const [cluster, tunnels] of this.#clusters) {
      const index = tunnels.findIndex((tunnel) => tunnel.connection === connection)
      if (index === -1) continue
      const [removed] = tunnels.splice(index, 1)
      if (tunnels.length === 0) this.#clusters.delete(cluster)
      return removed
    }
    return undefined
  }

  /** The tunnel of a cluster that takes new streams and has the fewest; undefined where none does. */
  pick(cluster: string): AgentTunnel | undefined {
    const tunnels = this.#clusters.get(cluster)
    if (tunnels === undefined) return undefined
    let best: AgentTunnel | undefined
    for (const tunnel of tunnels) {
      const { session } = tunnel.connection
      if (!session.isOpen) continue
      if (best === undefined || session.streamCount < best.connection.session.streamCount)
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
