import type { Socket } from 'node:net'
import type { CancelTimer, Clock } from '../base/clock.ts'
import { once } from './edge.ts'
import { peerAddress, tcpOf } from './peer-address.ts'

const LOOK_MS = 100
/** For a handshake, a head of 8 KiB, and what TLS adds to both in records of a usual size. */
const RAW_BYTES = 40 * 1024
/** Bytes on the wire for each byte of a body. */
const PER_BODY_BYTE = 2

interface Metered {
  readonly socket: Socket
  baseBytes: number
  bodyBytes: number
}

/**
 * Counts the bytes of TCP connections against what they are for. A client that sends its content byte by
 * byte, each in a record of its own, makes us work for two dozen bytes where it sends one.
 */
export class RawMeter {
  readonly #clock: Clock
  readonly #onExcess: (address: string) => void
  readonly #connections = new Map<Socket, Metered>()
  #cancelTimer: CancelTimer | undefined

  /** `onExcess`: told of the network address of who was closed. */
  constructor(clock: Clock, onExcess: (address: string) => void) {
    this.#clock = clock
    this.#onExcess = onExcess
  }

  watch(socket: Socket): void {
    this.#connections.set(socket, { socket, baseBytes: 0, bodyBytes: 0 })
    once(socket, 'close', () => {
      this.#connections.delete(socket)
    })
    this.#measureSoon()
  }

  /** A body of that length is to come. */
  announce(socket: Socket, bodyBytes: number): void {
    const metered = this.#connections.get(tcpOf(socket))
    if (metered !== undefined) metered.bodyBytes = bodyBytes
  }

  /** A request is done: the next one has as much. */
  renew(socket: Socket): void {
    const metered = this.#connections.get(tcpOf(socket))
    if (metered === undefined) return
    metered.baseBytes = metered.socket.bytesRead
    metered.bodyBytes = 0
  }

  close(): void {
    this.#cancelTimer?.()
  }

  #measureSoon(): void {
    this.#cancelTimer ??= this.#clock.startTimer(LOOK_MS, this.#measure)
  }

  readonly #measure = (): void => {
    this.#cancelTimer = undefined
    for (const { socket, baseBytes, bodyBytes } of [...this.#connections.values()]) {
      if (socket.bytesRead - baseBytes <= RAW_BYTES + bodyBytes * PER_BODY_BYTE) continue
      this.#onExcess(peerAddress(socket))
      socket.destroy()
    }
    if (this.#connections.size > 0) this.#measureSoon()
  }
}
