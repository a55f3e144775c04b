import { ByteQueue } from '../base/byte-queue.ts'
import type { SessionWindow } from './receive-window.ts'
import type { FrameWriter } from '../wire/frame-writer.ts'

/** Queued bytes at which `write` begins to answer "wait". */
export const HIGH_WATER_BYTES = 256 * 1024

/** What the output knows of a stream. */
export interface Sender {
  readonly id: number
  readonly send: SendQueue | undefined
  /** Everything of this direction, its end included, has been sent. */
  localEnded(): void
  /** The queue, once full, has room again. */
  writable(): void
  /** `count` bytes left the queue. */
  sentBytes(count: number): void
}

/** Data of one stream that waits for credit or for its turn. */
export class SendQueue {
  /** Absolute: how far the peer lets us send. */
  limit: number
  /** Absolute: how far we have sent. */
  sent = 0
  /** Half-close once empty. */
  ending = false
  /** Written instead of a half-close once empty. */
  trailer: FrameWriter | undefined
  /** The writer was told to wait. */
  isFull = false
  /** The peer reads no more: what is written is dropped. */
  isStopped = false
  /** It is in the ring of streams that have something to send. */
  isReady = false
  readonly #bytes = new ByteQueue()
  readonly #window: Pick<SessionWindow, 'reserveMessage' | 'releaseMessage'>
  /** What of it is in the budget for this queue. */
  #reserved = 0

  constructor(limit: number, window: Pick<SessionWindow, 'reserveMessage' | 'releaseMessage'>) {
    this.limit = limit
    this.#window = window
  }

  /** There is credit for more than what waits. */
  get hasCredit(): boolean {
    return this.limit > this.sent + this.queuedBytes
  }

  get queuedBytes(): number {
    return this.#bytes.length
  }

  /** Takes room in the budget for bytes that are pushed next; false: there is none. */
  reserve(bytes: number): boolean {
    if (!this.#window.reserveMessage(bytes)) return false
    this.#reserved += bytes
    return true
  }

  push(bytes: Uint8Array): void {
    this.#bytes.push(bytes)
  }

  /** Moves `count` bytes to `into`; `count` is at most what is queued. */
  moveInto(into: Buffer, at: number, count: number): void {
    this.#bytes.moveInto(into, at, count)
    this.sent += count
    if (this.#reserved > 0) this.#release(Math.min(count, this.#reserved))
  }

  clear(): void {
    this.#bytes.clear()
    this.#release(this.#reserved)
  }

  #release(bytes: number): void {
    this.#reserved -= bytes
    this.#window.releaseMessage(bytes)
  }
}
