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
  queuedBytes = 0
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
  readonly #chunks: Uint8Array[] = []
  #head = 0
  #headOffset = 0

  constructor(limit: number) {
    this.limit = limit
  }

  push(bytes: Uint8Array): void {
    this.#chunks.push(bytes)
    this.queuedBytes += bytes.length
  }

  /** Moves `count` bytes to `into`; `count` is at most what is queued. */
  moveInto(into: Buffer, at: number, count: number): void {
    this.queuedBytes -= count
    this.sent += count
    let left = count
    let to = at
    while (left > 0) {
      const chunk = this.#chunks[this.#head] as Uint8Array
      const take = Math.min(left, chunk.length - this.#headOffset)
      const whole = take === chunk.length
      into.set(whole ? chunk : chunk.subarray(this.#headOffset, this.#headOffset + take), to)
      to += take
      left -= take
      this.#headOffset += take
      if (this.#headOffset === chunk.length) this.#shift()
    }
  }

  clear(): void {
    this.#chunks.length = 0
    this.#head = 0
    this.#headOffset = 0
    this.queuedBytes = 0
  }

  #shift(): void {
    this.#chunks[this.#head] = NOTHING
    this.#headOffset = 0
    this.#head++
    if (this.#head === this.#chunks.length) {
      this.#chunks.length = 0
      this.#head = 0
    } else if (this.#head >= 64) {
      this.#chunks.splice(0, this.#head)
      this.#head = 0
    }
  }
}

const NOTHING = new Uint8Array(0)
