import type { Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { CancelTimer, Clock } from '../base/clock.ts'

/** What a peer may use before it is authenticated. */
export interface HandshakeLimits {
  /** Handshakes under way at once. Crossed: the oldest from the network with the most is closed. */
  readonly pendingMax: number
  /** The same from one IPv4 address or IPv6 /64. Crossed: the oldest from there is closed. */
  readonly pendingPerAddressMax: number
  /** Time from connect to authenticated, in ms. Crossed: closed. */
  readonly timeoutMs: number
  /** Bytes received before authenticated. Crossed: closed. */
  readonly bytesMax: number
}

export const DEFAULT_HANDSHAKE_LIMITS: HandshakeLimits = {
  pendingMax: 1024,
  pendingPerAddressMax: 512,
  timeoutMs: 5000,
  bytesMax: 16 * 1024,
}

const SWEEP_MS = 250

/** Names a connection by its other end: the same for a TCP socket and for the TLS socket over it. */
export function peerKey(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): string {
  return `${socket.remoteAddress ?? ''}:${String(socket.remotePort ?? 0)}`
}

interface Pending {
  readonly key: string
  readonly socket: Socket
  readonly network: string
  readonly sinceMs: number
}

/** An IPv4 address, or the /64 that one IPv6 site has all of. */
export function networkOf(address: string): string {
  const parsed = ipaddr.process(address.split('%')[0] ?? '')
  if (parsed instanceof ipaddr.IPv4) return parsed.toString()
  return Buffer.from(parsed.toByteArray().slice(0, 8)).toString('hex')
}

/**
 * Bounds handshakes in number, time and bytes. A newcomer is never turned away for others that are
 * idle: the oldest of the network with the most gives way, so that a flood of half-open connections
 * does not delay an honest one.
 */
export class HandshakeGate {
  readonly #limits: HandshakeLimits
  readonly #clock: Clock
  readonly #onRefused: (address: string, reason: string) => void
  /** In order of arrival. */
  readonly #pending = new Map<string, Pending>()
  readonly #perNetwork = new Map<string, number>()
  /** Closed here, and not yet heard of by TLS. */
  readonly #evicted = new Set<string>()
  #cancelSweep: CancelTimer | undefined

  constructor(
    limits: HandshakeLimits,
    clock: Clock,
    onRefused: (address: string, reason: string) => void,
  ) {
    this.#limits = limits
    this.#clock = clock
    this.#onRefused = onRefused
  }

  /** It was closed here, and its end has been told already. Asks once. */
  wasEvicted(key: string): boolean {
    return this.#evicted.delete(key)
  }

  get pendingCount(): number {
    return this.#pending.size
  }

  enter(socket: Socket): void {
    const address = socket.remoteAddress
    if (address === undefined) {
      // Reset before it was accepted: nobody is there to shake hands with.
      socket.destroy()
      return
    }
    const network = networkOf(address)
    const fromThere = (this.#perNetwork.get(network) ?? 0) + 1
    this.#perNetwork.set(network, fromThere)
    const key = peerKey(socket)
    this.#pending.set(key, { key, socket, network, sinceMs: this.#clock.nowMs() })
    socket.once('close', () => {
      this.leave(key)
      // TLS hears of it in the same tick or never.
      this.#clock.soon(() => this.#evicted.delete(key))
    })
    if (fromThere > this.#limits.pendingPerAddressMax) this.#evictOldest(network)
    else if (this.#pending.size > this.#limits.pendingMax) this.#evictOldest(this.#busiestNetwork())
    this.#cancelSweep ??= this.#clock.startTimer(SWEEP_MS, this.#sweep)
  }

  /** Authenticated, or gone. */
  leave(key: string): void {
    const entry = this.#pending.get(key)
    if (entry === undefined) return
    this.#pending.delete(key)
    const left = (this.#perNetwork.get(entry.network) ?? 1) - 1
    if (left === 0) this.#perNetwork.delete(entry.network)
    else this.#perNetwork.set(entry.network, left)
  }

  close(): void {
    this.#cancelSweep?.()
    for (const { socket } of [...this.#pending.values()]) socket.destroy()
  }

  #evictOldest(network: string): void {
    for (const entry of this.#pending.values()) {
      if (entry.network !== network) continue
      this.#refuse(entry, 'too many handshakes are under way; the oldest gives way')
      return
    }
  }

  /** Who has the most: a flood then pushes out its own, and an honest peer with one stays. */
  #busiestNetwork(): string {
    let busiest = ''
    let most = 0
    for (const [network, count] of this.#perNetwork) {
      if (count <= most) continue
      most = count
      busiest = network
    }
    return busiest
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = undefined
    const nowMs = this.#clock.nowMs()
    for (const entry of [...this.#pending.values()]) {
      if (nowMs - entry.sinceMs >= this.#limits.timeoutMs) {
        this.#refuse(entry, `no handshake within ${String(this.#limits.timeoutMs)} ms`)
      } else if (entry.socket.bytesRead > this.#limits.bytesMax) {
        this.#refuse(
          entry,
          `more than ${String(this.#limits.bytesMax)} bytes before authentication`,
        )
      }
    }
    if (this.#pending.size > 0) this.#cancelSweep = this.#clock.startTimer(SWEEP_MS, this.#sweep)
  }

  #refuse(entry: Pending, reason: string): void {
    this.leave(entry.key)
    this.#evicted.add(entry.key)
    entry.socket.destroy()
    this.#onRefused(entry.key, reason)
  }
}
