import type { Socket } from 'node:net'
import { once } from './edge.ts'
import { networkOf, peerAddress } from './peer-address.ts'

/** The most connections that are held at once. */
export interface ConnectionLimits {
  readonly max: number
  /** Of one network: IPv4 address or IPv6 /64. */
  readonly perNetworkMax: number
}

/**
 * Bounds connections, so that no network takes the places of the others: over a limit the oldest of the
 * network with the most gives way to the newest.
 */
export class ConnectionShares {
  readonly #limits: ConnectionLimits
  /** Oldest first. */
  readonly #byNetwork = new Map<string, Set<Socket>>()
  #count = 0

  constructor(limits: ConnectionLimits) {
    this.#limits = limits
  }

  enter(socket: Socket): void {
    const network = networkOf(peerAddress(socket))
    const sockets = this.#byNetwork.get(network) ?? new Set()
    this.#byNetwork.set(network, sockets)
    sockets.add(socket)
    this.#count++
    once(socket, 'close', () => {
      this.#leave(network, socket)
    })
    if (sockets.size > this.#limits.perNetworkMax) this.#evictOldest(network)
    else if (this.#count > this.#limits.max) this.#evictOldest(this.#busiest())
  }

  #evictOldest(network: string): void {
    const [oldest] = this.#byNetwork.get(network) ?? []
    if (oldest === undefined) return
    this.#leave(network, oldest)
    oldest.destroy()
  }

  #leave(network: string, socket: Socket): void {
    const sockets = this.#byNetwork.get(network)
    if (sockets?.delete(socket) !== true) return
    this.#count--
    if (sockets.size === 0) this.#byNetwork.delete(network)
  }

  #busiest(): string {
    let busiest = ''
    let most = 0
    for (const [network, { size }] of this.#byNetwork) {
      if (size <= most) continue
      busiest = network
      most = size
    }
    return busiest
  }
}
