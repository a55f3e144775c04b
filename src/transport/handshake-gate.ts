import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'

/** What a peer may use before it is authenticated. */
export interface HandshakeLimits {
  /** Handshakes under way at once. Crossed: the oldest is closed. */
  readonly pendingMax: number
  /** The same from one address. Crossed: the oldest from there is closed. */
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
  readonly address: string
  readonly sinceMs: number
}

/**
 * Bounds handshakes in number, time and bytes. A newcomer is never turned away for others that are
 * idle: the oldest gives way, so that a flood of half-open connections does not delay an honest one.
 */
export class HandshakeGate {
  readonly #limits: HandshakeLimits
  readonly #clock: Clock
  readonly #onRefused: (address: string, reason: string) => void
  /** In order of arrival. */
  readonly #pending = new Map<string, Pending>()
  readonly #perAddress = new Map<string, number>()
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
    const fromThere = (this.#perAddress.get(address) ?? 0) + 1
    this.#perAddress.set(address, fromThere)
    const key = peerKey(socket)
    this.#pending.set(key, { key, socket, address, sinceMs: this.#clock.nowMs() })
    socket.once('close', () => {
      this.leave(key)
    })
    if (fromThere > this.#limits.pendingPerAddressMax) this.#evictOldest(address)
    else if (this.#pending.size > this.#limits.pendingMax) this.#evictOldest(undefined)
    this.#cancelSweep ??= this.#clock.startTimer(SWEEP_MS, this.#sweep)
  }

  /** Authenticated, or gone. */
  leave(key: string): void {
    const entry = this.#pending.get(key)
    if (entry === undefined) return
    this.#pending.delete(key)
    const left = (this.#perAddress.get(entry.address) ?? 1) - 1
    if (left === 0) this.#perAddress.delete(entry.address)
    else this.#perAddress.set(entry.address, left)
  }

  close(): void {
    this.#cancelSweep?.()
    for (const { socket } of [...this.#pending.values()]) socket.destroy()
  }

  #evictOldest(address: string | undefined): void {
    for (const entry of this.#pending.values()) {
      if (address !== undefined && entry.address !== address) continue
      this.#refuse(entry, 'too many handshakes are under way; the oldest gives way')
      return
    }
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
    entry.socket.destroy()
    this.#onRefused(entry.address, reason)
  }
}
