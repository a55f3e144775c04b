import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { once } from './edge.ts'
import type { NetworkBudget } from './network-budget.ts'
import { networkOf, peerAddress, peerKey, tcpOf } from './peer-address.ts'
import { Tarpit } from './tarpit.ts'

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

/** The limits of a listener whose settings name none. */
export const DEFAULT_HANDSHAKE_LIMITS: HandshakeLimits = {
  pendingMax: 1024,
  pendingPerAddressMax: 512,
  timeoutMs: 5000,
  bytesMax: 16 * 1024,
}

/** Between two looks at the bytes of pending handshakes, per 64 of them: a few million looks a minute at most. */
const LOOK_MS = 1
const LOOKS_PER_MS = 64
/** What a connection costs before anything of it is verified; given back to who is authenticated. */
const BEGIN_MS = 0.5
/** Handshakes at once from a network that none has succeeded from; each success allows one more. */
const TURNS_MIN = 4
const TURNS_MAX = 128
/** How long a handshake keeps its turn while others of its network wait. */
const TURN_MS = 1000

interface Pending {
  /** Its other end, for the log. */
  readonly peer: string
  readonly socket: Socket
  readonly network: Network
  readonly sinceMs: number
  /** When its handshake began; undefined before its first bytes, and while it waits for its turn. */
  begunAtMs: number | undefined
  /** Received at the last look. */
  bytesSeen: number
  /** Charged to its network so far, in ms. */
  chargedMs: number
}

interface Network {
  readonly name: string
  pending: number
  begun: number
  turns: number
  readonly waiting: Set<Pending>
}

/** The values and collaborators that `HandshakeGate` is given. */
export interface GatePorts {
  readonly clock: Clock
  /** What networks have left of the event loop. */
  readonly budget: NetworkBudget
  /** Begins the handshake of a connection whose turn it is. */
  readonly begin: (socket: Socket) => void
  readonly onRefused: (peer: string, reason: string) => void
}

/**
 * Bounds handshakes in number, time, bytes and work. Over a limit in number the oldest of the network with
 * the most gives way, so that a flood pushes out its own. OpenSSL verifies what a peer sends before we see
 * it, and a single handshake cannot be cut short; so a network has few at once until some succeed, and one
 * whose failures have used up its share of the event loop has none.
 */
export class HandshakeGate {
  readonly #limits: HandshakeLimits
  readonly #ports: GatePorts
  /** In order of arrival, by TCP connection. */
  readonly #pending = new Map<Socket, Pending>()
  readonly #networks = new Map<string, Network>()
  readonly #tarpit: Tarpit
  /** Closed here, and not yet heard of by TLS. */
  readonly #evicted = new WeakSet<Socket>()
  #cancelSweep: CancelTimer | undefined
  /** Up to when busy time is accounted for. */
  #busyAtMs = 0

  constructor(limits: HandshakeLimits, ports: GatePorts) {
    this.#limits = limits
    this.#ports = ports
    this.#tarpit = new Tarpit(ports.clock)
  }

  /** It was closed here, and its end has been told already. Asks once. */
  wasEvicted(socket: Socket): boolean {
    return this.#evicted.delete(tcpOf(socket))
  }

  /** Whether an address may connect at all; asked before anything is made for it. */
  admits(address: string): boolean {
    const network = networkOf(address)
    return this.#ports.budget.admits(network) || this.#tarpit.hasRoom(network)
  }

  enter(socket: Socket): void {
    const { clock, budget } = this.#ports
    const address = peerAddress(socket)
    if (address === '') {
      // Reset before it was accepted: nobody is there to shake hands with.
      socket.destroy()
      return
    }
    const name = networkOf(address)
    if (!budget.has(name)) {
      this.#tarpit.hold(name, socket)
      return
    }
    const network = this.#network(name)
    network.pending++
    const entry: Pending = {
      ...{ peer: peerKey(socket), socket, network, sinceMs: clock.nowMs() },
      ...{ begunAtMs: undefined, bytesSeen: 0, chargedMs: 0 },
    }
    this.#charge(entry, BEGIN_MS)
    this.#pending.set(socket, entry)
    once(socket, 'close', () => {
      this.failed(socket)
    })
    if (network.pending > this.#limits.pendingPerAddressMax) this.#evictOldest(network)
    else if (this.#pending.size > this.#limits.pendingMax) this.#evictOldest(this.#busiest())
    // Who says nothing costs nothing, and takes no turn. What was read goes on to TLS.
    once(socket, 'readable', () => {
      if (!this.#pending.has(socket)) return
      network.waiting.add(entry)
      this.#nextTurns(network)
    })
    this.#sweepSoon()
  }

  /** The peer is authenticated: what its handshake cost is nobody's debt. */
  passed(socket: Socket): void {
    const entry = this.#leave(tcpOf(socket))
    this.#busyAtMs = this.#ports.budget.busyMs
    if (entry === undefined) return
    const { network } = entry
    network.turns = Math.min(TURNS_MAX, network.turns + 1)
    this.#charge(entry, -entry.chargedMs)
    this.#nextTurns(network)
  }

  /** The handshake failed. What it took of the event loop, its network pays; overdrawn, it has no other. */
  failed(socket: Socket): void {
    const { budget } = this.#ports
    const entry = this.#leave(tcpOf(socket))
    const tookMs = budget.busyMs - this.#busyAtMs
    this.#busyAtMs = budget.busyMs
    if (entry === undefined) return
    const { network } = entry
    network.turns = Math.max(TURNS_MIN, network.turns >> 1)
    if (entry.begunAtMs !== undefined) this.#charge(entry, Math.max(0, tookMs - BEGIN_MS))
    if (budget.has(network.name)) this.#nextTurns(network)
    else this.#evictAll(network)
  }

  close(): void {
    this.#cancelSweep?.()
    this.#tarpit.close()
    for (const socket of [...this.#pending.keys()]) socket.destroy()
  }

  #charge(entry: Pending, ms: number): void {
    entry.chargedMs += ms
    this.#ports.budget.charge(entry.network.name, ms)
  }

  /**
   * Charges what the loop has done since the last look to the handshakes that moved: OpenSSL has verified
   * for one of them, which may never end in a failure that we are told of. Who is authenticated gets it back.
   */
  #chargeMoved(): void {
    const tookMs = this.#ports.budget.busyMs - this.#busyAtMs
    const moved = [...this.#pending.values()].filter(
      ({ begunAtMs, socket, bytesSeen }) =>
        begunAtMs !== undefined && socket.bytesRead !== bytesSeen,
    )
    for (const entry of moved) {
      entry.bytesSeen = entry.socket.bytesRead
      this.#charge(entry, tookMs / moved.length)
    }
    for (const { network } of moved)
      if (!this.#ports.budget.has(network.name)) this.#evictAll(network)
  }

  #network(name: string): Network {
    const known = this.#networks.get(name)
    if (known !== undefined) return known
    const made = { name, pending: 0, begun: 0, turns: TURNS_MIN, waiting: new Set<Pending>() }
    this.#networks.set(name, made)
    return made
  }

  #leave(tcp: Socket): Pending | undefined {
    const entry = this.#pending.get(tcp)
    if (entry === undefined) return undefined
    const { network } = entry
    this.#pending.delete(tcp)
    network.waiting.delete(entry)
    if (entry.begunAtMs !== undefined) network.begun--
    if (--network.pending === 0) this.#networks.delete(network.name)
    return entry
  }

  #nextTurns(network: Network): void {
    const { clock, begin } = this.#ports
    for (const entry of network.waiting) {
      if (network.begun >= network.turns) return
      network.waiting.delete(entry)
      network.begun++
      entry.begunAtMs = clock.nowMs()
      begin(entry.socket)
    }
  }

  #evictOldest(network: Network): void {
    for (const entry of this.#pending.values()) {
      if (entry.network !== network) continue
      this.#refuse(entry, 'too many handshakes are under way; the oldest gives way')
      return
    }
  }

  #evictAll(network: Network): void {
    for (const entry of [...this.#pending.values()])
      if (entry.network === network)
        this.#refuse(entry, 'failed handshakes of its network took more than their share of time')
  }

  /** Who has the most: a flood then pushes out its own, and an honest peer with one stays. */
  #busiest(): Network {
    return [...this.#networks.values()].reduce((most, one) =>
      one.pending > most.pending ? one : most,
    )
  }

  #sweepSoon(): void {
    if (this.#cancelSweep !== undefined) return
    this.#busyAtMs = this.#ports.budget.busyMs
    const delayMs = Math.max(LOOK_MS, this.#pending.size / LOOKS_PER_MS)
    this.#cancelSweep = this.#ports.clock.startTimer(delayMs, this.#sweep)
  }

  readonly #sweep = (): void => {
    this.#cancelSweep = undefined
    this.#chargeMoved()
    const nowMs = this.#ports.clock.nowMs()
    const { timeoutMs, bytesMax } = this.#limits
    for (const entry of [...this.#pending.values()]) {
      const { socket, network, begunAtMs = nowMs, sinceMs } = entry
      if (nowMs - sinceMs >= timeoutMs)
        this.#refuse(entry, `no handshake within ${String(timeoutMs)} ms`)
      else if (socket.bytesRead > bytesMax)
        this.#refuse(entry, `more than ${String(bytesMax)} bytes before authentication`)
      else if (nowMs - begunAtMs >= TURN_MS && network.waiting.size > 0)
        this.#refuse(entry, 'others of its network wait for their handshakes')
    }
    if (this.#pending.size > 0) this.#sweepSoon()
  }

  #refuse(entry: Pending, reason: string): void {
    this.#leave(entry.socket)
    this.#evicted.add(entry.socket)
    entry.socket.destroy()
    this.#ports.onRefused(entry.peer, reason)
    this.#nextTurns(entry.network)
  }
}
