import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { once } from './edge.ts'

/** How long a connection is held before it is closed, in ms. */
const HOLD_MS = 2000
/** Connections held of one network. Crossed: closed at the door. */
const HELD_PER_NETWORK_MAX = 128
/** The same of all networks. */
const HELD_MAX = 1024

interface Held {
  readonly network: string
  readonly sinceMs: number
}

/**
 * Holds connections of networks that have used up their share, unread, for a while: whoever waits for
 * an answer knocks less often than who is closed at once.
 */
export class Tarpit {
  readonly #clock: Clock
  /** In order of arrival. */
  readonly #held = new Map<Socket, Held>()
  readonly #counts = new Map<string, number>()
  #cancelTimer: CancelTimer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  hasRoom(network: string): boolean {
    return this.#held.size < HELD_MAX && (this.#counts.get(network) ?? 0) < HELD_PER_NETWORK_MAX
  }

  /** Holds a connection, then closes it. */
  hold(network: string, socket: Socket): void {
    this.#held.set(socket, { network, sinceMs: this.#clock.nowMs() })
    this.#counts.set(network, (this.#counts.get(network) ?? 0) + 1)
    once(socket, 'close', () => {
      this.#leave(socket)
    })
    this.#cancelTimer ??= this.#clock.startTimer(HOLD_MS, this.#sweep)
  }

  /** Closes all of them. */
  close(): void {
    this.#cancelTimer?.()
    for (const socket of [...this.#held.keys()]) socket.destroy()
  }

  #leave(socket: Socket): void {
    const held = this.#held.get(socket)
    if (held === undefined) return
    this.#held.delete(socket)
    const count = (this.#counts.get(held.network) ?? 0) - 1
    if (count > 0) this.#counts.set(held.network, count)
    else this.#counts.delete(held.network)
  }

  readonly #sweep = (): void => {
    this.#cancelTimer = undefined
    const nowMs = this.#clock.nowMs()
    for (const [socket, { sinceMs }] of [...this.#held]) {
      const leftMs = sinceMs + HOLD_MS - nowMs
      if (leftMs > 0) {
        this.#cancelTimer = this.#clock.startTimer(leftMs, this.#sweep)
        return
      }
      this.#leave(socket)
      socket.destroy()
    }
  }
}
